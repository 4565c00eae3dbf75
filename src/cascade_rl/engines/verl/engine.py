"""The cluster engine: each stage one job of verl, its results handed to the store as any other's.

The rule: this process imports neither verl nor Ray. It writes a folder, starts a command, follows
its events, moves complete checkpoints into the store, and believes nothing but what it measures:
a job that ends well without the weights it should have trained is an error.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade_rl.config import StageConfig
from cascade_rl.engines.base import EvaluationJob, StageJob, Workspace
from cascade_rl.engines.verl.checks import check_machine, check_rows, check_stage
from cascade_rl.engines.verl.job import MODEL, Job, write_job
from cascade_rl.engines.verl.settings import command, environment
from cascade_rl.engines.verl.watch import Outcome, run
from cascade_rl.errors import TrainingError
from cascade_rl.types import Checkpoint, Problem, Sample

log = logging.getLogger(__name__)


class VerlEngine:
    """Implements `engines.base.Engine`; models are evaluated by the local engine."""

    def __init__(self) -> None:
        self._local: Any = None

    def train(self, job: StageJob, workspace: Workspace) -> Checkpoint:
        """Train a stage to its end, from the workspace's last checkpoint if there is one."""
        check_stage(job.config, job.verl, carries=job.carry is not None)
        check_machine(job.verl)
        problems = [row for row in job.rows if isinstance(row, Problem)]
        check_rows(job, problems)
        config = job.config
        assert isinstance(config, StageConfig)
        failures = 0
        while True:
            attempt = Attempt(job, config, workspace, problems)
            outcome = attempt.run()
            if attempt.stopped:
                raise KeyboardInterrupt
            if attempt.digest is not None:
                return attempt.hand_over()
            failures += 1
            attempt.refuse(outcome, again=failures <= job.verl.retries)

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        """Greedy and k sampled answers to every problem, in (problem, sample) order."""
        from cascade_rl.engines.local.engine import LocalEngine

        self._local = self._local or LocalEngine()
        yield from self._local.evaluate(checkpoint, job)

    def close(self) -> None:
        """End the processes that evaluate; a stage's own end with it."""
        if self._local is not None:
            self._local.close()
            self._local = None


class Attempt:
    """One job of a stage, from its last checkpoint on."""

    def __init__(
        self, job: StageJob, config: StageConfig, workspace: Workspace, problems: list[Problem]
    ) -> None:
        self._job, self._workspace = job, workspace
        self._step, resume = workspace.latest() or (0, None)
        folder = workspace.scratch().resolve()
        self._verl_job = Job(
            folder=folder,
            key=job.key,
            seed=job.seed,
            config=config,
            chat=job.chat,
            verl=job.verl,
            start=job.start.path.resolve(),
            resume=None if resume is None else _saved(resume, self._step).resolve(),
            blocks=dict(job.blocks),
        )
        write_job(self._verl_job, problems)
        workspace.rewind(self._step)
        self.digest: str | None = None
        self.stopped = self._ready = False
        self._error: Mapping[str, Any] | None = None

    def run(self) -> Outcome:
        """Run it, and take what it reports."""
        job = self._verl_job
        return run(job, command(job), environment(job), self._take, self._poll)

    def _poll(self) -> None:
        if self._workspace.stopping():
            self._verl_job.stop.touch()

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, step = event["kind"], event["step"]
        if kind in ("train", "params", "alarm"):
            self._workspace.emit(event)
        elif kind == "checkpoint":
            source = Path(event["path"])
            self._workspace.save(step, lambda path: _move(source, path / source.name))
        elif kind == "rollouts":
            path = Path(event["path"])
            self._workspace.rollouts(step, json.loads(path.read_text()))
            path.unlink()
        elif kind == "error":
            self._error = event
        elif kind == "end":
            self.digest, self._step = event["digest"], step
        elif kind == "stopped":
            self.stopped = True
        elif kind == "ready":
            self._ready = True

    def hand_over(self) -> Checkpoint:
        """The master weights as the stage's model directory, proven by their digest."""
        checkpoint = self._workspace.export(self._step, self._write_model)
        if checkpoint.weights_digest != self.digest:
            raise TrainingError(
                f"the weights that verl wrote have digest {checkpoint.weights_digest[:12]}, the "
                f"ones that it trained {str(self.digest)[:12]}",
                hint="is the disk sound? Run the same command again",
            )
        return checkpoint

    def _write_model(self, path: Path) -> None:
        from cascade_rl.engines.verl.model import write_beside_weights

        for file in sorted((self._verl_job.folder / MODEL).iterdir()):
            _move(file, path / file.name)
        write_beside_weights(self._verl_job.start, self._job.chat, path)

    def refuse(self, outcome: Outcome, *, again: bool) -> None:
        """Raise for a failure that another attempt would meet again, or the last one allowed."""
        job = self._verl_job
        error = self._error
        if error is not None and not (error["again"] and again):
            raise TrainingError(error["message"], hint=error["hint"])
        why = outcome.why or "verl ended well but trained nothing to hand over"
        why = why if error is None else error["message"]
        name = job.config.name
        if self._ready and again:
            log.warning("stage %s: %s; it goes on from its last checkpoint\n%s", name, why,
                        outcome.tail)  # fmt: skip
            self._workspace.emit({"step": self._step, "kind": "alarm", "message": why})
            return
        log_file = job.folder / job.log.name
        raise TrainingError(
            f"stage {name}: {why}\n{outcome.tail}",
            hint=f"the whole log is {log_file}; the same command goes on from the last checkpoint",
        )


def _saved(checkpoint: Path, step: int) -> Path:
    """Verl's own directory inside one of the store's checkpoints; verl reads its name."""
    return checkpoint / f"global_step_{step}"


def _move(source: Path, target: Path) -> None:
    shutil.move(source, target)
