"""`cascade report DIR`: the run as one HTML page that opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[Path, typer.Argument(help="directory of a run")],
) -> None:
    """Write DIR/report.html and print its path."""
    from cascade_rl.report import render

    print(render(directory))
