"""Mini's model after its two SFT stages, the start of the tests that have to learn something."""

from __future__ import annotations

import os
from pathlib import Path

from cascade_rl import CascadedRLTrainer, CascadeRLConfig
from cascade_rl.plan import make_plan
from cascade_rl.presets.mini import mini

CACHE = "CASCADE_TEST_CACHE"


def warm_start() -> Path:
    """The model's directory; made by the local engine, in two minutes, where it is not there yet.

    It is kept in `~/.cache/cascade-rl/tests`, or the folder that `CASCADE_TEST_CACHE` names, under
    the key of its last stage: other code, rows or settings make another one.
    """
    config = warm_start_config()
    key = make_plan(config).stages[-1].key
    cache = Path(os.environ.get(CACHE, Path.home() / ".cache/cascade-rl/tests"))
    return CascadedRLTrainer(config, output=cache / f"mini-sft-{key[:12]}").fit().path


def warm_start_config() -> CascadeRLConfig:
    """Preset mini up to its second SFT stage."""
    config = mini()
    stages = [stage for stage in config.stages if stage.family == "sft"]
    return config.model_copy(update={"name": "mini-sft", "stages": tuple(stages), "benchmarks": ()})
