"""Whether rows can be trained on: every reference must satisfy its own verifier.

One rule: what is wrong with a row is found here, before a model is blamed for it. A row that
nothing can be said of, code without a recorded solution, is no failure; it is counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from cascade_rl.chat import IM_END, IM_START, render
from cascade_rl.data.contradictions import contradiction
from cascade_rl.data.sft.tools import Checked
from cascade_rl.data.sft.tools import check as check_calls
from cascade_rl.types import (
    Answer,
    Constraints,
    Conversation,
    Message,
    Pair,
    Patch,
    Problem,
    Row,
    Tests,
    Verdict,
)
from cascade_rl.verifiers import Pool, verify_many
from cascade_rl.verifiers.code.batches import batches_of
from cascade_rl.verifiers.instructions import BadArguments, check_instructions

SOLUTION = "solution"
"""Key of `extra_info` with a program that is right."""
NOT_RENDERED = "cannot be rendered"
EMPTY_TURN = "empty turn"
TURNS = "turns in an impossible order"
TOOLS = "tool call against its schema"
SAME_PAIR = "chosen equals rejected"
REFERENCE = "reference fails its own verifier"
UNREADABLE_REFERENCE = "unreadable reference"
CONTRADICTION = "instructions contradict each other"
NOT_JUDGED = "could not be judged"
NO_SOLUTION = "no solution to check"
_AT_ONCE = 256
"""Rows that are held while their references are judged."""
NEUTRAL = "A plain answer."


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row is not fit: one of a few reasons, and this row's own detail."""

    reason: str
    detail: str


@dataclass(slots=True)
class Tally:
    """Rows by what they are: how many were seen, how many have a fault, how many say nothing."""

    seen: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    unchecked: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, fault: Fault | None) -> None:
        """Count one row."""
        kind = kind_name(row)
        self.seen[kind] += 1
        self.failed[kind] += fault is not None
        self.unchecked[kind] += fault is None and is_unchecked(row)

    def as_dict(self) -> dict[str, Mapping[str, int]]:
        """For the report."""
        return {
            kind: {
                "rows": self.seen[kind],
                "failed": self.failed[kind],
                NO_SOLUTION: self.unchecked[kind],
            }
            for kind in sorted(self.seen)
        }


def kind_name(row: Row) -> str:
    """A problem's domain; `conversation` or `pair`."""
    if isinstance(row, Problem):
        return row.domain
    return "pair" if isinstance(row, Pair) else "conversation"


def is_unchecked(row: Row) -> bool:
    """Whether the row has tests and no program to try on them."""
    return (
        isinstance(row, Problem) and isinstance(row.reference, Tests) and solution_of(row) is None
    )


def solution_of(problem: Problem) -> str | None:
    """The recorded program, as an answer would give it."""
    found = problem.extra.get(SOLUTION)
    return found if isinstance(found, str) and found.strip() else None


def faults(rows: Iterable[Row], pool: Pool | None = None) -> Iterator[tuple[Row, Fault | None]]:
    """Every row in order, with its fault or None; references are judged by the pool's workers."""
    stream = iter(rows)
    while part := list(islice(stream, _AT_ONCE)):
        found: list[Fault | None] = [form_fault(row) for row in part]
        asked = [
            (at, (row, text))
            for at, row in enumerate(part)
            if found[at] is None
            and isinstance(row, Problem)
            and (text := own_answer(row)) is not None
        ]
        verdicts = verify_many(((_own_form(row), text) for _, (row, text) in asked), pool=pool)
        for (at, _), verdict in zip(asked, verdicts, strict=True):
            found[at] = _reference_fault(verdict)
        yield from zip(part, found, strict=True)


def _reference_fault(verdict: Verdict) -> Fault | None:
    if verdict.status == "right":
        return None
    if verdict.status == "infra":
        return Fault(NOT_JUDGED, verdict.reason[:500])
    return Fault(REFERENCE, f"{verdict.status}: {verdict.reason}"[:500])


