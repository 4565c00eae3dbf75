"""Single turns made into conversations: by a second turn that asks for another version of the
answer, and by setting random rows one after another (Nemotron-Cascade, section 3.2.1).

Rules. A row is used once: what is joined is not there alone as well. The shares are of the
*eligible* rows, those of one user turn and one answer, no system turn, no tools, and are met to
the row. Every user turn of every row that is written carries a mode, its own or the one its
answer shows; the mode may change from turn to turn. Memory holds `BUFFER` rows.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from cascade_rl.chat import assistant_text
from cascade_rl.data.lengths import estimated_tokens
from cascade_rl.data.sft.endpoint import (
    Ask,
    Endpoint,
    Failure,
    Reply,
    Report,
)
from cascade_rl.data.sft.responses import Refused, Teacher, read_reply, readable
from cascade_rl.data.step import Step
from cascade_rl.digests import digest_text
from cascade_rl.types import Conversation, Message, Mode, Row

BUFFER = 4096
"""Rows among which partners are drawn."""
LOOKS = 64
MIXED = "multiturn"
"""The source of a conversation that is joined from several sources."""
UNCHANGED = "the second answer is the first one"
NO_CONVERSATION = "no conversation"

REWRITES = (
    "Please rewrite that so that it is about half as long.",
    "Can you say the same again, but in a warmer and more personal tone?",
    "Rewrite your previous response for readers who know nothing about the subject.",
    "Edit your last answer: keep its content, and use shorter sentences.",
    "Now turn that into something more formal.",
    "I like it, but the opening is weak. Rewrite it with a better beginning.",
    "Could you go over your previous response once more and make it livelier?",
    "Rework what you just wrote so that it ends on a hopeful note.",
    "Please edit your answer: take out everything that is not needed.",
    "Give me another version of this, told from a different point of view.",
    "Rewrite the whole thing in plain language, without any jargon.",
    "Make your previous response more concrete: add a detail or an example where it is vague.",
    "Same content, please, but arranged in clear sections.",
    "Revise your answer so that it sounds less like a list and more like one piece of writing.",
    "Can you rewrite this with a bit of humour?",
    "Please polish your last response: better rhythm, stronger verbs, no repetition.",
)
"""What the second turn asks for; none of it needs more than the answer it speaks of."""

Fate = Literal["as it is", "joined", "rewritten"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a file. `max_tokens` is of a whole conversation, estimated."""

    join: float = 0.0
    rewrite: float = 0.0
    max_turns: int = 4
    max_tokens: int = 16384
    sources: tuple[str, ...] = ()
    seed: int = 0

    def can_join(self, row: Row) -> bool:
        """Whether the row may be set beside others: any three such rows, or two, are in bounds."""
        return single(row) is not None and tokens(row) * min(self.max_turns, 3) <= self.max_tokens

    def can_rewrite(self, row: Row) -> bool:
        """Whether a second turn may be asked for: a row of the chosen sources, with some room."""
        chosen = not self.sources or row.source in self.sources
        return chosen and single(row) is not None and 3 * tokens(row) <= self.max_tokens


def single(row: Row) -> Conversation | None:
    """The row, where it is one question and one answer and nothing else."""
    if not isinstance(row, Conversation) or row.tools or len(row.messages) != 2:
        return None
    question, answer = row.messages
    plain = (question.role, answer.role) == ("user", "assistant") and not answer.tool_calls
    return row if plain else None


def tokens(row: Row) -> int:
    """The tokens of a conversation, about."""
    turns = row.messages if isinstance(row, Conversation) else ()
    return sum(estimated_tokens(assistant_text(m)) for m in turns)


def flagged(row: Conversation) -> Conversation:
    """The row with a mode on every user turn: its own, or the one that its answer shows."""
    turns = list(row.messages)
    mode: Mode = "no_think"
    for i in reversed(range(len(turns))):
        if turns[i].role == "assistant":
            mode = "no_think" if turns[i].thought is None else "think"
        elif turns[i].role == "user" and turns[i].mode is None:
            turns[i] = replace(turns[i], mode=mode)
    return replace(row, messages=tuple(turns))


