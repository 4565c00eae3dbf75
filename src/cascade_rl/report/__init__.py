"""A run directory in, one HTML page out, which opens from disk without a network.

The page reads the directory through `store.Run` and says nothing that is not stored there.
"""

from __future__ import annotations

from pathlib import Path

from cascade_rl.report.page import page
from cascade_rl.store import Run
from cascade_rl.store.files import write_atomic

__all__ = ["render"]


def render(directory: Path) -> Path:
    """Write `report.html` into the run's directory and return its path.

    Raises OutputError where the directory is not a cascade's.
    """
    path = directory / "report.html"
    write_atomic(path, page(Run(directory)).encode("utf-8"))
    return path