def own_answer(problem: Problem) -> str | None:
    """The answer that the row's own reference is, None where it has none."""
    match problem.reference:
        case Answer(text=text):
            return f"\\boxed{{{text}}}"
        case Tests(language=language):
            solution = solution_of(problem)
            return solution and f"~~~~~~{language}\n{solution}\n~~~~~~"
        case Patch(patch=patch):
            return patch
    return None


def _own_form(problem: Problem) -> Problem:
    """A golden patch is a diff, whatever form the answers are to have."""
    if isinstance(problem.reference, Patch):
        return replace(problem, reference=replace(problem.reference, format="diff"))
    return problem


# --- what needs no verdict --------------------------------------------------------------------


def form_fault(row: Row) -> Fault | None:
    """What is wrong with a row before anything is run."""
    match row:
        case Problem():
            return _render_fault(row.prompt) or _problem_fault(row)
        case Pair():
            return _render_fault(row.prompt) or _pair_fault(row)
        case Conversation():
            return _conversation_fault(row)


def _problem_fault(problem: Problem) -> Fault | None:
    match problem.reference:
        case Constraints() as constraints:
            return _constraints_fault(constraints)
        case Tests() as tests:
            try:
                batches_of(tests)
            except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
                return Fault(UNREADABLE_REFERENCE, f"tests: {error}"[:500])
    return None


def _constraints_fault(constraints: Constraints) -> Fault | None:
    try:
        for policy in ("strict_reward", "official"):
            check_instructions(constraints, NEUTRAL, policy=policy)
    except BadArguments as error:
        return Fault(UNREADABLE_REFERENCE, str(error)[:500])
    found = contradiction(constraints)
    return Fault(CONTRADICTION, found) if found else None


def _pair_fault(pair: Pair) -> Fault | None:
    if not pair.chosen.strip() or not pair.rejected.strip():
        return Fault(EMPTY_TURN, "chosen" if not pair.chosen.strip() else "rejected")
    if pair.chosen.split() == pair.rejected.split():
        return Fault(SAME_PAIR, pair.chosen[:200])
    answers = (Message("assistant", pair.chosen), Message("assistant", pair.rejected))
    return _render_fault((*pair.prompt, *answers))


def _conversation_fault(row: Conversation) -> Fault | None:
    for at, message in enumerate(row.messages):
        if message.role == "assistant" and not message.content.strip() and not message.tool_calls:
            return Fault(EMPTY_TURN, f"messages[{at}]")
        before = row.messages[at - 1] if at else None
        if message.role == "tool" and (before is None or not _may_precede_a_result(before)):
            return Fault(TURNS, f"messages[{at}] is a tool's result and no call stands before it")
        if message.role == "system" and at:
            return Fault(TURNS, f"messages[{at}] is a system turn; expected it first")
    if row.tools:
        found = check_calls(row, allow_final_call=True)
        if not isinstance(found, Checked):
            return Fault(TOOLS, ": ".join(found))
    return _render_fault(row.messages, row)


def _may_precede_a_result(message: Message) -> bool:
    return message.role == "tool" or bool(message.tool_calls)


def _render_fault(
    messages: tuple[Message, ...], conversation: Conversation | None = None
) -> Fault | None:
    if not any(message.content.strip() or message.tool_calls for message in messages):
        return Fault(EMPTY_TURN, "every turn")
    try:
        rendered = render(_Bytes(), messages, conversation.tools if conversation else ())
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        return Fault(NOT_RENDERED, str(error)[:200])
    if conversation is not None and not any(rendered.loss_mask):
        return Fault(NOT_RENDERED, "no token is trained on")
    return None


class _Bytes:
    """A tokenizer whose ids are bytes: text that is no UTF-8 cannot be encoded by any other."""

    def encode_plain(self, text: str) -> list[int]:
        return list(text.encode("utf-8"))

    def token_id(self, token: str) -> int | None:
        return {IM_START: 256, IM_END: 257}.get(token)
