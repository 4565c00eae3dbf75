"""What the three training loops share: start or resume, save, report, evaluate, stop, export.

The rule: everything a step depends on is in the checkpoint or is a function of the job and the
step, so a stage killed anywhere goes on to the same weights.
"""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade_rl.curriculum import VERSION as CURRICULUM_VERSION
from cascade_rl.engines.base import StageJob, Workspace
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.learner import Learner
from cascade_rl.engines.local.model import Head, device_of
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.room import refuse_what_does_not_fit
from cascade_rl.engines.local.sampler import row_key
from cascade_rl.engines.local.sharded import ShardedTraining, world
from cascade_rl.engines.local.training import FlatTraining, Training
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import CheckpointError
from cascade_rl.types import Checkpoint

State = dict[str, Any]


class Session:
    """A stage being trained. `state` is the loop's own, JSON, saved with every checkpoint.

    `carried` is the state of the family's previous stage where this one continues it.
    """

    def __init__(self, team: Team, job: StageJob, workspace: Workspace, head: Head) -> None:
        config = job.config
        self.team, self.job, self.workspace = team, job, workspace
        refuse_what_does_not_fit(
            job.start.path, device_of(job.local), config.optimizer, config.lora, world()
        )
        loading = Loading(job.start.path, job.chat, head, lora=config.lora, seed=job.seed)
        peak = config.learning_rate
        self.training: Training = (
            FlatTraining(team, loading, config.optimizer, peak)
            if world() == 1
            else ShardedTraining(loading, job.local, config.optimizer, peak)
        )
        self.model = self.training.model
        self.encoder = Encoder(self.model.tokenizer, job.chat)
        self.learner = Learner(self.training, config.optimizer, peak, config.total_training_steps)
        self.step = 0
        self.state: State = {}
        self.carried: State = {}
        self._save_seconds = 0.0
        self._saved_at = -1
        resumed = workspace.latest()
        if resumed is not None:
            self._resume(*resumed)
        elif job.carry is not None and config.optimizer.state == "carry":
            self.training.load_optimizer(job.carry / "optimizer.pt")
            self.carried = _read_state(job.carry)["loop"]
        workspace.rewind(self.step)
        if resumed is None:
            self._emit_params("start")

    def _resume(self, step: int, folder: Path) -> None:
        self.step = self._saved_at = step
        self.training.load_weights(folder / "model.safetensors")
        self.training.load_optimizer(folder / "optimizer.pt")
        saved = _read_state(folder)
        self.learner.skipped = saved["skipped"]
        self.state = saved["loop"]

    def steps(self) -> Iterator[int]:
        """The steps still to do, 1-based, until the stage's end or until `finished`."""
        while self.step < self.job.config.total_training_steps and not self.state.get("finished"):
            self.step += 1
            yield self.step

    def end_step(self, event: Mapping[str, Any]) -> None:
        """Report a finished step; evaluate and save where due; stop where asked."""
        config = self.job.config
        self.workspace.emit(
            {"step": self.step, "kind": "train", **event, "seconds/save": self._save_seconds}
        )
        self._save_seconds = 0.0
        if self.step % config.save_every == 0 or self.workspace.stopping():
            self._save()
        due = config.eval_every and self.step % config.eval_every == 0
        if self.job.evaluate is not None and due:
            self._evaluate(self.job.evaluate)
        if self.workspace.stopping():
            raise KeyboardInterrupt

    def finish(self) -> Checkpoint:
        """Save what a family's next stage carries, and export the model."""
        if self._saved_at != self.step:
            self._save()
        self._emit_params("end")
        checkpoint = self.workspace.export(self.step, self._write_model)
        self.training.forget()
        return checkpoint

    def _save(self) -> None:
        began = time.perf_counter()
        self.workspace.save(self.step, self._write)
        self._saved_at = self.step
        self._save_seconds = time.perf_counter() - began

    def _write(self, path: Path) -> None:
        self.training.save_weights(path / "model.safetensors")
        self.training.save_optimizer(path / "optimizer.pt")
        values = {
            "step": self.step,
            "skipped": self.learner.skipped,
            "curriculum_version": CURRICULUM_VERSION,
            "loop": self.state,
        }
        (path / "state.json").write_text(json.dumps(values), encoding="utf-8")

    def _write_model(self, path: Path) -> None:
        self.training.export(self.job.chat, path)

    def _evaluate(self, evaluate: Callable[[int, Path], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="cascade-") as folder:
            self._write_model(Path(folder))
            evaluate(self.step, Path(folder))

    def _emit_params(self, when: str) -> None:
        digest = self.training.digest()
        self.workspace.emit({"step": self.step, "kind": "params", "when": when, "digest": digest})


def _read_state(folder: Path) -> State:
    try:
        found: State = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / 'state.json'} is missing or torn: {error}") from None
    return found


def epoch_rows(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Indices of the 1-based step's batch in keyed-shuffled epochs: a function of the step."""
    found: list[int] = []
    for place in range((step - 1) * batch, step * batch):
        epoch, position = divmod(place, count)
        found.append(_epoch_order(count, epoch, seed)[position])
    return found


@functools.lru_cache(maxsize=2)
def _epoch_order(count: int, epoch: int, seed: int) -> list[int]:
    return sorted(range(count), key=lambda i: row_key(seed, "epoch", epoch, i))
