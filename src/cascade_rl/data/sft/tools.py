"""Tool-calling conversations: every call held against its tool's JSON schema.

Rules. A conversation is kept whole or dropped with the first thing that is wrong in it. An
argument that the schema does not name is wrong unless the schema says that others are welcome,
and `pattern` is not run: it is a program from the data. Nothing is fetched for a `$ref`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jsonschema
import referencing
from referencing.exceptions import Unresolvable

from cascade_rl.chat import CALL_CLOSE, CALL_OPEN, parse_tool_calls
from cascade_rl.data.step import Step
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Message, ToolCall

BAD_SIGNATURE = "bad tool signature"
UNREADABLE_CALL = "unreadable call"
UNKNOWN = "unknown tool"
MISSING = "missing argument"
EXTRA = "extra argument"
WRONG = "wrong argument"
NO_CALL = "tool result without a call"
UNANSWERED = "unanswered call"
NOT_TOOLS = "no conversation"

Kind = Literal["single-turn", "multi-turn", "multi-step", "no-tool"]
KINDS: tuple[Kind, ...] = ("single-turn", "multi-turn", "multi-step", "no-tool")

TYPES = {
    "dict": "object", "float": "number", "double": "number", "int": "integer", "long": "integer",
    "bool": "boolean", "str": "string", "list": "array", "tuple": "array", "set": "array",
    "NoneType": "null",
}  # fmt: skip
"""Names of types that published signatures borrow from Python and Java."""
ANY = frozenset(("any", "Any", ""))
_KEYWORDS = frozenset(
    ("type", "properties", "required", "$ref", "$defs", "anyOf", "oneOf", "allOf", "enum", "const",
     "additionalProperties", "items", "title", "description", "$schema")
)  # fmt: skip
_NOT_RUN = ("pattern", "patternProperties", "format")
_REGISTRY: referencing.Registry[Any] = referencing.Registry()  # empty: nothing is fetched


class _Invalid(Exception):
    """What is wrong with a conversation: one of the reasons above, and its own detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Checked:
    """A conversation whose calls all hold: its kind, and how many calls it has."""

    conversation: Conversation
    kind: Kind
    calls: int


def check(row: Conversation, *, allow_final_call: bool = False) -> Checked | tuple[str, str]:
    """The conversation with its kind, or (reason, detail) of the first thing that is wrong.

    Calls that stand as `<tool_call>` in the text of an answer are read and become calls.
    `allow_final_call` accepts calls in the last turn, which nobody answers.
    """
    try:
        tools = _signatures(row.tools)
        messages = tuple(_with_calls(m) for m in row.messages)
        for call in (call for m in messages for call in m.tool_calls):
            _check_call(call, tools)
        _check_order(messages, allow_final_call)
    except _Invalid as error:
        return error.reason, error.detail
    calls = sum(len(m.tool_calls) for m in messages)
    return Checked(replace(row, messages=messages), kind_of(messages), calls)


def kind_of(messages: Sequence[Message]) -> Kind:
    """No call at all; several user turns; or one, whose calls come in several steps or in one.

    A step is an assistant turn with calls, however many it has.
    """
    steps = sum(bool(m.tool_calls) for m in messages)
    if not steps:
        return "no-tool"
    if sum(m.role == "user" for m in messages) > 1:
        return "multi-turn"
    return "multi-step" if steps > 1 else "single-turn"


# --- signatures -------------------------------------------------------------------------------


