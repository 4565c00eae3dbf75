"""Word problems of one or two steps over numbers up to 99; the answer is exact.

The demonstrations (`worked`) name the sum before its value. What makes a problem its own is
its operand pair: `27 + 35` is in one split only, whoever buys whatever.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cascade_rl.mini.draw import (
    EVAL_ROWS,
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

NAMES = ("Ann", "Ben", "Eva", "Tom", "Max", "Lea", "Sam", "Zoe")
THINGS = ("pens", "books", "coins", "cards", "cups", "keys", "eggs", "balls")
LARGEST = 99

PLUS = (
    "Solve: {A} has {a} {t} and gets {b} more. How many {t} now?",
    "Solve: {A} has {a} {t} and {B} has {b}. How many {t} in all?",
    "Solve: {B} has {a} {t}. {A} has {b} more. How many {t} has {A}?",
    "Solve: {A} and {B} have {a} and {b} {t}. How many {t} in all?",
)
MINUS = (
    "Solve: {A} has {a} {t} and loses {b}. How many {t} are left?",
    "Solve: {A} has {a} {t} and gives {B} {b}. How many {t} has {A} now?",
    "Solve: {B} has {a} {t}. {A} has {b} less. How many {t} has {A}?",
    "Solve: {A} gives {b} of {a} {t} to {B}. How many {t} are left?",
)


@dataclass(frozen=True, slots=True)
class Sum:
    """`a + b` or `a - b`."""

    a: int
    sign: str
    b: int

    @property
    def value(self) -> int:
        return self.a + self.b if self.sign == "+" else self.a - self.b

    @property
    def structure(self) -> str:
        """Commuted sums are one structure, and a difference is its sum turned round."""
        if self.sign == "+":
            return f"sum:{min(self.a, self.b)}:{max(self.a, self.b)}"
        return f"difference:{self.a}:{self.b}"

    def __str__(self) -> str:
        return f"{self.a}{self.sign}{self.b}"


def draw_sum(rng: random.Random, split: Split, largest: int = LARGEST) -> Sum:
    """A sum of the split whose numbers and value lie in 1..largest."""
    while True:
        total = rng.randint(5, largest)
        part = rng.randint(2, total - 2)
        drawn = Sum(part, "+", total - part) if rng.random() < 0.5 else Sum(total, "-", part)
        if split_of(drawn.structure) == split:
            return drawn


def worded(rng: random.Random, drawn: Sum, split: Split) -> str:
    """The sum as a story."""
    first, second = rng.sample(NAMES, 2)
    template = family(rng, PLUS if drawn.sign == "+" else MINUS, split)
    return template.format(A=first, B=second, a=drawn.a, b=drawn.b, t=rng.choice(THINGS))


def worked(drawn: Sum) -> tuple[str, str]:
    """Thought and answer of a demonstration."""
    return f"{drawn}={drawn.value}", f"\\boxed{{{drawn.value}}}"


def problems(split: Split, data_seed: int) -> list[Problem]:
    """The word problems of a split."""
    rng = generator(f"math/{split}", data_seed)

    def draw() -> Problem:
        drawn = draw_sum(rng, split)
        text = worded(rng, drawn, split)
        extra = {"split": split, "structure": drawn.structure}
        answer = Answer(str(drawn.value))
        return Problem(f"math/{digest(text)}", "math", (user(text),), answer, "mini", extra)

    return collect(draw, TRAIN_ROWS if split == "train" else EVAL_ROWS)
