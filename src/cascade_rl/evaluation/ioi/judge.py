"""A submission against the tests of a problem: the scores of its subtasks.

A subtask scores its points times the lowest score of its tests, and a problem the sum over its
subtasks of the best that any submission had there (the IOI's rule since 2017). One rule: a failure
of ours is tried again and then raised; it is never a score, and the submission is not used up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cascade_rl.evaluation.ioi.task import Task, Test
from cascade_rl.sandbox.base import Language

TestStatus = Literal[
    "right", "partial", "wrong",
    "runtime", "timeout", "memory", "output", "violation", "compile",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a program made of one test: a score from 0 to 1.

    `detail` is what a compiler complained of and else empty: what a program says of itself could
    hold a test's input, and a model would read it.
    """

    score: float
    status: TestStatus
    detail: str = ""


class Judge(Protocol):
    """Runs programs on tests."""

    def results(
        self, task: Task, source: str, language: Language, tests: Sequence[Test]
    ) -> Sequence[TestResult]:
        """Of the tests in turn, up to and including the first that scores 0.

        Raises EvaluationError where they cannot be judged, through no fault of the program.
        """
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """A submission's verdict: for each of the S subtasks the result that settled it."""

    results_S: tuple[TestResult, ...]

    @property
    def scores_S(self) -> tuple[float, ...]:
        """Of each subtask, from 0 to 1."""
        return tuple(result.score for result in self.results_S)


def judged(task: Task, source: str, language: Language, judge: Judge) -> Judged:
    """The verdict on a submission.

    A test that several subtasks share runs once, and a subtask ends at its first test that
    scores 0. Raises EvaluationError where it cannot be judged.
    """
    known: dict[Test, TestResult] = {}
    settled: list[TestResult] = []
    for subtask in task.subtasks:
        lowest = _lowest(known, subtask.tests)
        if lowest is None or lowest.score > 0:
            left = [test for test in subtask.tests if test not in known]
            found = judge.results(task, source, language, left) if left else ()
            known.update(zip(left, found, strict=False))
            lowest = _lowest(known, subtask.tests)
        assert lowest is not None
        if lowest.status == "compile":
            return Judged((lowest,) * len(task.subtasks))
        settled.append(lowest)
    return Judged(tuple(settled))


def passes_samples(task: Task, source: str, language: Language, judge: Judge) -> bool:
    """Whether a candidate scores above 0 on every sample; so does any where there is none."""
    if not task.samples:
        return True
    found = judge.results(task, source, language, task.samples)
    return len(found) == len(task.samples) and all(result.score > 0 for result in found)


def _lowest(known: dict[Test, TestResult], tests: Sequence[Test]) -> TestResult | None:
    """The first of the lowest results; None where no test has one."""
    found = [known[test] for test in tests if test in known]
    return min(found, key=lambda result: result.score) if found else None
