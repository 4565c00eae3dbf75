"""A whole engine small enough to reason about: weights are eight numbers, a step is arithmetic.

It obeys the Engine and Workspace contracts to the letter (resume, journal, export), so that the
store, the plan and the loop are tested in milliseconds and without torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from cascade_rl.config import BenchmarkConfig, CascadeRLConfig
from cascade_rl.configfile import parse_config
from cascade_rl.data.rows import write_rows
from cascade_rl.engines.base import EvaluationJob, StageJob, Workspace
from cascade_rl.types import Answer, Checkpoint, Message, Problem, Sample, Signals, right, wrong


class ArithmeticEngine:
    """Adds the learning rate to every weight, `total_training_steps` times.

    `probe` is called with a name before everything it does: raise there to crash it.
    """

    def __init__(self, probe: Callable[[str], None] = lambda name: None) -> None:
        self.probe = probe
        self.trained: list[str] = []

    def train(self, job: StageJob, workspace: Workspace) -> Checkpoint:
        resumed = workspace.latest()
        step, weights = 0, load_file(job.start.path / "model.safetensors")["w"]
        if resumed:
            step, folder = resumed
            weights = load_file(folder / "model.safetensors")["w"]
        else:
            self.trained.append(job.config.name)
        workspace.rewind(step)
        while step < job.config.total_training_steps:
            self.probe("step")
            step += 1
            weights = weights + np.float32(job.config.learning_rate) * (1 + job.seed)
            workspace.emit({"kind": "train", "step": step, "reward/mean": float(weights[0])})
            if step % job.config.save_every == 0:
                self.probe("save")
                workspace.save(step, lambda path, w=weights: self._write(path, w))
            if workspace.stopping():
                workspace.save(step, lambda path, w=weights: self._write(path, w))
                raise KeyboardInterrupt
        self.probe("export")
        checkpoint = workspace.export(step, lambda path: self._write(path, weights))
        self.probe("exported")
        return checkpoint

    def _write(self, path: Path, weights: np.ndarray[Any, Any]) -> None:
        save_file({"w": weights}, path / "model.safetensors")
        self.probe("written")
        (path / "config.json").write_text("{}")

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        value = load_file(checkpoint.path / "model.safetensors")["w"][0]
        for index, problem in enumerate(job.problems):
            for sample in range(-1, job.benchmark.k):
                self.probe("sample")
                good = (index + sample) % 10 < value * 10
                verdict = right("1") if good else wrong("too small")
                yield Sample(problem.id, sample, f"{value:.3f}", "stop", 1, Signals(verdict))

    def close(self) -> None:
        pass


def make_model(path: Path, value: float = 0.1) -> Path:
    path.mkdir(parents=True)
    save_file({"w": np.full(8, value, dtype=np.float32)}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}))
    return path


def make_rows(path: Path, count: int = 20, first: int = 0) -> Path:
    write_rows(
        path,
        [
            Problem(
                id=f"p{index}",
                domain="math",
                prompt=(Message("user", f"What is {index} + 1?"),),
                reference=Answer(str(index + 1)),
                source="test",
                extra={"index": index, "split": "train"},
            )
            for index in range(first, first + count)
        ],
    )
    return path


def make_config(folder: Path, *stages: dict[str, Any], **values: Any) -> CascadeRLConfig:
    """A config with a start model, two RL stages (or those given) and one benchmark."""
    if not (folder / "start").exists():
        make_model(folder / "start")
        make_rows(folder / "train.jsonl")
        make_rows(folder / "val.jsonl", first=100)
    base = {
        "domain": "math",
        "train_files": ["train.jsonl"],
        "total_training_steps": 6,
        "save_every": 2,
        "learning_rate": 0.01,
        "max_new_tokens": 64,
    }
    stages = stages or ({"name": "math_rl"}, {"name": "code_rl"})
    plain = {
        "model": "start",
        "stages": [{**base, **stage} for stage in stages],
        "benchmarks": [BenchmarkConfig(name="math", file="val.jsonl", k=4).model_dump()],
        **values,
    }
    return parse_config(plain, base=folder)
