"""Recipes by name: functions that return a whole config, each value with its source.

One rule: nothing is merged at run time. `cascade init NAME` prints the config to edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cascade_rl.config import CascadeRLConfig
from cascade_rl.presets.founding import founding_recipe
from cascade_rl.presets.mini import mini, mini_conflict, mini_conflict_disjoint, mini_full

PRESETS: Mapping[str, Callable[[], CascadeRLConfig]] = {
    "mini": mini,
    "mini-full": mini_full,
    "mini-conflict": mini_conflict,
    "mini-conflict-disjoint": mini_conflict_disjoint,
    "founding-recipe": founding_recipe,
}