# --- which rows -------------------------------------------------------------------------------


class Share:
    """Takes exactly `wanted` of `total` in one pass, each as likely as any other.

    One is taken with the odds of what is still wanted among what is still to come.
    """

    def __init__(self, wanted: int, total: int, seed: str) -> None:
        self.wanted, self._left, self._rng = wanted, total, random.Random(seed)

    def take(self) -> bool:
        """Whether the next one is taken."""
        taken = self.wanted > 0 and self._rng.random() * self._left < self.wanted
        self._left -= 1
        self.wanted -= taken
        return taken


@dataclass(frozen=True, slots=True)
class Chosen:
    """How many rows are rewritten and joined, of how many that could be."""

    rewritable: int
    rewritten: int
    joinable: int
    joined: int

    def fates(self, plan: Plan, rows: Iterable[Row]) -> Iterator[tuple[Row, Fate]]:
        """Every row with what becomes of it, the same in every pass."""
        rewrite = Share(self.rewritten, self.rewritable, f"rewrite:{plan.seed}")
        join = Share(self.joined, self.joinable, f"join:{plan.seed}")
        for row in rows:
            if plan.can_rewrite(row) and rewrite.take():
                yield row, "rewritten"
            elif plan.can_join(row) and join.take():
                yield row, "joined"
            else:
                yield row, "as it is"


def choose(plan: Plan, rows: Callable[[], Iterable[Row]]) -> Chosen:
    """Count what the shares are of, a pass for each: rows to rewrite first, then those left."""
    rewritable = sum(plan.can_rewrite(row) for row in rows()) if plan.rewrite else 0
    rewritten = round(plan.rewrite * rewritable)
    first = Chosen(rewritable, rewritten, 0, 0)
    left = (row for row, fate in first.fates(plan, rows()) if fate != "rewritten")
    joinable = sum(plan.can_join(row) for row in left) if plan.join else 0
    joined = round(plan.join * joinable)
    if joined == 1 or (plan.max_turns == 2 and joined % 2):
        joined -= 1  # one row has no partner
    return Chosen(rewritable, rewritten, joinable, joined)


# --- joining ----------------------------------------------------------------------------------


def joined(plan: Plan, rows: Iterable[Conversation], total: int) -> Iterator[Conversation]:
    """Conversations of 2 to `max_turns` of the rows, partners drawn from a buffer of them.

    `total` is the number of rows. Rows with the same question never meet; one that has no
    partner for this reason comes out alone.
    """
    rng = random.Random(f"partners:{plan.seed}")
    source = iter(rows)
    buffer = list(islice(source, BUFFER))
    left = total
    while buffer:
        group = [_draw(buffer, rng.randrange(len(buffer)), source)]
        size = rng.randint(2, plan.max_turns)
        while buffer and len(group) < plan.max_turns:
            rest = left - len(group)  # neither one more than is drawn, nor one row left alone
            if len(group) >= 2 and rest != 1 and (len(group) >= size or rest == 2):
                break
            place = _partner(plan, group, buffer, rng.randrange(len(buffer)))
            if place is None:
                break
            group.append(_draw(buffer, place, source))
        left -= len(group)
        yield _conversation(group)


def _draw(buffer: list[Conversation], place: int, source: Iterator[Conversation]) -> Conversation:
    """Take a row out of the buffer and fill its place from the source."""
    found = buffer[place]
    following = next(source, None)
    if following is None:
        buffer[place] = buffer[-1]
        buffer.pop()
    else:
        buffer[place] = following
    return found


def _partner(
    plan: Plan, group: Sequence[Conversation], buffer: Sequence[Conversation], start: int
) -> int | None:
    """The first place from `start` on whose row has another question and is in bounds.

    A first partner is looked for everywhere; a further one is not worth more than a few looks.
    """
    asked = {row.messages[0].content for row in group}
    room = plan.max_tokens - sum(map(tokens, group))
    for step in range(len(buffer) if len(group) == 1 else min(LOOKS, len(buffer))):
        place = (start + step) % len(buffer)
        if buffer[place].messages[0].content not in asked and tokens(buffer[place]) <= room:
            return place
    return None


