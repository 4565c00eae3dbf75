"""Recipes by name: functions that return a whole config, each value with its source.

One rule: nothing is merged at run time. `cascade init NAME` prints the config to edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cascade_rl.config import CascadeRLConfig
from cascade_rl.presets.founding import founding_recipe

PRESETS: Mapping[str, Callable[[], CascadeRLConfig]] = {
    "founding-recipe": founding_recipe,
}
