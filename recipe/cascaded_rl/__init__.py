"""The founding recipe under its own names. Everything here is `cascade_rl`."""

from __future__ import annotations

from cascade_rl import (
    CascadedRLTrainer,
    CascadeRLConfig,
    StageConfig,
    create_default_cascade_stages,
)

__all__ = [
    "CascadeRLConfig",
    "CascadedRLTrainer",
    "StageConfig",
    "create_default_cascade_stages",
]
