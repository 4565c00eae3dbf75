"""An attack on any reward function, ours or another's: what fools, hangs, crashes or leaks.

    audit(Target("my_rewards:score"), load_cases("math")) -> Report

`cases/*.yaml` is the attack and equivalence corpus, documented case by case; `worker.py` is the
process that calls the function, with nothing but the standard library, under any interpreter;
`host.py` keeps it, measures it and cleans up after it. One rule: no payload may hurt the
machine it runs on unisolated, because most reward functions run it so.
"""

from __future__ import annotations

from cascade_rl.audit.corpus import Case, load_cases
from cascade_rl.audit.host import Target
from cascade_rl.audit.run import CaseResult, Report, audit

__all__ = ["Case", "CaseResult", "Report", "Target", "audit", "load_cases"]