def _signatures(tools: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """The schema of every tool's arguments, by name."""
    found: dict[str, Mapping[str, Any]] = {}
    for tool in tools:
        function = tool.get("function", tool)
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not name:
            raise _Invalid(BAD_SIGNATURE, f"a tool without a name: {str(tool)[:200]}")
        if name in found:
            raise _Invalid(BAD_SIGNATURE, f"two tools are called {name}")
        try:
            schema = _schema(function.get("parameters") or {})
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise _Invalid(BAD_SIGNATURE, f"{name}: {error.message[:200]}") from None
        except RecursionError:
            raise _Invalid(BAD_SIGNATURE, f"{name}: nested too deep") from None
        found[name] = schema
    return found


def _schema(parameters: Any) -> Mapping[str, Any]:
    """The JSON schema of a tool's arguments, also where they are listed by name alone."""
    if not isinstance(parameters, Mapping):
        raise _Invalid(BAD_SIGNATURE, f"parameters is {str(parameters)[:100]}")
    listed = parameters and not _KEYWORDS & parameters.keys()
    if listed and all(isinstance(value, Mapping) for value in parameters.values()):
        required = [key for key, value in parameters.items() if "default" not in value]
        parameters = {"type": "object", "properties": parameters, "required": required}
    found = _plain_types(parameters)
    assert isinstance(found, dict)
    return {"type": "object", **found}


def _plain_types(value: Any, names: bool = False) -> Any:
    """A schema with JSON's names of types and without what is not run.

    `names`: the keys are those of arguments, not of the schema.
    """
    if isinstance(value, list):
        return [_plain_types(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    for key, item in value.items():
        if names:
            found[key] = _plain_types(item)
        elif key == "type" and isinstance(item, str):
            kind = item.split(",")[0].strip()  # "str, optional", as some signatures write it
            found |= {} if kind in ANY else {"type": TYPES.get(kind, kind)}
        elif key in ("enum", "const", "default", "examples", "required") or key in _NOT_RUN:
            # `required: true` at an argument is no JSON schema; what is not run is left out
            keep = key not in _NOT_RUN and not (key == "required" and isinstance(item, bool))
            found |= {key: item} if keep and item is not None else {}
        elif item is not None:
            found[key] = _plain_types(item, names=key in ("properties", "$defs", "definitions"))
    return found


# --- calls ------------------------------------------------------------------------------------


def _with_calls(message: Message) -> Message:
    """The turn, with calls that stand in its text taken out of it."""
    if message.role != "assistant" or message.tool_calls:
        return message
    if CALL_OPEN not in message.content and CALL_CLOSE not in message.content:
        return message
    try:
        calls = parse_tool_calls(message.content)
    except DataError as error:
        raise _Invalid(UNREADABLE_CALL, error.message) from None
    text = message.content.partition(CALL_OPEN)[0].strip()
    return replace(message, content=text, tool_calls=calls)


def _check_call(call: ToolCall, tools: Mapping[str, Mapping[str, Any]]) -> None:
    schema = tools.get(call.name)
    if schema is None:
        raise _Invalid(UNKNOWN, f"{call.name}; there are {', '.join(tools) or 'none'}")
    arguments = dict(call.arguments)
    open_ended = schema.get("additionalProperties") not in (None, False)
    known = schema.get("properties", {})
    if "properties" in schema and not open_ended and "$ref" not in schema:
        extra = sorted(arguments.keys() - known.keys())
        if extra:
            raise _Invalid(EXTRA, f"{call.name}: {extra[0]}")
    elif arguments and schema.keys() == {"type"}:
        raise _Invalid(EXTRA, f"{call.name}: {min(arguments)}; it takes no arguments")
    try:
        found = sorted(
            _errors(schema, arguments), key=lambda e: (list(map(str, e.path)), e.message)
        )
    except (Unresolvable, RecursionError) as error:
        raise _Invalid(BAD_SIGNATURE, f"{call.name}: {type(error).__name__}") from None
    if found:
        first = found[0]
        reason = {"required": MISSING, "additionalProperties": EXTRA}.get(first.validator, WRONG)
        where = ".".join(map(str, first.path))
        raise _Invalid(reason, f"{call.name}{'.' if where else ''}{where}: {first.message[:200]}")


def _errors(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[Any]:
    validator = jsonschema.Draft202012Validator(schema, registry=_REGISTRY)
    found: Iterator[Any] = validator.iter_errors(arguments)
    return found


# --- calls and results ------------------------------------------------------------------------


def _check_order(messages: Sequence[Message], allow_final_call: bool) -> None:
    """Every call has its result before anybody else speaks, and every result its call."""
    waiting: list[str] = []
    for i, message in enumerate(messages):
        if message.role == "tool":
            _answer(waiting, message, i)
            continue
        if waiting:
            raise _Invalid(UNANSWERED, f"{waiting[0]}, before turn {i}")
        if message.tool_calls and message.role != "assistant":
            raise _Invalid(UNREADABLE_CALL, f"a call in the {message.role} turn {i}")
        waiting = [call.name for call in message.tool_calls]
    if waiting and not (allow_final_call and messages[-1].role == "assistant"):
        raise _Invalid(UNANSWERED, f"{waiting[0]}, at the end")


def _answer(waiting: list[str], result: Message, place: int) -> None:
    """Strike the call that a result answers: the one it names, or the first."""
    if not waiting:
        raise _Invalid(NO_CALL, f"turn {place}")
    name = result.name or waiting[0]
    if name not in waiting:
        raise _Invalid(NO_CALL, f"turn {place} is of {name}; waiting are {', '.join(waiting)}")
    waiting.remove(name)


# --- a file -----------------------------------------------------------------------------------


def check_tools(step: Step, path: Path, *, allow_final_call: bool = False) -> None:
    """Keep the conversations whose calls hold, and count them by kind.

    `tools_per_conversation` is a mean, as the paper counts it (4.4 in Llama-Nemotron's).
    """
    kinds: Counter[Kind] = Counter()
    turns = tools = calls = 0
    for row in step.rows(path):
        if not isinstance(row, Conversation):
            step.drop(row, NOT_TOOLS, "expected messages")
            continue
        found = check(row, allow_final_call=allow_final_call)
        if not isinstance(found, Checked):
            step.drop(row, *found)
            continue
        step.keep(found.conversation)
        kinds[found.kind] += 1
        turns += sum(m.role == "user" for m in row.messages)
        tools += len(row.tools)
        calls += found.calls
    step.details |= {
        "kinds": {kind: kinds[kind] for kind in KINDS},
        "user_turns": turns,
        "calls": calls,
        "tools_per_conversation": round(tools / step.kept, 2) if step.kept else None,
    }
