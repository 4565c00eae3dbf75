"""The build graph as data: a plan is stages with keys, edges and row digests, nothing more.

One rule: a stage's key covers everything that can change its weights, so two stages with one
key are the same stage and the second is never trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from cascade_rl.config import AnyStage, CascadeRLConfig

StageRole = Literal["policy", "reward_model", "judge"]


def directory_name(name: str, key: str) -> str:
    """A stage's directory under `stages/`: `/` is `.` on disk, then 12 digits of the key."""
    return f"{name.replace('/', '.')}-{key[:12]}"


@dataclass(frozen=True, slots=True)
class StartModel:
    """The model that the first stage starts from; `source` is a path, hub name or `mini:model`."""

    key: str
    source: str
    data_seed: int

    name = "start"
    role: ClassVar[StageRole] = "policy"

    @property
    def directory(self) -> str:
        """Directory under `stages/` that holds its evaluations."""
        return directory_name(self.name, self.key)


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage: its config, where its weights start (`parent`), and what else it reads."""

    name: str
    key: str
    config: AnyStage
    engine: Literal["local", "verl"]
    seed: int
    parent: str  # key of a stage or of the start model
    inputs: Mapping[str, str]  # role -> key
    carries: bool  # optimizer and curriculum state come from the parent
    rows_digest: str

    @property
    def directory(self) -> str:
        """Directory under `stages/`."""
        return directory_name(self.name, self.key)

    @property
    def role(self) -> StageRole:
        """What the stage's weights are for."""
        return self.config.role


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in the order they run. `skipped` were rolled back by a gate."""

    config: CascadeRLConfig
    digest: str
    start: StartModel
    stages: tuple[PlannedStage, ...]
    skipped: tuple[PlannedStage, ...] = ()

    def by_key(self, key: str) -> PlannedStage | StartModel:
        """The stage, or the start model, of that key."""
        if key == self.start.key:
            return self.start
        return next(s for s in self.stages if s.key == key)

    def policies(self) -> list[PlannedStage]:
        """The stages that are evaluated, in order."""
        return [s for s in self.stages if s.role == "policy"]

    def dependents(self, names: set[str]) -> list[PlannedStage]:
        """The named stages and everything that starts from or reads one of them, in order."""
        keys: set[str] = set()
        found = []
        for stage in self.stages:
            if stage.name in names or stage.parent in keys or keys & set(stage.inputs.values()):
                keys.add(stage.key)
                found.append(stage)
        return found
