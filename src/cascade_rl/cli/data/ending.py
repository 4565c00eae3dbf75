"""How a data command ends: a line for each file written, or what to do after an interruption."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from cascade_rl.cli.common import duration

if TYPE_CHECKING:
    from cascade_rl.data.step import Step


def ending(step: Step) -> None:
    """Print what was kept, what was dropped and why, and where it is."""
    from cascade_rl.data.rows import rejects_path
    from cascade_rl.data.step import report_path

    report = step.report()
    print(f"{step.out}  {step.kept} rows kept, in {duration(report['seconds'])}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["dropped"].items())
    print(
        f"{rejects_path(step.out)}  {step.dropped.total()} dropped" + f": {reasons}" * bool(reasons)
    )
    print(report_path(step.out))


@contextmanager
def interrupted() -> Iterator[None]:
    """Ctrl-C ends in status 130 and a sentence; nothing is half written."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; nothing is written. Run the same command again.", file=sys.stderr)
        raise typer.Exit(130) from None