def _conversation(group: Sequence[Conversation]) -> Conversation:
    """The rows one after another; a group of one is the row."""
    if len(group) == 1:
        return flagged(group[0])
    sources = {row.source for row in group}
    source = group[0].source if len(sources) == 1 else MIXED
    turns = tuple(message for row in group for message in flagged(row).messages)
    return Conversation(f"joined/{digest_text(*(r.id for r in group))[:16]}", turns, source)


# --- rewriting --------------------------------------------------------------------------------


def rewrite_ask(teacher: Teacher, plan: Plan, row: Conversation) -> tuple[Ask, Message]:
    """The request for a second answer, and the turn that asks for it.

    The wording and the mode depend on the row and the seed only, not on its place in the file.
    """
    question, answer = flagged(row).messages
    rng = random.Random(digest_text(str(plan.seed), question.content, answer.content))
    mode = rng.choice(tuple(teacher.models))
    turn = Message("user", rng.choice(REWRITES), mode=mode)
    turns = (question, Message("assistant", answer.content), turn)
    return teacher.ask(turns, mode, 0), turn


def rewritten(
    teacher: Teacher, row: Conversation, turn: Message, reply: Reply | Failure
) -> Conversation | Refused:
    """The row with its second turn, or why there is none."""
    answer = read_reply(reply, turn.mode or "think", teacher.cap)
    if isinstance(answer, Refused):
        return answer
    if answer.content == row.messages[1].content:
        return Refused(UNCHANGED)
    return Conversation(f"{row.id}/rewritten", (*flagged(row).messages, turn, answer), row.source)


# --- both -------------------------------------------------------------------------------------


def multiturn(
    step: Step,
    path: Path,
    plan: Plan,
    teacher: Teacher | None = None,
    endpoint: Endpoint | None = None,
    report: Report = lambda rows, end: None,
) -> None:
    """Write every row: as it is, joined with others, or with a second turn.

    A row whose second answer cannot be used is written as it is, and counted by reason.
    """
    chosen = choose(plan, lambda: readable(path))
    if chosen.rewritten and teacher and endpoint:
        fates = chosen.fates(plan, readable(path))
        rows = (single(row) for row, fate in fates if fate == "rewritten")
        endpoint.fetch((rewrite_ask(teacher, plan, row)[0] for row in rows if row), report)
    lost: Counter[str] = Counter()
    turns: Counter[int] = Counter()

    def to_join() -> Iterator[Conversation]:
        """The rows to join; the others are written on the way."""
        for row, fate in chosen.fates(plan, step.rows(path)):
            if not isinstance(row, Conversation):
                step.drop(row, NO_CONVERSATION, "expected messages")
            elif fate == "joined":
                yield row
            elif fate == "rewritten" and teacher and endpoint:
                ask, turn = rewrite_ask(teacher, plan, row)
                found = rewritten(teacher, row, turn, endpoint.answer(ask))
                lost.update([found.reason] if isinstance(found, Refused) else [])
                step.keep(flagged(row) if isinstance(found, Refused) else found)
            else:
                step.keep(flagged(row))

    alone = 0
    for conversation in joined(plan, to_join(), chosen.joined):
        count = sum(m.role == "user" for m in conversation.messages)
        alone += count == 1
        turns[count] += count > 1
        step.keep(conversation)
    step.details |= {
        "rewritable": chosen.rewritable,
        "rewritten": chosen.rewritten - lost.total(),
        "rewrites_lost": dict(sorted(lost.items())),
        "joinable": chosen.joinable,
        "joined": chosen.joined - alone,
        "without_partner": alone,
        "conversations_by_turns": {str(n): turns[n] for n in sorted(turns) if turns[n]},
    }
