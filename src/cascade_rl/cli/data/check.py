"""`cascade data check`: does every reference satisfy its own verifier?"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import duration, progress

if TYPE_CHECKING:
    from cascade_rl.data.check import Tally
    from cascade_rl.data.step import Step
    from cascade_rl.types import Row

SHOWN = 20
"""Rows with a fault that are printed; all of them are in the rejects of --out."""


def check(
    files: Annotated[list[Path], typer.Argument(help="row files of any kind")],
    out: Annotated[
        Path | None, typer.Option(help="where the rows that pass go, with rejects and a report")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="worker processes")] = 1,
) -> int:
    """Check every row: references against their own verifiers, prompts, turns, tool calls, pairs.

    Exit status 1 when any row fails.
    """
    from cascade_rl.data.check import Tally, faults
    from cascade_rl.data.step import Step
    from cascade_rl.rewards.pool import VerifierPool

    begun, tally, bad = time.monotonic(), Tally(), Counter[str]()
    step = Step("check", out, {}) if out is not None else None
    try:
        with step or contextlib.nullcontext(), VerifierPool(workers) as pool, progress(0) as report:
            for path in files:
                for row, fault in faults(_rows(path, step, bad), pool):
                    tally.add(row, fault)
                    if fault is not None:
                        _note(bad, fault.reason, f"{path}: {row.id}: {fault.detail}")
                    if step is not None and fault is not None:
                        step.drop(row, fault.reason, fault.detail)
                    elif step is not None:
                        step.keep(row)
                    report(tally.seen.total(), 0)
            if step is not None:
                step.details["checked"] = tally.as_dict()
    except KeyboardInterrupt:
        print("interrupted; nothing was written: run the same command again")
        return 130
    _say(tally, bad, out, time.monotonic() - begun)
    return 1 if bad else 0


def _rows(path: Path, step: Step | None, bad: Counter[str]) -> Iterator[Row]:
    """The readable rows of a file; the others are faults too."""
    from cascade_rl.data.rows import Reject, iter_rows
    from cascade_rl.data.step import UNREADABLE

    if step is not None:
        step.inputs.append(str(path))
    for row in iter_rows(path):
        if not isinstance(row, Reject):
            yield row
            continue
        _note(bad, UNREADABLE, f"{path}: row {row.index}: {row.reason}")
        if step is not None:
            step.refuse(row.row, UNREADABLE, row.reason)


def _note(bad: Counter[str], reason: str, said: str) -> None:
    bad[reason] += 1
    if bad.total() <= SHOWN:
        print(f"{reason}: {said}".replace("\n", " ")[:300])
    elif bad.total() == SHOWN + 1:
        print("... and more; --out keeps all of them with their reasons")


def _say(tally: Tally, bad: Counter[str], out: Path | None, seconds: float) -> None:
    for kind, counts in tally.as_dict().items():
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        print(f"{kind:22} {said}")
    faults = ", ".join(f"{count} {reason}" for reason, count in sorted(bad.items()))
    where = f"{out}  " if out is not None else ""
    kept = tally.seen.total() - tally.failed.total()
    print(f"{where}{kept} rows pass; {faults or 'none fails'}; {duration(seconds)}")
