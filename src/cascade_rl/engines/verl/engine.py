"""The cluster engine: each stage one job of verl, its results handed to the store as any other's.

The rule: this process imports neither verl nor Ray. It writes a folder, starts a command, follows
its events, moves complete checkpoints into the store, and believes nothing but what it measures:
a job that ends well without the weights it should have trained is an error.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade_rl.engines.base import Engine, EvaluationJob, StageJob, Workspace
from cascade_rl.engines.generate import Response
from cascade_rl.engines.judged import evaluate
from cascade_rl.engines.verl.checks import check_machine, check_rows, check_stage
from cascade_rl.engines.verl.cluster import refuse_unshared
from cascade_rl.engines.verl.job import MODEL, job_type, write_job
from cascade_rl.engines.verl.questions import (
    Answered,
    When,
    longest_answer,
    read_questions,
    read_responses,
    write_questions,
)
from cascade_rl.engines.verl.settings import command, environment
from cascade_rl.engines.verl.watch import Outcome, run
from cascade_rl.errors import CheckpointError, TrainingError
from cascade_rl.rewards import VerifierPool
from cascade_rl.types import Checkpoint, Sample, Verdict

log = logging.getLogger(__name__)


class VerlEngine:
    """Implements `engines.base.Engine`.

    A stage's job answers the benchmarks before it ends. `evaluator`, its owner's, samples those of
    every other model, and those that such a job cannot.
    """

    def __init__(self, evaluator: Engine) -> None:
        self._evaluator = evaluator
        self._answered: dict[tuple[str, str], Answered] = {}  # by weights and benchmark
        self._workers = 1

    def train(self, job: StageJob, workspace: Workspace) -> Checkpoint:
        """Train a stage to its end, from the workspace's last checkpoint if there is one."""
        self._workers = job.verl.verifier_workers
        check_stage(job.config, job.verl)
        check_machine(job.verl, scorers=len(job.inputs))
        check_rows(job)
        failures = 0
        while True:
            attempt = Attempt(job, workspace)
            outcome = attempt.run()
            if attempt.stopped:
                raise KeyboardInterrupt
            if attempt.digest is not None:
                checkpoint = attempt.hand_over()
                for one in attempt.answered():
                    self._answered[one.digest, one.questions.name] = one
                return checkpoint
            failures += 1
            attempt.refuse(outcome, again=failures <= job.verl.retries)

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        """Greedy and k sampled answers to every problem, in (problem, sample) order."""
        found = self._answered.pop((checkpoint.weights_digest, job.benchmark.name), None)
        if found is None or not found.answers(job):
            yield from self._evaluator.evaluate(checkpoint, job)
            return
        with VerifierPool(self._workers, job.local.verifier_deadline_s, breaker=1.0) as pool:
            yield from evaluate(found, pool, job)

    def close(self) -> None:
        """Nothing is left to end: a stage's processes end with it."""


