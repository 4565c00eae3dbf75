"""A process that is gone when the one that started it is, however that ended."""

from __future__ import annotations

import ctypes
import os
import signal

from cascade_rl.engines.verl import PARENT

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Be killed when the process that started this one ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def die_with_driver() -> None:
    """The same, where the environment names that process as the job's driver."""
    if os.environ.get(PARENT) == str(os.getppid()):
        die_with_parent()
