"""The seam between the cascade and whatever trains: a stage job in, a checkpoint out.

One rule: an engine touches the disk only through its `Workspace`, which is how any engine is
resumable, journaled and atomically committed without knowing how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cascade_rl.config import AnyStage, BenchmarkConfig, ChatConfig, LocalConfig, VerlConfig
from cascade_rl.types import Checkpoint, Problem, Row, Sample, Verdict, Verifier

VERSION = "3"
"""Part of every stage's key. Raise it when the local engine would give other numbers."""

VERL_VERSION = "1"
"""The same for the cluster engine."""

SCRATCH = "scratch.tmp"
"""The directory of `Workspace.scratch`, in the stage's own."""

Evaluate = Callable[[int, Path], None]
"""Called with (step, model directory) every `eval_every` steps; the results are stored."""


@dataclass(frozen=True, slots=True)
class StageJob:
    """Everything that can change the weights a stage ends with."""

    key: str
    config: AnyStage
    rows: Sequence[Row]
    start: Checkpoint
    carry: Path | None  # last training checkpoint of the parent, when the family carries state
    inputs: Mapping[str, Checkpoint]  # "reward_model", "judge"
    seed: int
    chat: ChatConfig
    local: LocalConfig
    evaluate: Evaluate | None = None
    verl: VerlConfig = field(default_factory=VerlConfig)
    blocks: Mapping[str, Any] = field(default_factory=dict)  # verl's own settings, dotted
    expects: Callable[[], Sequence[EvaluationJob]] = tuple
    """The benchmarks that will be asked of the model it ends with, for an engine that answers them
    while it has the weights; `expects_first` are those of the model it starts from."""
    expects_first: Callable[[], Sequence[EvaluationJob]] = tuple


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """One benchmark on one model under its protocol."""

    benchmark: BenchmarkConfig
    problems: Sequence[Problem]
    verifier: Verifier
    chat: ChatConfig
    local: LocalConfig


class Workspace(Protocol):
    """The only way an engine saves, resumes, journals and reports."""

    def latest(self) -> tuple[int, Path] | None:
        """The last complete training checkpoint as (step, directory)."""

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Write a training checkpoint atomically; older ones are removed after the rename."""

    def export(self, step: int, write: Callable[[Path], None]) -> Checkpoint:
        """Write the stage's final Hugging Face model directory atomically, and digest it."""

    def scratch(self) -> Path:
        """An empty directory for an engine's own processes; its checkpoints may be moved away."""

    def rewind(self, step: int) -> None:
        """Drop events and rollouts of steps after `step`; called once when training starts."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Append one line to the event log and show it. Holds `step` and metric values."""

    def rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store every prompt, completion, signal, reward and advantage of a step."""

    def verdict(self, key: str) -> Verdict | None:
        """A verdict journaled earlier under (verifier version, problem, completion digest)."""

    def verdicts(self) -> Mapping[str, Verdict]:
        """All of them, by key."""

    def record(self, key: str, verdict: Verdict) -> None:
        """Journal a verdict; `infra` is never journaled."""

    def stopping(self) -> bool:
        """Whether an interrupt asked the engine to save and stop after this step."""


class Engine(Protocol):
    """Trains a stage, and samples a benchmark from a finished model."""

    def train(self, job: StageJob, workspace: Workspace) -> Checkpoint:
        """Train to the end of the stage, from the workspace's last checkpoint if there is one.

        Raises KeyboardInterrupt after saving when `workspace.stopping()`.
        """

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        """Greedy and k sampled answers to every problem, scored, in (problem, sample) order."""

    def close(self) -> None:
        """End worker processes; the engine starts them again when it is used again."""
