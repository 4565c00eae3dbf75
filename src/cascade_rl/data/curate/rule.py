"""What a rule is, and how all rules read a row.

Two rules about rules. A rule is a pure function of one row: it says why the row goes, or None.
What it says is a stable phrase, then perhaps `: ` and what was found. And a rule that has nothing
to go by (no attempt, no pass rate was recorded) says so: its phrase begins with `not recorded`,
and the run, not the rule, decides what becomes of such a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cascade_rl.chat import strip_mode_flag
from cascade_rl.data.lengths import estimated_tokens
from cascade_rl.types import Conversation, Message, Pair, Problem, Row

NOT_RECORDED = "not recorded"
"""How the phrase of a rule begins that has nothing to go by."""
LONGEST = 100_000
"""Characters of a text that rules read, from both ends: a longer one takes no longer."""

Kind = Literal[
    "math", "code", "instruction_following", "swe", "chat", "tool_calls", "conversation", "pair"
]
"""What a rule asks about: problems by their ability, conversations, pairs."""
Tokens = Callable[[str], int]
"""The number of tokens of a text."""
Check = Callable[[Row], str | None]
"""Why a row goes, or None."""


@dataclass(frozen=True, slots=True)
class Given:
    """What all rules of a run share: how tokens are counted, and the seed of what is drawn."""

    tokens: Tokens = estimated_tokens
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """`meaning` says which rows go. `on` are the kinds it is asked about; others it leaves alone.

    `build` makes the check from the value given on the command line (`solved_above=6/16`);
    `default` is that value where none is given, empty for a rule that takes none.
    """

    meaning: str
    on: tuple[Kind, ...]
    build: Callable[[str, Given], Check]
    default: str = ""


def plain(check: Check) -> Callable[[str, Given], Check]:
    """`build` for a rule that takes no value."""
    return lambda value, given: check


# --- reading a row ----------------------------------------------------------------------------


def kind_of_row(row: Row) -> Kind:
    """The row's ability, or what it is."""
    match row:
        case Problem():
            return row.domain
        case Conversation():
            return "conversation"
        case Pair():
            return "pair"


def question(row: Row) -> str:
    """What the row asks: all user turns without their mode flags, at most LONGEST characters."""
    messages = row.messages if isinstance(row, Conversation) else row.prompt
    turns = [strip_mode_flag(m.content)[0] for m in messages if m.role == "user"]
    return shortened("\n\n".join(turns))


def shortened(text: str) -> str:
    """The text, or where it is longer than LONGEST its beginning and its end."""
    return text if len(text) <= LONGEST else text[: LONGEST // 2] + "\n" + text[-LONGEST // 2 :]


def answers(conversation: Conversation) -> list[Message]:
    """The assistant turns of a conversation."""
    return [message for message in conversation.messages if message.role == "assistant"]


def recorded(row: Row, keys: Iterable[str]) -> Any:
    """What `extra_info` holds under the first of these keys that it has; None without one."""
    return next((row.extra[key] for key in keys if row.extra.get(key) is not None), None)


def recorded_texts(row: Row, keys: Iterable[str]) -> list[str] | None:
    """The recorded list of texts; None without one. A list of objects gives each one's text.

    A response that was cut off is recorded as null: it comes as an empty text.
    """
    found = recorded(row, keys)
    if isinstance(found, str):
        return [found]
    return [_text(item) for item in found] if isinstance(found, list) else None


def _text(item: Any) -> str:
    if isinstance(item, Mapping):
        found = [item[key] for key in ("text", "content", "response", "answer") if item.get(key)]
        item = found[0] if found else ""
    return item if isinstance(item, str) else "" if item is None else str(item)


# --- reading a text ---------------------------------------------------------------------------

_DRAWING = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.DOTALL)
_FORMULA = re.compile(
    r"\$\$[^$]{0,4000}\$\$|\$[^$]{0,2000}\$|\\\(.{0,2000}?\\\)|\\\[.{0,4000}?\\\]", re.DOTALL
)
_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z*]{1,20}\}|\\[A-Za-z]{1,30}")
_SENTENCE_END = re.compile(r"(?<=[.?!])['\")\]]{0,3}\s+|\n+")


def without_drawings(text: str) -> str:
    """The text without `[asy]` drawings, whose labels look like anything."""
    return _DRAWING.sub(" ", text) if "[asy]" in text else text


def without_formulas(text: str) -> str:
    """The prose of a text: formulas and LaTeX commands become blanks."""
    return _COMMAND.sub(" ", _FORMULA.sub(" ", without_drawings(text)))


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text, about."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def excerpt(text: str, start: int, end: int) -> str:
    """What was found, with a few characters around it, on one line."""
    return " ".join(text[max(0, start - 20) : end + 20].split())
