"""One row as a plain dict, and as a `Problem`, `Conversation` or `Pair`: the schema, both ways.

Problems are verl's rows: `data_source, prompt, ability, reward_model {style, ground_truth},
extra_info`, where `ground_truth` is always a string, JSON inside it where it has structure. One
surprise: None in a row means absent, because a parquet column gives every row every field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from cascade_rl.chat import to_dict
from cascade_rl.data.fields import (
    choice_at,
    mapping_at,
    mappings_at,
    maybe_text_at,
    parse_json,
    present,
    shown,
    text_at,
)
from cascade_rl.data.references import REFERENCES, ground_truth
from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError
from cascade_rl.types import (
    Conversation,
    Message,
    Mode,
    Pair,
    Preference,
    Problem,
    Role,
    Row,
    ToolCall,
)

RowKind = Literal["problem", "conversation", "pair"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
MODES: tuple[Mode, ...] = ("think", "no_think")


def kind_of(row: Mapping[str, Any]) -> RowKind:
    """What a row dict is, by its keys; in a Parquet file of several kinds each row has them all."""
    if row.get("messages") is not None:
        return "conversation"
    return "pair" if row.get("chosen") is not None else "problem"


# --- reading ----------------------------------------------------------------------------------


def parse_row(row: Any, kind: RowKind) -> Row:
    """The row as an object. Raises DataError saying which key, what was found and expected."""
    if not isinstance(row, Mapping):
        raise DataError(f"the row is {shown(row)}; expected an object")
    if kind_of(row) != kind:
        keys = ", ".join(sorted(row)) or "none"
        raise DataError(f"the row's keys are {keys}; expected those of a {kind}: {KEYS[kind]}")
    return PARSERS[kind](row)


def parse_problem(row: Mapping[str, Any]) -> Problem:
    """A verl row. `extra_info.mode` goes to every user turn that has none of its own."""
    source = text_at(row, "data_source")
    extra = _extra(row)
    domain = choice_at(row, "ability", tuple(REFERENCES))
    truth = text_at(mapping_at(row, "reward_model"), "ground_truth", "reward_model.", default="")
    prompt = messages_at(row, "prompt")
    mode = _mode(extra, "extra_info.")
    if mode is not None:
        prompt = tuple(with_mode(m, mode) if m.role == "user" else m for m in prompt)
    reference = REFERENCES[domain](truth)
    return Problem(_id(extra, row, source), domain, prompt, reference, source, extra)


def parse_conversation(row: Mapping[str, Any]) -> Conversation:
    """An SFT row; `tools` is a list of signatures, or that list as JSON."""
    source = text_at(row, "source")
    messages = messages_at(row, "messages")
    if not any(m.role == "assistant" for m in messages):
        raise DataError("messages has no assistant turn; expected one at least to train on")
    tools = tuple(mappings_at(row, "tools"))
    return Conversation(_id(row, row, source), messages, source, tools, _extra(row))


def parse_pair(row: Mapping[str, Any]) -> Pair:
    """A preference row; `chosen` and `rejected` are the answers' texts."""
    source = text_at(row, "source")
    chosen, rejected = text_at(row, "chosen"), text_at(row, "rejected")
    if chosen == rejected:
        raise DataError("chosen and rejected are the same text; expected one to be better")
    category = maybe_text_at(row, "category")
    prompt = messages_at(row, "prompt")
    return Pair(_id(row, row, source), prompt, chosen, rejected, source, category, _extra(row))


def with_mode(message: Message, mode: Mode) -> Message:
    """The user turn with `mode` where it has none."""
    return message if message.mode else Message(message.role, message.content, mode=mode)


def _extra(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return present(mapping_at(row, "extra_info", {}))


def messages_at(row: Mapping[str, Any], key: str) -> tuple[Message, ...]:
    """The turns under a key; a text is one user turn. Raises DataError."""
    found = row.get(key)
    if isinstance(found, str):
        found = [{"role": "user", "content": found}]
    if not isinstance(found, list) or not found:
        raise DataError(f"{key} is {shown(found)}; expected a list of turns, role and content")
    return tuple(_message(item, f"{key}[{i}].") for i, item in enumerate(found))


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, Mapping):
        raise DataError(f"{where[:-1]} is {shown(item)}; expected an object, role and content")
    role = choice_at(item, "role", ROLES, where)
    calls = mappings_at(item, "tool_calls", where)
    content = text_at(item, "content", where, default="" if calls else None)
    return Message(
        role,
        content,
        thought=maybe_text_at(item, "thought", where),
        mode=_mode(item, where),
        tool_calls=tuple(_tool_call(call, where) for call in calls),
        name=maybe_text_at(item, "name", where),
    )


def _tool_call(item: Mapping[str, Any], where: str) -> ToolCall:
    call = mapping_at(item, "function", item, where)
    name, arguments = call.get("name"), call.get("arguments")
    if isinstance(arguments, str):
        arguments = parse_json(arguments, f"{where}tool_calls")
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        raise DataError(
            f"{where}tool_calls has {shown(item)}; expected a string name, object arguments"
        )
    return ToolCall(name, arguments)


def _mode(item: Mapping[str, Any], where: str) -> Mode | None:
    if item.get("mode") is None:
        return None
    return choice_at(item, "mode", MODES, where)


def _id(named: Mapping[str, Any], row: Mapping[str, Any], source: str) -> str:
    """The row's own id, or one made of its content: the same wherever the row stands."""
    found = named.get("id")
    return str(found) if found is not None else f"{source}/{digest_json(present(row))[:10]}"


PARSERS: Mapping[RowKind, Callable[[Mapping[str, Any]], Row]] = {
    "problem": parse_problem,
    "conversation": parse_conversation,
    "pair": parse_pair,
}
KEYS: Mapping[RowKind, str] = {
    "problem": "data_source, prompt, ability, reward_model, extra_info",
    "conversation": "messages, source",
    "pair": "prompt, chosen, rejected, source",
}


# --- writing ----------------------------------------------------------------------------------


def row_dict(row: Row, index: int) -> dict[str, Any]:
    """The row as a plain dict; `index` is its place in the file, kept where it has its own."""
    match row:
        case Problem():
            style = "model" if isinstance(row.reference, Preference) else "rule"
            extra = {"index": index, **row.extra, "id": row.id}
            return {
                "data_source": row.source,
                "prompt": [to_dict(m) for m in row.prompt],
                "ability": row.domain,
                "reward_model": {"style": style, "ground_truth": ground_truth(row.reference)},
                "extra_info": extra,
            }
        case Conversation():
            found: dict[str, Any] = {"id": row.id, "source": row.source}
            tools = {"tools": [dict(tool) for tool in row.tools]} if row.tools else {}
            found |= {"messages": [to_dict(m) for m in row.messages], **tools}
            return found | ({"extra_info": dict(row.extra)} if row.extra else {})
        case Pair():
            category = {} if row.category is None else {"category": row.category}
            prompt = [to_dict(m) for m in row.prompt]
            texts = {"chosen": row.chosen, "rejected": row.rejected, "source": row.source}
            extras = {"extra_info": dict(row.extra)} if row.extra else {}
            return {"id": row.id, "prompt": prompt, **texts, **category, **extras}
