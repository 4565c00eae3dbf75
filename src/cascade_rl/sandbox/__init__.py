"""Running a candidate's program apart from everything that knows the right answer.

`Program` and `Limits` in, `Outcome` out. Standard library only: the sandbox's own processes
import this package in an interpreter that has nothing else.
"""

from __future__ import annotations

from cascade_rl.sandbox.base import Limits, Outcome, Program, Sandbox

__all__ = ["Limits", "Outcome", "Program", "Sandbox"]
