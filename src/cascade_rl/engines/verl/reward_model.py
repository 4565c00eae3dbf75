"""`python -m cascade_rl.engines.verl.reward_model FOLDER` on each rank: Bradley-Terry under FSDP2.

The rule: verl has no trainer of reward models, so the local engine's learner runs, sharded over
the ranks of the job. Rank 0 has a workspace that reports to the driver, which feeds the store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade_rl.digests import weights_digest
from cascade_rl.engines.base import SCRATCH, StageJob
from cascade_rl.engines.local import sharded
from cascade_rl.engines.local.reward_model import train_reward_model
from cascade_rl.engines.local.workers import Team
from cascade_rl.engines.verl.job import (
    CHECKPOINTS,
    MODEL,
    AnyJob,
    all_rows,
    emit,
    one_rank,
    read_any_job,
)
from cascade_rl.engines.verl.parent import die_with_driver
from cascade_rl.errors import CascadeError
from cascade_rl.types import Checkpoint, Verdict


class JobWorkspace:
    """`engines.base.Workspace` in a job's folder."""

    def __init__(self, job: AnyJob) -> None:
        self._job = job
        self._step = 0
        self.digest = ""

    def latest(self) -> tuple[int, Path] | None:
        """The checkpoint that the driver gave."""
        if self._job.resume is None:
            return None
        return int(self._job.resume.name.removeprefix("global_step_")), self._job.resume

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Write a checkpoint and let the driver take it."""
        folder = self._job.folder / CHECKPOINTS / f"global_step_{step}"
        folder.mkdir(parents=True)
        write(folder)
        emit(self._job, step, "checkpoint", path=str(folder))

    def export(self, step: int, write: Callable[[Path], None]) -> Checkpoint:
        """Write the model's directory."""
        folder = self._job.folder / MODEL
        folder.mkdir()
        write(folder)
        return Checkpoint(self._job.key, step, folder, weights_digest(folder))

    def scratch(self) -> Path:
        """An empty directory in the job's own."""
        path = self._job.folder / SCRATCH
        path.mkdir()
        return path

    def rewind(self, step: int) -> None:
        """The driver has done it; training begins."""
        self._step = step
        emit(self._job, step, "ready")

    def emit(self, event: Mapping[str, Any]) -> None:
        """Report it."""
        values = dict(event)
        self._step, kind = values.pop("step"), values.pop("kind")
        if kind == "params":
            self.digest = values["digest"]
        emit(self._job, self._step, kind, **values)

    def rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """A reward model has none."""

    def verdict(self, key: str) -> Verdict | None:
        """Nothing is verified."""

    def verdicts(self) -> Mapping[str, Verdict]:
        """Nothing is verified."""
        return {}

    def record(self, key: str, verdict: Verdict) -> None:
        """Nothing is verified."""

    def stopping(self) -> bool:
        """Whether the driver asks to save and stop."""
        return self._job.stop.exists()


def stage_job(job: AnyJob) -> StageJob:
    """The job as the local engine takes it."""
    return StageJob(
        key=job.key,
        config=job.config,
        rows=all_rows(job, "pair"),
        start=Checkpoint("start", 0, job.start, ""),
        carry=job.carry,
        inputs={},
        seed=job.seed,
        chat=job.chat,
        local=one_rank(job.verl),
    )


def main() -> None:
    """A rank: the first trains, the others do what it asks."""
    die_with_driver()
    if sharded.rank():
        sharded.serve()
    job = read_any_job(sys.argv[1])
    workspace = JobWorkspace(job)
    try:
        done = train_reward_model(Team(one_rank(job.verl)), stage_job(job), workspace)
        emit(job, done.step, "end", digest=workspace.digest)
    except KeyboardInterrupt:
        emit(job, workspace._step, "stopped")
    except CascadeError as error:
        emit(job, workspace._step, "error", message=error.message, hint=error.hint, again=False)
        raise
    finally:
        sharded.end()
    sharded.leave(0)


if __name__ == "__main__":
    main()
