"""The local engine: a stage or an evaluation on this machine, on one warm team of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from cascade_rl.config import LocalConfig
from cascade_rl.engines.base import EvaluationJob, StageJob, Workspace
from cascade_rl.engines.judged import evaluate
from cascade_rl.engines.local.generate import LocalGenerator
from cascade_rl.engines.local.reward_model import train_reward_model
from cascade_rl.engines.local.rl import train_rl
from cascade_rl.engines.local.sft import train_sft
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import TrainingError
from cascade_rl.rewards import VerifierPool
from cascade_rl.types import Checkpoint, Sample

LOOPS: Mapping[str, Callable[[Team, StageJob, Workspace], Checkpoint]] = {
    "sft": train_sft,
    "reward_model": train_reward_model,
    "rl": train_rl,
}


@contextmanager
def said_where_memory_ends() -> Iterator[None]:
    """Raise TrainingError, with the ways out, where the GPU has no memory left."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the GPU's memory is full: {str(error).splitlines()[0]}",
            hint="sample fewer at once:  --set local.sample_batch=64\n"
            "learn from fewer tokens at once:  --set local.micro_batch_tokens=8192\n"
            "keep less of the blocks:  --set local.gradient_checkpointing=true",
        ) from error


class LocalEngine:
    """Implements `engines.base.Engine`. Processes start with the first job and stay warm."""

    def __init__(self) -> None:
        self._local: LocalConfig | None = None
        self._team: Team | None = None
        self._pool: VerifierPool | None = None

    def train(self, job: StageJob, workspace: Workspace) -> Checkpoint:
        """Train a stage to its end, from the workspace's last checkpoint if there is one."""
        with said_where_memory_ends():
            return LOOPS[job.config.kind](self._team_for(job.local), job, workspace)

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        """Greedy and k sampled answers to every problem, in (problem, sample) order."""
        generator = LocalGenerator(
            self._team_for(job.local),
            checkpoint,
            job.chat,
            job.benchmark.yarn_factor,
            what=f"benchmark {job.benchmark.name}",
        )
        with said_where_memory_ends():
            yield from evaluate(generator, self._pool_for(job.local), job)

    def close(self) -> None:
        """End the processes; they start again when the engine is used again."""
        if self._team is not None:
            self._team.close()
        if self._pool is not None:
            self._pool.close()
        self._team = self._pool = self._local = None

    def _team_for(self, local: LocalConfig) -> Team:
        if self._local != local:
            self.close()
            self._local = local
        self._team = self._team or Team(local)
        return self._team

    def _pool_for(self, local: LocalConfig) -> VerifierPool:
        """The pool of evaluations, which has no breaker: they try again and then fail."""
        self._pool = self._pool or VerifierPool(
            local.verifier_workers, local.verifier_deadline_s, breaker=1.0
        )
        return self._pool
