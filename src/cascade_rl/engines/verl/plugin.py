"""Imported by verl in every process of a job (`VERL_USE_EXTERNAL_MODULES`).

The rule: nothing heavy. The trainer and the sampler are imported where they run.
"""

from __future__ import annotations

import os

from cascade_rl.engines.verl import patches
from cascade_rl.engines.verl.parent import die_with_driver

if os.environ.get("VERL_PLATFORM") == "cpu":
    from cascade_rl.engines.verl import cpu_platform as cpu_platform

    patches.one_backend_for_a_device_that_is_the_cpu()

die_with_driver()
