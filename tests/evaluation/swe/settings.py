"""The settings with which the small repositories are repaired in the tests."""

from __future__ import annotations

from cascade_rl.evaluation.swe.settings import Settings

SETTINGS = Settings(prompt_tokens=4000, tests=3)
