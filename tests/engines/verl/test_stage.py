"""A job of verl on two logical GPUs, to the end: the weights, the handoff, and what is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cascade_rl.config import BenchmarkConfig
from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.verl.engine import VerlEngine
from cascade_rl.types import Checkpoint, Sample
from cascade_rl.verifiers import verify
from tests.engines.helpers import CHAT, LOCAL, Recording, comma_problems, job_of, rl_stage
from tests.engines.verl.helpers import AS_LOCALLY, VERL, apart, folders, of_verl

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]


BENCHMARK = EvaluationJob(
    BenchmarkConfig(name="commas", file="commas.jsonl", k=3, max_new_tokens=60, seed=4),
    comma_problems(6), verify, CHAT, LOCAL,
)  # fmt: skip


class NoEvaluator(LocalEngine):
    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        raise AssertionError("the stage's own job has answered this benchmark")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert of_verl() == set() and folders([os.getpid()]) == []


def params(workspace: Recording) -> dict[str, str]:
    return {e["when"]: e["digest"] for e in workspace.events if e["kind"] == "params"}


def test_a_stage_ends_with_the_weights_of_the_local_engine(
    start: Checkpoint, engine: LocalEngine, tmp_path: Path
) -> None:
    """Two ranks, masked completions, weighted groups, a warm-up, sampling from the same keys.

    The job answers a benchmark first and last, as the local engine would with those weights.
    """
    config = rl_stage(**AS_LOCALLY)
    problems = comma_problems(12)
    here, there = Recording(tmp_path / "local"), Recording(tmp_path / "verl")
    one = engine.train(job_of(start, config, problems), here)
    cluster = VerlEngine(NoEvaluator())
    asked = {"expects": lambda: [BENCHMARK], "expects_first": lambda: [BENCHMARK]}
    job = job_of(start, config, problems, verl=VERL, **asked)
    other = cluster.train(job, there)

    assert params(there) == {"start": start.weights_digest, "end": other.weights_digest}
    assert apart(start, one) > 1e-3 and apart(one, other) < 1e-5
    for name in ("reward/mean", "learning_rate", "truncation_ratio", "tokens"):
        assert there.metric(name) == pytest.approx(here.metric(name))
    for name in ("loss", "grad_norm", "entropy"):
        assert there.metric(name) == pytest.approx(here.metric(name), rel=1e-4)
    rows = [pq.read_table(w / "rollouts/step-000003.parquet").to_pylist()
            for w in (tmp_path / "local", tmp_path / "verl")]  # fmt: skip
    assert [r["completion"] for r in rows[0]] == [r["completion"] for r in rows[1]]
    assert [r["learns"] for r in rows[0]] == [r["learns"] for r in rows[1]]
    before = list(cluster.evaluate(start, BENCHMARK))
    samples = list(cluster.evaluate(other, BENCHMARK))
    assert before == list(engine.evaluate(start, BENCHMARK)) != samples
    assert samples == list(engine.evaluate(other, BENCHMARK))
    assert len(samples) == 6 * 4 and len({s.text for s in samples}) > 6
