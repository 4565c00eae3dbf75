"""The local engine: a stage or an evaluation on this machine, on one warm team of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cascade_rl.config import LocalConfig
from cascade_rl.engines.base import EvaluationJob, StageJob, Workspace
from cascade_rl.engines.local.reward_model import train_reward_model
from cascade_rl.engines.local.rl import train_rl
from cascade_rl.engines.local.sft import train_sft
from cascade_rl.engines.local.workers import Team
from cascade_rl.types import Checkpoint, Sample

LOOPS: Mapping[str, Callable[[Team, StageJob, Workspace], Checkpoint]] = {
    "sft": train_sft,
    "reward_model": train_reward_model,
    "rl": train_rl,
}


class LocalEngine:
    """Implements `engines.base.Engine`. Processes start with the first job and stay warm."""

    def __init__(self) -> None:
        self._team: Team | None = None

    def train(self, job: StageJob, workspace: Workspace) -> Checkpoint:
        """Train a stage to its end, from the workspace's last checkpoint if there is one."""
        return LOOPS[job.config.kind](self._team_for(job.local), job, workspace)

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        """Greedy and k sampled answers to every problem, in (problem, sample) order."""
        raise NotImplementedError

    def close(self) -> None:
        """End the processes."""
        if self._team is not None:
            self._team.close()
            self._team = None

    def _team_for(self, local: LocalConfig) -> Team:
        if self._team is None or self._team.local != local:
            self.close()
            self._team = Team(local)
        return self._team
