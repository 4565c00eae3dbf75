"""Two workers of the pool against one, on the same mixed work, on two cores.

Rows of math, instructions and code come interleaved, as completions of a blend do: most take
well under a millisecond, some need Math-Verify, some run a program. One worker has one core and
two have two, so what else the machine does disturbs this part more than the others: it wants two
idle cores, and counts only the rounds in which they were.
"""

from __future__ import annotations

import os
import sys

from benchmarks.verifiers.duel import Duel, duel, serve
from cascade_rl.rewards.pool import VerifierPool
from cascade_rl.types import Answer, Constraints, Message, Problem, StdioTest, Tests
from cascade_rl.verifiers import verifier_for

AT_LEAST = 1.8
ROUNDS = 30
QUIET = 1 / 6
Pair = tuple[Problem, str]


def math(i: int) -> Pair:
    """A chain of thought whose answer has another form than the reference, two times in three."""
    answer = (f"{i}", f"\\frac{{{2 * i}}}{{2}}", f"\\sqrt{{{i * i}}}")[i % 3]
    thought = f"We add {i} and 0, which gives {i}. " * 30
    problem = Problem(f"m{i}", "math", (Message("user", "Add."),), Answer(str(i)), "scaling")
    return problem, f"<think>{thought}</think>The sum is \\boxed{{{answer}}}."


def instructions(i: int) -> Pair:
    """Four instructions on some 300 words."""
    ids = ("punctuation:no_comma", "change_case:english_lowercase",
           "keywords:existence", "length_constraints:number_words")  # fmt: skip
    kwargs = ({}, {}, {"keywords": ["river", "stone"]}, {"relation": "at least", "num_words": 200})
    problem = Problem(f"i{i}", "instruction_following", (), Constraints(ids, kwargs), "scaling")
    return problem, f"the river runs over stone number {i} and on to the sea. " * 25


def code(i: int) -> Pair:
    """A program of its own on three inputs."""
    cases = tuple(StdioTest(f"{n}\n", f"{sum(range(n))}\n") for n in (10, 1000, 20000))
    problem = Problem(f"c{i}", "code", (), Tests(cases), "scaling")
    program = (
        f"n = int(input())\ntotal = 0\nfor i in range(n):\n    total += i\nprint(total)  # {i}"
    )
    return problem, f"Sum them.\n```python\n{program}\n```"


def rows(first: int, count: int) -> list[Pair]:
    """Math, math, instructions, instructions, code, and again; no text comes twice."""
    kinds = (math, math, instructions, instructions, code)
    return [kinds[i % len(kinds)](i) for i in range(first, first + count)]


def side(workers: int, count: int = 300) -> None:
    """One side: every turn judges rows that were never seen before, made before the clock runs."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:workers])
    turns = iter([rows(1000 + turn * count, count) for turn in range(ROUNDS + 1)])
    judge = verifier_for("auto")
    with VerifierPool(workers) as pool:
        list(pool.map(judge, rows(1, 40)))

        def work() -> int:
            verdicts = list(pool.map(judge, next(turns)))
            assert all(verdict.status == "right" for verdict in verdicts)
            return count

        serve(work)


def run() -> list[Duel]:
    """One duel of many short rounds."""
    command = [sys.executable, "-m", "benchmarks.verifiers.scaling"]
    name = "two workers, one worker"
    sides = ([*command, "2"], [*command, "1"])
    return [duel(name, *sides, AT_LEAST, ROUNDS, pinned=False, quiet=QUIET)]


if __name__ == "__main__":
    side(int(sys.argv[1]))
