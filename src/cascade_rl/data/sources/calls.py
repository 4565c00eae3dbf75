"""Tool calls: the single-turn questions of the Berkeley Function-Calling Leaderboard.

A row is a line of a question file with the line of its answer file joined under `ground_truth`.
One rule: what an AST match cannot judge (several turns, a call that must be executed, Java,
JavaScript, relevance) is left out as `another task`, and a row whose wanted call its own function
does not allow as `no answer is right`; none of them is counted as wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cascade_rl.chat import DEFAULT_SYSTEM, tools_section
from cascade_rl.data.fields import mappings_at, shown
from cascade_rl.data.sources.common import Raw, Unfit, problem, prompt_of, text_of
from cascade_rl.errors import DataError
from cascade_rl.types import Calls, Message, Problem, WantedCall
from cascade_rl.verifiers.tool_match import signatures

CATEGORIES = (
    "simple", "multiple", "parallel", "parallel_multiple", "irrelevance", "live_simple",
    "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance",
)  # fmt: skip
"""Those that an AST match judges, by the beginning of a row's id; `simple` is Python's."""
_CATEGORY = re.compile(r"([a-z_]+?)_\d+(?:-\d+)*\Z")
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}


def bfcl(raw: Raw, source: str) -> Problem:
    """`id`, `question` (a list of turns in a list), `function`, and `ground_truth`."""
    name = text_of(raw, "id")
    category = category_of(name)
    if category not in CATEGORIES:
        raise Unfit("another task", f"{name} is of category {category!r}, not of an AST match")
    functions = raw.get("function")
    functions = [functions] if isinstance(functions, Mapping) else functions
    described = tuple(mappings_at({"function": functions}, "function"))
    reference = Calls(described, _wanted(raw, category))
    try:
        signatures(reference)
    except DataError as error:
        raise Unfit("no answer is right", f"{name}: {error.message}") from None
    prompt = _prompt(raw.get("question"), described)
    return problem(raw, source, "tool_calls", prompt, reference, {"category": category})


def category_of(name: str) -> str:
    """`live_simple` of `live_simple_12-3-4`; the whole text where it has no number."""
    match = _CATEGORY.match(name.replace("simple_python_", "simple_"))
    return match[1] if match else name


def _wanted(raw: Raw, category: str) -> tuple[WantedCall, ...]:
    if category.endswith("irrelevance"):
        return ()
    found = raw.get("ground_truth")
    if not isinstance(found, list) or not found:
        raise DataError(
            f"ground_truth is {shown(found)}; expected the list of calls from possible_answer/"
        )
    calls = []
    for item in found:
        if not isinstance(item, Mapping) or len(item) != 1:
            raise DataError(f"ground_truth holds {shown(item)}; expected one function's arguments")
        [(name, arguments)] = item.items()
        if not isinstance(arguments, Mapping):
            raise DataError(f"ground_truth: {name} has {shown(arguments)}; expected an object")
        calls.append(WantedCall(name, {k: _values(v) for k, v in arguments.items()}))
    return tuple(calls)


def _values(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, list) else (found,)


def _prompt(question: Any, functions: tuple[Mapping[str, Any], ...]) -> tuple[Message, ...]:
    """The turns, after a system turn that lists the functions as our chat template does."""
    if isinstance(question, list) and question and isinstance(question[0], list):
        if len(question) > 1:
            raise Unfit("another task", f"{len(question)} user turns one after another")
        question = question[0]
    turns = prompt_of(question, "question")
    given = turns[0].content if turns[0].role == "system" else DEFAULT_SYSTEM
    tools = [{"type": "function", "function": _with_json_types(f)} for f in functions]
    system = Message("system", f"{given}\n\n{tools_section(tools)}")
    return (system, *(turn for turn in turns if turn.role != "system"))


def _with_json_types(value: Any) -> Any:
    """A signature with JSON schema's names of types, which models are trained on."""
    if isinstance(value, list):
        return [_with_json_types(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _JSON_TYPES.get(item, item)
        if key == "type" and isinstance(item, str)
        else _with_json_types(item)
        for key, item in value.items()
    }
