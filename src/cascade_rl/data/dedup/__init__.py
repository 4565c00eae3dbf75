"""One row of each: by exact keys (`identity.py`) and by near duplicates (`near.py`)."""

from __future__ import annotations

from cascade_rl.data.dedup.run import Rules, dedup, subtract

__all__ = ["Rules", "dedup", "subtract"]
