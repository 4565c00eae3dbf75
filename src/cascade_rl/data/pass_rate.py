"""The share of attempts at a problem that were right, as a row's `extra_info` records it.

Two forms are read: ours, `pass_rate: {"correct": c, "total": n, "model": name}`, which `cascade
data passrate` writes, and that of Dolci-Think-RL, `passrate` with `total_correct_rollouts` and
`total_rollouts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

RATES = ("pass_rate", "pass_rates")
"""What `cascade data passrate` stores: {"correct", "total", "model"}, and a list of older ones."""


@dataclass(frozen=True, slots=True)
class PassRate:
    """A share of attempts that were right; `total` is 0 where only the share was recorded."""

    share: Fraction
    total: int = 0
    model: str = ""

    def __str__(self) -> str:
        """`12 of 16`, or the share."""
        return f"{self.share * self.total} of {self.total}" if self.total else f"{self.share}"


def pass_rates(extra: Mapping[str, Any]) -> list[PassRate]:
    """Every readable rate in a row's extra_info, the latest first and those published last.

    Dolci's columns are `passrate`, and `total_correct_rollouts` of `total_rollouts`.
    """
    found: list[PassRate | None] = []
    for key in RATES:
        values = extra.get(key)
        values = values if isinstance(values, list) else [values]
        found += [_rate(value) for value in reversed(values)]
    total, correct = extra.get("total_rollouts"), extra.get("total_correct_rollouts")
    published = _counted(correct, total, "") or _share(extra.get("passrate"))
    return [rate for rate in (*found, published) if rate is not None]


def _rate(value: Any) -> PassRate | None:
    if isinstance(value, Mapping):
        model = str(value.get("model") or "")
        return _counted(value.get("correct"), value.get("total"), model)
    return _share(value)


def _counted(correct: Any, total: Any, model: str) -> PassRate | None:
    """Counts may come as 3 or as 3.0, which Parquet makes of a column with gaps."""
    if not all(isinstance(n, int | float) and float(n).is_integer() for n in (correct, total)):
        return None
    if not 0 <= correct <= total or total == 0:
        return None
    return PassRate(Fraction(int(correct), int(total)), int(total), model)


def _share(value: Any) -> PassRate | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return PassRate(Fraction(value).limit_denominator(1024))
