"""Entries measured to the end by a generator of known answers, through worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cascade_rl.config import ChatConfig, LocalConfig
from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.generate import Prompt, Response, Sampling
from cascade_rl.engines.judged import evaluate
from cascade_rl.evaluation.benchmarks import verifier_of
from cascade_rl.evaluation.suite import SUITE
from cascade_rl.rewards import VerifierPool
from tests.evaluation.suite.published import RIGHT, place

ANSWERS = {**RIGHT, "bfcl": "[area(base=10, height=5)]"}
QUICK = ("aime25", "mmlu", "mmlu_pro", "ifeval", "bfcl")


class Known:
    """Every second answer is the right one; in think mode after a thought, if it has one."""

    name = digest = "known"

    def __init__(self, answer: str, thought: str) -> None:
        self.answer, self.thought = answer, thought

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        for index, prompt in enumerate(prompts):
            for sample in prompt.samples:
                text = "I, sadly, do not know." if sample % 2 else self.answer
                thought = self.thought if prompt.mode == "think" else ""
                yield Response(index, sample, thought + text, "stop", len(text))


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(1) as found:
        yield found


def scores(name: str, folder: Path, pool: VerifierPool, thought: str) -> list[float | None]:
    entry, file = SUITE[name], place(name, folder)
    benchmark = entry.benchmark(file)
    benchmark = benchmark.model_copy(update={"k": min(benchmark.k, 4) if benchmark.k > 1 else 2})
    job = EvaluationJob(
        benchmark, entry.read(file), verifier_of(benchmark), ChatConfig(), LocalConfig()
    )
    found = list(evaluate(Known(ANSWERS[name], thought), pool, job))
    return [s.signals.verdict.score for s in found if s.signals.verdict]


@pytest.mark.parametrize("name", QUICK)
def test_the_known_score_comes_out(name: str, tmp_path: Path, pool: VerifierPool) -> None:
    found = scores(name, tmp_path, pool, "<think>Let me see.</think>")
    assert found == [1.0, 0.0] * (len(found) // 2) and found


@pytest.mark.parametrize("name", ["aime25", "mmlu", "bfcl"])
def test_an_answer_inside_a_thought_that_does_not_end_is_wrong(
    name: str, tmp_path: Path, pool: VerifierPool
) -> None:
    """A template that opens the thought itself leaves no tag in the text to know it by."""
    assert set(scores(name, tmp_path, pool, "")) == {0.0}
