"""What row files hold: counted (`counts.py`), and as a page with histograms (`page.py`)."""

from __future__ import annotations

from cascade_rl.data.stats.counts import RATE_NAMES, Stats, collect, rate_bin, summary

__all__ = ["RATE_NAMES", "Stats", "collect", "rate_bin", "summary"]
