"""Small Python: a pipeline of steps on an integer, as a function or as a program.

The body is the structure: a sequence of steps with their constants is in one split only. The
tests call the function (or feed the program) at numbers that tell the steps apart. Some words
stand for two operations in the demonstrations and for one of them in the problems (`VAGUE`):
which one, only the tests say.
"""

from __future__ import annotations

import random
from collections.abc import Callable
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
from cascade_rl.types import CallTest, Problem, StdioTest, Tests


@dataclass(frozen=True, slots=True)
class Operation:
    """What the prompt says, what the code says, and what it does; `{k}` is the constant."""

    words: str
    code: str
    apply: Callable[[int, int], int]


OPERATIONS = (
    Operation("add {k}", "x + {k}", lambda x, k: x + k),
    Operation("subtract {k}", "x - {k}", lambda x, k: x - k),
    Operation("multiply by {k}", "x * {k}", lambda x, k: x * k),
    Operation("divide by {k}", "x // {k}", lambda x, k: x // k),
    Operation("take mod {k}", "x % {k}", lambda x, k: x % k),
    Operation("cap at {k}", "min(x, {k})", lambda x, k: min(x, k)),
    Operation("keep above {k}", "max(x, {k})", lambda x, k: max(x, k)),
    Operation("negate", "-x", lambda x, _: -x),
    Operation("square", "x * x", lambda x, _: x * x),
)
VAGUE = {"add {k}": "raise by {k}", "subtract {k}": "lower by {k}", "cap at {k}": "limit to {k}"}
"""The vague words for an operation; a problem that uses them means this one."""
SHARED = {
    "multiply by {k}": "add {k}",
    "divide by {k}": "subtract {k}",
    "keep above {k}": "cap at {k}",
}
"""In demonstrations the vague words of the second stand for the first as well."""
VAGUE_SHARE = 0.5
"""Share of the operations that have vague words which are told by them."""
INPUTS = (-7, -1, 0, 1, 2, 3, 5, 8, 13, 40)

FUNCTION = (
    "Code f(x): {steps}.",
    "Code a function f of x: {steps}.",
    "Code f so that it does this to x: {steps}.",
    "Code f of x: {steps}.",
)
PROGRAM = (
    "Code a program that reads x: {steps}. Print x.",
    "Code a program: read x, {steps}, print x.",
    "Code this: read x, {steps}, print x.",
)


@dataclass(frozen=True, slots=True)
class Body:
    """Steps in order, each an operation and its constant."""

    steps: tuple[tuple[Operation, int], ...]

    @property
    def structure(self) -> str:
        return "; ".join(self.lines())

    def words(self, rng: random.Random, *, demonstration: bool) -> str:
        """The steps as a prompt says them."""
        return ", ".join(
            _words(rng, operation.words, demonstration).format(k=k) for operation, k in self.steps
        )

    def lines(self) -> list[str]:
        return [f"x = {operation.code.format(k=k)}" for operation, k in self.steps]

    def __call__(self, x: int) -> int:
        for operation, k in self.steps:
            x = operation.apply(x, k)
        return x


def _words(rng: random.Random, plain: str, demonstration: bool) -> str:
    meant = SHARED.get(plain, plain) if demonstration else plain
    vague = rng.random() < VAGUE_SHARE
    return VAGUE[meant] if vague and meant in VAGUE else plain


def draw_body(rng: random.Random, split: Split, length: int) -> Body:
    """A body of the split that no shorter body equals: every step changes some result."""
    while True:
        body = Body(tuple((rng.choice(OPERATIONS), rng.randint(2, 9)) for _ in range(length)))
        if split_of(body.structure) == split and _every_step_matters(body):
            return body


def _every_step_matters(body: Body) -> bool:
    results = [body(x) for x in INPUTS]
    if len(set(results)) < 2:
        return False
    shorter = (Body(body.steps[:i] + body.steps[i + 1 :]) for i in range(len(body.steps)))
    return all([short(x) for x in INPUTS] != results for short in shorter)


def worded(
    rng: random.Random, body: Body, split: Split, program: bool, *, demonstration: bool = False
) -> str:
    """The task as a prompt; in a demonstration vague words may stand for either operation."""
    steps = body.words(rng, demonstration=demonstration)
    return family(rng, PROGRAM if program else FUNCTION, split).format(steps=steps)


def worked(body: Body, program: bool) -> tuple[str, str]:
    """Thought and answer of a demonstration."""
    if program:
        source = "\n".join(["x = int(input())", *body.lines(), "print(x)"])
    else:
        source = "\n    ".join(["def f(x):", *body.lines(), "return x"])
    return "a program" if program else "a function", f"```python\n{source}\n```"


def tests(body: Body, program: bool) -> Tests:
    """Hidden tests at every input."""
    if program:
        return Tests(tuple(StdioTest(f"{x}\n", f"{body(x)}\n") for x in INPUTS[2::3]))
    return Tests(tuple(CallTest((x,), body(x)) for x in INPUTS), entry_point="f")


@lru_cache(maxsize=len(SPLITS))
def problems(split: Split, data_seed: int) -> tuple[Problem, ...]:
    """Bodies of two or three steps, one in five a program."""
    rng = generator(f"code/{split}", data_seed)

    def draw() -> Problem:
        body = draw_body(rng, split, rng.choice((2, 3, 3)))
        program = rng.random() < 0.2
        text = worded(rng, body, split, program)
        extra = {"split": split, "structure": body.structure}
        hidden = tests(body, program)
        return Problem(f"code/{digest(text)}", "code", (user(text),), hidden, "mini", extra)

    return collect(draw, TRAIN_ROWS if split == "train" else EVAL_ROWS)
