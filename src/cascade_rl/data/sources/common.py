"""What converters of published rows share: reading turns and texts, and making a problem.

One rule: a converter raises DataError and nothing else, whatever the row holds. A row that is
well read but not wanted (a tie, a verifier nobody knows) raises `Unfit`, whose reason is one of
a few and is counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cascade_rl.chat import strip_mode_flag
from cascade_rl.data.fields import parse_json_or_literal, present, shown
from cascade_rl.data.references import REFERENCES, ground_truth
from cascade_rl.data.schema import messages_at
from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError
from cascade_rl.types import Domain, Message, Problem, Reference, Role

Raw = Mapping[str, Any]


class Unfit(DataError):
    """A row that is not converted. `reason` is one of a few; the message is the row's own."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# --- what is kept beside the prompt -----------------------------------------------------------

TEXTS: Mapping[str, tuple[str, ...]] = {
    "source_id": (
        *("id", "task_id", "unique_id", "instance_id", "question_id", "problem_id", "custom_id"),
        *("key", "hash_id", "ID", "name"),
    ),
    "origin": ("original_dataset", "source", "dataset_source", "data_source"),
    "url": ("url", "link", "problem_url", "question_url"),
    "repo": ("repo", "repo_name"),
    "base_commit": ("base_commit",),
    "difficulty": ("difficulty", "level"),
    "subject": ("subject", "type", "problem_type", "task_type"),
    "released": ("contest_date", "release_date", "date", "created_at"),
    "constraint": ("constraint",),
    "starter_code": ("starter_code",),
}
"""Our key, and the keys it is called by; the first that is there is kept, as text. A key has one
type in all sources, or rows of several could not stand in one Parquet file."""

NUMBERS: Mapping[str, tuple[str, ...]] = {
    "passrate": ("passrate", "pass_rate"),
    "total_rollouts": ("total_rollouts",),
    "total_correct_rollouts": ("total_correct_rollouts",),
}


def provenance(raw: Raw) -> dict[str, Any]:
    """Where a row is from and how hard it is known to be, under our keys."""
    found: dict[str, Any] = {}
    for key, names in TEXTS.items():
        values = [raw[n] for n in names if _is_scalar(raw.get(n)) and str(raw[n]).strip()]
        if values:
            found[key] = str(values[0])
    for key, names in NUMBERS.items():
        numbers = [raw[n] for n in names if _is_number(raw.get(n))]
        if numbers:
            found[key] = float(numbers[0])
    return found


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """A finite number that a float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


# --- texts and lists --------------------------------------------------------------------------


def text_of(raw: Raw, *keys: str) -> str:
    """The first text under one of the keys that is not blank."""
    for key in keys:
        found = raw.get(key)
        if isinstance(found, str) and found.strip():
            return found
    looked = {key: shown(raw.get(key)) for key in keys}
    raise DataError(f"{_listed(looked)}; expected text under {' or '.join(keys)}")


def maybe_text(raw: Raw, *keys: str) -> str:
    """The first text under one of the keys, or an empty one."""
    return next((raw[key] for key in keys if isinstance(raw.get(key), str)), "")


def answer_of(value: Any, what: str) -> str:
    """A math answer as text: a text, a number, or a list of one."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if _is_number(value):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{what} is {shown(value)}; expected an answer")
    return value.strip()


def items_of(value: Any, what: str) -> list[Any]:
    """A list, a list written as JSON or as a Python literal, or one value as a list of it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json_or_literal(value, what)
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _listed(looked: Mapping[str, str]) -> str:
    return ", ".join(f"{key} is {value}" for key, value in looked.items())


# --- turns ------------------------------------------------------------------------------------

ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatbot": "assistant",
    "bot": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip

BESIDE = ("thought", "mode", "name", "tool_calls")
"""What a turn of ours has beside its role and content."""


def turns_of(value: Any, what: str) -> list[dict[str, Any]]:
    """A chat list, in any of the usual spellings, as dicts with our roles and text contents.

    `role` or `from`, `content` or `value`; a list of text parts is their text.
    """
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        value = parse_json_or_literal(value, what)
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list | tuple) or not value:
        raise DataError(f"{what} is {shown(value)}; expected text or a list of turns")
    return [_turn(item, f"{what}[{n}]") for n, item in enumerate(value)]


def _turn(item: Any, what: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise DataError(f"{what} is {shown(item)}; expected a turn, role and content")
    role = item.get("role") or item.get("from")
    known = ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        raise DataError(f"{what}.role is {shown(role)}; expected one of {', '.join(ROLES)}")
    content = item.get("content", item.get("value"))
    if isinstance(content, list | tuple):
        content = _parts(content, what)
    kept = {key: item[key] for key in BESIDE if item.get(key) not in (None, [], ())}
    if content is None and kept.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        raise DataError(f"{what}.content is {shown(content)}; expected text")
    if known == "user" and "mode" not in kept:
        content, mode = strip_mode_flag(content)
        kept |= {"mode": mode} if mode else {}
    return {"role": known, "content": content, **kept}


def _parts(parts: Sequence[Any], what: str) -> str:
    """The text of a content that is a list of parts; DataError for a picture."""
    found = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found):
        raise Unfit("not text alone", f"{what}.content has a part that is not text")
    return "\n".join(texts)


def prompt_of(value: Any, what: str) -> tuple[Message, ...]:
    """The turns of a prompt. Answers that follow the last question are left out.

    Raises DataError where no user speaks.
    """
    turns = turns_of(value, what)
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in turns):
        raise DataError(f"{what} has no user turn with text; expected a question")
    return messages_at({what: turns}, what)


ROLE_LINE = re.compile(r"^(system|user|assistant): ?", re.MULTILINE)


def prompt_of_prefixed(text: str, what: str) -> tuple[Message, ...]:
    """A text whose turns begin with `user: `, `assistant: ` or `system: ` at a line's start.

    Such lines count as turns only where they take turns as in a conversation that ends with a
    question; elsewhere only the first is taken off, since a question may quote a dialogue.
    """
    marks = list(ROLE_LINE.finditer(text))
    if not marks or marks[0].start() != 0:
        return prompt_of(text, what)
    if not _is_dialogue([mark[1] for mark in marks]):
        return prompt_of([{"role": marks[0][1], "content": text[marks[0].end() :]}], what)
    ends = [mark.start() - 1 for mark in marks[1:]] + [len(text)]
    turns = [
        {"role": mark[1], "content": text[mark.end() : end]}
        for mark, end in zip(marks, ends, strict=True)
    ]
    return prompt_of(turns, what)


def _is_dialogue(roles: Sequence[str]) -> bool:
    asked = roles[1:] if roles[0] == "system" else roles
    expected = ["user", "assistant"] * (len(asked) // 2) + ["user"]
    return list(asked) == expected


# --- a problem --------------------------------------------------------------------------------


def problem(
    raw: Raw,
    source: str,
    domain: Domain,
    prompt: tuple[Message, ...],
    reference: str | Reference,
    extra: Raw | None = None,
) -> Problem:
    """The row as a problem; `reference` is what `ground_truth` holds, or the object itself.

    The id is the source's own where it has one, else made of prompt and reference. Raises
    DataError for a reference that could not be written to a file and read back equal.
    """
    read = REFERENCES[domain](reference) if isinstance(reference, str) else reference
    written = ground_truth(read)
    kept = {**provenance(raw), **present(extra or {})}
    own = kept.get("source_id") or digest_json([[m.role, m.content] for m in prompt] + [written])
    name = own if "source_id" in kept else own[:12]
    return Problem(f"{source}/{name}", domain, prompt, read, source, kept)
