"""Problems that a model never solved before and solves after: "0 of 64", without luck.

The rule: what was chosen by one set of samples is measured on another. A problem that a parent
solves once in a hundred tries is often 0 of 64, and then often solved by its child with nothing
learned; on fresh samples of both, such a problem is solved by both alike (AceReason-Nemotron,
section 4: problems that RL unlocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade_rl.evaluation.metrics import Floats, Interval, paired_interval


@dataclass(frozen=True, slots=True)
class NewlySolved:
    """Places of problems, and rates on fresh samples of those that were chosen.

    `candidates`: none of the first samples before was right, some of those after was.
    `confirmed`: on fresh samples again none before, and some after. `change` is after less before
    on the fresh samples of the candidates, with its interval over them; None where there are none.
    """

    candidates: tuple[int, ...]
    confirmed: tuple[int, ...]
    before: float
    after: float
    change: Interval | None


def newly_solved(
    before_PK: Floats, after_PK: Floats, fresh_before_PK: Floats, fresh_after_PK: Floats
) -> NewlySolved:
    """Scores of 0 and 1 of parent and child on the same problems; K may differ.

    The fresh samples have keys of their own (another seed).
    """
    never_P = ~(before_PK > 0).any(axis=1)
    now_P = (after_PK > 0).any(axis=1)
    chosen_P = never_P & now_P
    again_P = ~(fresh_before_PK > 0).any(axis=1) & (fresh_after_PK > 0).any(axis=1)
    candidates = np.flatnonzero(chosen_P)
    before_C = fresh_before_PK[candidates].mean(axis=1)
    after_C = fresh_after_PK[candidates].mean(axis=1)
    return NewlySolved(
        candidates=tuple(map(int, candidates)),
        confirmed=tuple(map(int, np.flatnonzero(chosen_P & again_P))),
        before=float(before_C.mean()) if len(candidates) else 0.0,
        after=float(after_C.mean()) if len(candidates) else 0.0,
        change=paired_interval(after_C - before_C) if len(candidates) else None,
    )
