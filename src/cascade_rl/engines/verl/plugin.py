"""Imported by verl in every process of a job (`VERL_USE_EXTERNAL_MODULES`).

The rule: nothing heavy. The trainer and the sampler are imported where they run.
"""

from __future__ import annotations

import ctypes
import os
import signal

from cascade_rl.engines.verl import patches

PARENT = "CASCADE_VERL_PARENT"
"""The driver's process id, for the one process that it starts."""
_PR_SET_PDEATHSIG = 1

if os.environ.get("VERL_PLATFORM") == "cpu":
    from cascade_rl.engines.verl import cpu_platform as cpu_platform

    patches.one_backend_for_a_device_that_is_the_cpu()

if os.environ.get(PARENT) == str(os.getppid()):  # a driver that is killed takes its job along
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
