"""Scores of subtasks from results of tests: the lowest counts, and nothing runs in vain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cascade_rl.evaluation.ioi.judge import TestResult, judged, passes_samples
from cascade_rl.evaluation.ioi.task import Task, Test
from cascade_rl.sandbox.base import Language
from tests.evaluation.ioi.scripted import problem

RIGHT, WRONG = TestResult(1, "right"), TestResult(0, "wrong")


@dataclass
class Table:
    """Results by the last part of a test's name, else right; `ran` says which were run."""

    results_by_name: Mapping[str, TestResult]
    ran: list[str] = field(default_factory=list)

    def results(
        self, task: Task, source: str, language: Language, tests: Sequence[Test]
    ) -> Sequence[TestResult]:
        found = []
        for test in tests:
            name = test.name.split("/")[1]
            self.ran.append(name)
            found.append(self.results_by_name.get(name, RIGHT))
            if found[-1].score == 0:
                break
        return found


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Subtask 1 has tests 1-*, subtask 2 those and 2-*, subtask 3 all."""
    return problem(tmp_path)


def part(score: float) -> TestResult:
    return TestResult(score, "partial")


@pytest.mark.parametrize(
    ("results", "scores_S", "ran"),
    [
        ({}, (1, 1, 1), ["1-1", "1-2", "2-1", "2-2", "3-1", "3-2"]),
        ({"2-1": WRONG}, (1, 0, 0), ["1-1", "1-2", "2-1"]),
        ({"1-1": WRONG}, (0, 0, 0), ["1-1"]),
        ({"3-2": WRONG}, (1, 1, 0), ["1-1", "1-2", "2-1", "2-2", "3-1", "3-2"]),
        ({"1-2": part(0.4), "2-2": part(0.6), "3-1": part(0.1)}, (0.4, 0.4, 0.1), None),
        ({"2-1": part(0.7), "3-2": TestResult(0, "timeout")}, (1, 0.7, 0), None),
    ],
)
def test_a_subtask_scores_the_lowest_of_its_tests_and_no_test_runs_twice(
    results: Mapping[str, TestResult], scores_S: tuple[float, ...], ran: list[str], task: Task
) -> None:
    table = Table(results)
    assert judged(task, "x", "cpp", table).scores_S == scores_S
    assert table.ran == (ran or ["1-1", "1-2", "2-1", "2-2", "3-1", "3-2"])


def test_what_does_not_compile_is_tried_once(task: Task) -> None:
    failure = TestResult(0, "compile", "compile error: no")
    table = Table({"1-1": failure})
    assert judged(task, "x", "cpp", table).results_S == (failure,) * 3
    assert table.ran == ["1-1"]


def test_a_sample_is_passed_by_any_score_above_0(task: Task) -> None:
    assert passes_samples(task, "x", "cpp", Table({}))
    assert passes_samples(task, "x", "cpp", Table({"1": part(0.01)}))
    assert not passes_samples(task, "x", "cpp", Table({"1": WRONG}))


def test_without_samples_every_candidate_passes(tmp_path: Path) -> None:
    table = Table({"1": WRONG})
    assert passes_samples(problem(tmp_path, samples=None), "x", "cpp", table)
    assert table.ran == []
