"""Mixtures: what is drawn how often (`mixture.py`), the drawing, and packing to length."""

from __future__ import annotations

from cascade_rl.data.mix.run import mix, packs_path

__all__ = ["mix", "packs_path"]
