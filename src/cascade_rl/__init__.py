"""Cascade RL: SFT, then reinforcement learning one domain after another.

The Python face is `CascadedRLTrainer(cascade_config=...).fit()`; reading order is in the README.
Names are imported when first used, so that `cascade --help` needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade_rl.config import (
        BenchmarkConfig,
        CascadeRLConfig,
        RewardModelStageConfig,
        SFTStageConfig,
        StageConfig,
        create_default_cascade_stages,
    )
    from cascade_rl.trainer import CascadedRLTrainer

__version__ = "0.1.0"

__all__ = [
    "BenchmarkConfig",
    "CascadeRLConfig",
    "CascadedRLTrainer",
    "RewardModelStageConfig",
    "SFTStageConfig",
    "StageConfig",
    "create_default_cascade_stages",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "trainer" if name == "CascadedRLTrainer" else "config"
    return getattr(import_module(f"{__name__}.{module}"), name)
