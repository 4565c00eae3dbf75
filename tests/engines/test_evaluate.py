from __future__ import annotations

from collections.abc import Sequence

import pytest

from cascade_rl.config import BenchmarkConfig
from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.errors import EvaluationError
from cascade_rl.types import (
    Answer,
    Checkpoint,
    Problem,
    Sample,
    Verdict,
    Verifier,
    partial,
    right,
    unjudged,
)
from cascade_rl.verifiers import verify
from tests.engines.helpers import CHAT, LOCAL, comma_problems, user


def length(problem: Problem, text: str) -> Verdict:
    """Every answer is judged by its length."""
    return partial(len(text), f"{len(text)} characters")


def yes(problem: Problem, text: str) -> Verdict:
    return right(text)


def broken(problem: Problem, text: str) -> Verdict:
    return unjudged("infra", "the disk is on fire")


def run(
    engine: LocalEngine,
    start: Checkpoint,
    problems: Sequence[Problem],
    verifier: Verifier = length,
    processes: int = 1,
    **values: object,
) -> list[Sample]:
    fields = {"name": "b", "file": "b.jsonl", "k": 3, "max_new_tokens": 20} | values
    local = LOCAL.model_copy(update={"processes": processes})
    benchmark = BenchmarkConfig(**fields)  # type: ignore[arg-type]
    return list(engine.evaluate(start, EvaluationJob(benchmark, problems, verifier, CHAT, local)))


def test_samples_come_in_order_the_greedy_one_first_and_are_reproducible(
    start: Checkpoint, engine: LocalEngine
) -> None:
    problems = comma_problems(5)
    first = run(engine, start, problems, verify)
    assert [(s.problem_id, s.sample) for s in first] == [
        (p.id, sample) for p in problems for sample in (-1, 0, 1, 2)
    ]
    assert run(engine, start, problems, verify) == first
    assert [s for s in first if s.greedy] == run(engine, start, problems, verify, k=0)
    without = run(engine, start, problems, verify, greedy=False)
    assert without == [s for s in first if not s.greedy]


def test_two_processes_give_the_same_samples(start: Checkpoint) -> None:
    engine = LocalEngine()
    problems = comma_problems(5)
    one = run(engine, start, problems)
    two = run(engine, start, problems, processes=2)
    engine.close()
    assert [s.text for s in one] == [s.text for s in two]


def test_a_truncated_answer_scores_zero_whatever_it_says(
    start: Checkpoint, engine: LocalEngine
) -> None:
    found = run(engine, start, comma_problems(20), yes, max_new_tokens=60)
    assert {s.finish for s in found} == {"length", "stop"}
    for sample in found:
        assert sample.signals.truncated == (sample.finish == "length")
        assert sample.signals.verdict is not None
        assert sample.signals.verdict.score == float(sample.finish == "stop")


def test_thinking_without_an_end_scores_zero_in_math(
    start: Checkpoint, engine: LocalEngine
) -> None:
    problem = Problem("m", "math", (user("1+1?"),), Answer("2"), "test")
    found = run(engine, start, [problem] * 1, yes, mode="think", k=40, max_new_tokens=200)
    stopped = [s for s in found if s.finish == "stop"]
    assert stopped
    assert {s.signals.verdict.reason for s in stopped if s.signals.verdict} == {"no </think>"}


def test_what_cannot_be_judged_fails_the_evaluation_by_row(
    start: Checkpoint, engine: LocalEngine
) -> None:
    problems = comma_problems(20)
    with pytest.raises(EvaluationError, match=r"row \d+ \(p\d+\).*the disk is on fire"):
        run(engine, start, problems, broken, max_new_tokens=60)