class Attempt:
    """One job of a stage, from its last checkpoint on."""

    def __init__(self, job: StageJob, workspace: Workspace) -> None:
        self._job, self._workspace = job, workspace
        self._step, resume = workspace.latest() or (0, None)
        self._logged, self._complete = self._step, (0, Path())
        folder = workspace.scratch().resolve()
        asked: dict[When, Sequence[EvaluationJob]] = {"first": (), "last": ()}
        if job.config.kind == "rl":
            asked["last"] = job.expects()
            asked["first"] = job.expects_first() if resume is None else ()
        self._verl_job = job_type(job.config)(
            folder=folder,
            key=job.key,
            seed=job.seed,
            config=job.config,
            chat=job.chat,
            verl=job.verl,
            start=job.start.path.resolve(),
            resume=None if resume is None else _saved(resume, self._step).resolve(),
            blocks=dict(job.blocks),
            carry=_carried(job),
            inputs={role: model.path.resolve() for role, model in job.inputs.items()},
            longest_answer=longest_answer(one.benchmark for one in asked["last"]),
        )
        write_job(self._verl_job, job.rows, workspace.verdicts())
        write_questions(folder, asked)
        self._responses: dict[tuple[When, int], list[Response]] = {}
        workspace.rewind(self._step)
        self.digest: str | None = None
        self.stopped = self._ready = False
        self._error: Mapping[str, Any] | None = None

    def run(self) -> Outcome:
        """Run it, and take what it reports; an event says how long verl's processes lived."""
        job = self._verl_job
        if job.verl.ray_address is not None:
            refuse_unshared(job.verl.ray_address, [job.folder, job.start, *job.inputs.values()])
        outcome = run(job, command(job), environment(job), self._take, self._poll)
        seconds = round(outcome.seconds, 3)
        self._workspace.emit({"step": self._step, "kind": "job", "seconds": seconds})
        return outcome

    def _poll(self) -> None:
        if self._workspace.stopping():
            self._verl_job.stop.touch()

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, step = event["kind"], event["step"]
        if kind in ("train", "params", "alarm"):
            self._workspace.emit(event)
        elif kind == "checkpoint":
            self._complete = step, Path(event["path"])
        elif kind == "rollouts":
            path = Path(event["path"])
            self._workspace.rollouts(step, json.loads(path.read_text()))
            path.unlink()
        elif kind == "verdicts":
            self._record(event["found"])
        elif kind == "responses":
            self._responses[event["when"], event["place"]] = read_responses(Path(event["path"]))
        elif kind == "evaluate":
            self._evaluate(step, Path(event["path"]))
        elif kind == "error":
            self._error = event
        elif kind == "end":
            self.digest, self._step = event["digest"], step
        elif kind == "stopped":
            self.stopped = True
        elif kind == "ready":
            self._ready = True
        if kind == "train":
            self._logged = step
        if kind in ("train", "checkpoint"):
            self._adopt()

    def _adopt(self) -> None:
        """Move a checkpoint into the store once its step is in the log, which verl does last."""
        step, source = self._complete
        if 0 < step <= self._logged:
            self._workspace.save(step, lambda path: _move(source, path / source.name))
            self._complete = 0, source

    def _record(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        for key, verdict in found.items():
            if self._workspace.verdict(key) is None:
                self._workspace.record(key, Verdict(**verdict))

    def _evaluate(self, step: int, model: Path) -> None:
        """The benchmarks on the weights of a step, by the local engine; training goes on beside."""
        if self._job.evaluate is not None:
            self._write_beside(model)
            self._job.evaluate(step, model)
        shutil.rmtree(model)

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

    def answered(self) -> list[Answered]:
        """The benchmarks that the job answered."""
        assert self.digest is not None
        digests: dict[When, str] = {"first": self._job.start.weights_digest, "last": self.digest}
        folder, name = self._verl_job.folder, self._job.config.name
        return [
            Answered(name, digests[when], read_questions(folder, when)[place], responses)
            for (when, place), responses in self._responses.items()
        ]

    def _write_model(self, path: Path) -> None:
        for file in sorted((self._verl_job.folder / MODEL).iterdir()):
            _move(file, path / file.name)
        self._write_beside(path)

    def _write_beside(self, path: Path) -> None:
        from cascade_rl.engines.verl.model import write_beside_weights

        if self._job.config.kind != "reward_model":  # the learner wrote it whole, with its head
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


def _carried(job: StageJob) -> Path | None:
    """The checkpoint of verl's inside that of the family's stage before."""
    if job.carry is None or job.config.optimizer.state != "carry":
        return None
    found = sorted(job.carry.glob("global_step_*"))
    if not found:
        raise CheckpointError(
            f"stage {job.config.name}: {job.carry} was not saved by verl; it carries no state",
            hint=f"start it fresh:  --set {job.config.name}.optimizer.state=fresh",
        )
    return found[0].resolve()


def _move(source: Path, target: Path) -> None:
    shutil.move(source, target)
