"""The share of attempts at a problem that were right, as a row's `extra_info` records it.

Two forms are read: ours, `pass_rate: {"correct": c, "total": n}`, which `cascade data passrate`
writes, and that of Dolci-Think-RL, `passrate` with `total_correct_rollouts` and `total_rollouts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def recorded_pass_rate(extra: Mapping[str, Any]) -> float | None:
    """In [0, 1]; None where nothing usable is recorded."""
    ours = extra.get("pass_rate")
    if isinstance(ours, Mapping):
        return _share(ours.get("correct"), ours.get("total"))
    counted = _share(extra.get("total_correct_rollouts"), extra.get("total_rollouts"))
    if counted is not None:
        return counted
    share = extra.get("passrate", ours)
    return float(share) if _number(share) and 0 <= share <= 1 else None


def _share(correct: Any, total: Any) -> float | None:
    if not (_number(correct) and _number(total) and 0 <= correct <= total and total > 0):
        return None
    return float(correct / total)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
