"""How often the stages of a published recipe save: values of ours, for no paper prints them.

One rule: what a killed job loses is counted in steps of RL, which take minutes each. SFT and reward
models have short steps and thousands of them, and keep the default.
"""

from __future__ import annotations

from collections.abc import Iterable

from cascade_rl.config import AnyStage, StageConfig

SHORT = 100
"""Steps of a stage that saves every 5, so that it saves at all long before its end."""


def saving(stages: Iterable[AnyStage]) -> tuple[AnyStage, ...]:
    """The stages, those of RL with a checkpoint every 5 or 10 steps."""
    return tuple(_saving(stage) if isinstance(stage, StageConfig) else stage for stage in stages)


def _saving(stage: StageConfig) -> StageConfig:
    every = 5 if stage.total_training_steps <= SHORT else 10
    return stage.model_copy(update={"save_every": every})
