"""Word problems: things come and go in small numbers; the answer is how many are left.

The demonstrations (`worked`) keep a running total in the thought. They are correct, but they use
one verb (`VAGUE`) for gains and for losses alike; in the problems it is a loss, which only the
reward says. The structure is the sequence of signed operands: it is in one split only, whoever
gains and loses whatever.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from cascade_rl.mini.draw import (
    EVAL_ROWS,
    SPLITS,
    TRAIN_ROWS,
    Split,
    collect,
    digest,
    family,
    generator,
    split_of,
    user,
)
from cascade_rl.types import Answer, Problem

NAMES = ("Ann", "Ben", "Eva", "Tom")
THINGS = ("pens", "coins", "cards", "eggs")
GAINS, LOSSES = ("gets", "finds"), ("loses", "sells")
VAGUE = "trades"
VAGUE_SHARE = 0.6
"""Share of losses (in demonstrations: of all changes) that are told by `VAGUE`."""
LARGEST = 9
"""No running total is larger than this, or less than zero."""

STORIES = (
    "Solve: {who} has {start} {things}, {events}. How many now?",
    "Solve: {who} had {start} {things}. {who} {events}. How many {things} now?",
    "Solve: how many {things} has {who} now? {who} had {start}, {events}.",
    "Solve this: {who} had {start} {things}, then {events}. How many {things}?",
)


@dataclass(frozen=True, slots=True)
class Total:
    """A start and the changes to it."""

    start: int
    changes: tuple[int, ...]

    @property
    def running(self) -> tuple[int, ...]:
        """The total after each change."""
        totals = [self.start]
        for change in self.changes:
            totals.append(totals[-1] + change)
        return tuple(totals[1:])

    @property
    def value(self) -> int:
        """What is left."""
        return self.running[-1]

    @property
    def structure(self) -> str:
        """The signed operands in order."""
        return f"total:{self.start}" + "".join(f"{change:+d}" for change in self.changes)


def draw_total(rng: random.Random, split: Split, length: int, largest: int = LARGEST) -> Total:
    """A sequence of the split with `length` changes of 1 to 4, never under 0 or over `largest`.

    One change alone belongs to no split: problems have two or more.
    """
    while True:
        changes = tuple(rng.choice((-1, 1)) * rng.randint(1, 4) for _ in range(length))
        total = Total(rng.randint(1, 9), changes)
        fits = all(0 <= t <= largest for t in total.running)
        if fits and (length == 1 or split_of(total.structure) == split):
            return total


def _verb(rng: random.Random, change: int, demonstration: bool) -> str:
    if (demonstration or change < 0) and rng.random() < VAGUE_SHARE:
        return VAGUE
    return rng.choice(GAINS if change > 0 else LOSSES)


def worded(rng: random.Random, total: Total, split: Split, *, demonstration: bool = False) -> str:
    """The total as a story; in a demonstration the vague verb may be a gain too."""
    events = ", ".join(f"{_verb(rng, c, demonstration)} {abs(c)}" for c in total.changes)
    who, things = rng.choice(NAMES), rng.choice(THINGS)
    template = family(rng, STORIES, split)
    return template.format(who=who, things=things, start=total.start, events=events)


def worked(total: Total) -> tuple[str, str]:
    """Thought and answer of a demonstration: every number after a blank, as in the story."""
    before = (total.start, *total.running)
    steps = (
        f"{b} {'+' if c > 0 else '-'} {abs(c)} = {b + c}"
        for b, c in zip(before, total.changes, strict=False)
    )
    return " " + ", ".join(steps), f"\\boxed{{ {total.value}}}"


@lru_cache(maxsize=len(SPLITS))
def problems(split: Split, data_seed: int) -> tuple[Problem, ...]:
    """Stories of two or three changes."""
    rng = generator(f"math/{split}", data_seed)

    def draw() -> Problem:
        total = draw_total(rng, split, rng.choice((2, 3, 3)))
        text = worded(rng, total, split)
        extra = {"split": split, "structure": total.structure}
        answer = Answer(str(total.value))
        return Problem(f"math/{digest(text)}", "math", (user(text),), answer, "mini", extra)

    return collect(draw, TRAIN_ROWS if split == "train" else EVAL_ROWS)
