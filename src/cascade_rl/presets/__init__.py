"""Recipes by name: functions that return a whole config, each value with its source.

One rule: nothing is merged at run time. `cascade init NAME` prints the config to edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cascade_rl.config import CascadeRLConfig
from cascade_rl.presets.acereason import acereason_7b, acereason_14b
from cascade_rl.presets.dolci import dolci_think
from cascade_rl.presets.founding import founding_recipe
from cascade_rl.presets.mini import mini, mini_conflict, mini_conflict_disjoint, mini_full
from cascade_rl.presets.nemotron_cascade import (
    nemotron_cascade_8b,
    nemotron_cascade_8b_thinking,
    nemotron_cascade_14b_thinking,
    nemotron_cascade_reward_model,
)

PRESETS: Mapping[str, Callable[[], CascadeRLConfig]] = {
    "mini": mini,
    "mini-full": mini_full,
    "mini-conflict": mini_conflict,
    "mini-conflict-disjoint": mini_conflict_disjoint,
    "founding-recipe": founding_recipe,
    "nemotron-cascade-8b": nemotron_cascade_8b,
    "nemotron-cascade-8b-thinking": nemotron_cascade_8b_thinking,
    "nemotron-cascade-14b-thinking": nemotron_cascade_14b_thinking,
    "nemotron-cascade-reward-model": nemotron_cascade_reward_model,
    "acereason-7b": acereason_7b,
    "acereason-14b": acereason_14b,
    "dolci-think": dolci_think,
}
