"""Does a stage beat its parent when each is sampled the way that suits it best?

A rise of the mean at temperature 1 can come from sharpening alone. So the parent's best setting
(greedy, a low temperature, temperature 1) and the child's are chosen on `val`, and the paired
interval is taken on `test`: choosing and measuring never share problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cascade_rl.evaluation.ledger import Table, tabulate
from cascade_rl.evaluation.metrics import Floats, Interval, paired_interval
from cascade_rl.types import Sample

Settings = Mapping[str, Sequence[Sample]]
"""Samples by setting, e.g. `{"T1": ..., "T0.6": ...}`; greedy answers among them make `greedy`."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model's samples on both splits."""

    val: Settings
    test: Settings


@dataclass(frozen=True, slots=True)
class Comparison:
    """The settings chosen on `val`, one a run, and the interval of child - parent on `test`."""

    child_settings: tuple[str, ...]
    parent_settings: tuple[str, ...]
    child: float
    parent: float
    interval: Interval

    @property
    def better(self) -> bool:
        """Whether the interval lies above 0."""
        return self.interval.low > 0.0


def compare(runs: Sequence[tuple[Model, Model]]) -> Comparison:
    """Child against parent, one (child, parent) pair a run, the run as unit when several."""
    chosen, rows = [], []
    for child, parent in runs:
        mine, theirs = best_setting(child.val), best_setting(parent.val)
        chosen.append((mine, theirs))
        rows.append((_scores(child.test)[mine], _scores(parent.test)[theirs]))
    child_RP, parent_RP = (np.stack(side) for side in zip(*rows, strict=True))
    return Comparison(
        child_settings=tuple(mine for mine, _ in chosen),
        parent_settings=tuple(theirs for _, theirs in chosen),
        child=float(child_RP.mean()),
        parent=float(parent_RP.mean()),
        interval=paired_interval(child_RP - parent_RP),
    )


def best_setting(settings: Settings) -> str:
    """The setting with the highest mean; the first named among equals."""
    scores = _scores(settings)
    return max(scores, key=lambda name: float(scores[name].mean()))


def _scores(settings: Settings) -> dict[str, Floats]:
    """Each setting's score per problem, problems sorted by id, and greedy's where it is there."""
    tables: dict[str, Table] = {name: tabulate(samples) for name, samples in settings.items()}
    scores = {name: table.mean_P for name, table in tables.items()}
    greedy = [t.greedy_P for t in tables.values() if t.greedy_P is not None]
    return scores | ({"greedy": greedy[0]} if greedy else {})
