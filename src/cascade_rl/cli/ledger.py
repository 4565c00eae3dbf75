"""`cascade ledger DIR...`: what every stage gained and forgot, of one run or pooled over several.

Several directories are runs of one configuration that differ in their seed: the run is the unit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from cascade_rl.cli.common import console

if TYPE_CHECKING:
    from cascade_rl.evaluation.ledger import Ledger, Score
    from cascade_rl.store import Run

FLAGGED_DROP = 0.1
"""A benchmark whose interval lies wholly this far under its best is flagged."""
CELL_WIDTH = 23
"""Columns of the terminal for one benchmark; what does not fit goes to a table below."""


def ledger(
    directories: Annotated[list[Path], typer.Argument(help="directories of runs")],
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
    test: Annotated[
        bool, typer.Option("--test", help="the test split, where `cascade eval` looked at it")
    ] = False,
    max_drop: Annotated[
        float | None, typer.Option(help="exit 1 where a benchmark fell further under its best")
    ] = None,
) -> int:
    """Show the stage-by-benchmark matrix: mean, greedy, change from the parent, what was lost."""
    from cascade_rl.evaluation.ledger import forgotten, pool
    from cascade_rl.store import Run

    split: Literal["val", "test"] = "test" if test else "val"
    found = pool([Run(directory).scores(split) for directory in directories])
    if as_json:
        print(json.dumps(found))
    else:
        show(found, console())
    return 1 if max_drop is not None and forgotten(found, max_drop) else 0


def print_ledger(run: Run, screen: Console) -> None:
    """The `val` ledger of one run."""
    from cascade_rl.evaluation.ledger import build_ledger

    show(build_ledger(run.scores()), screen)


def show(found: Ledger, screen: Console) -> None:
    """The matrix as a table, then a line for every benchmark that was forgotten."""
    from cascade_rl.evaluation.ledger import forgotten

    lost = forgotten(found, FLAGGED_DROP)
    benchmarks = list(dict.fromkeys(b for row in found["stages"] for b in row["scores"]))
    if not benchmarks:
        screen.print("nothing was evaluated here yet")
        return
    names = max(len(row["name"]) for row in found["stages"])
    fitting = max(1, (screen.width - names) // CELL_WIDTH)
    for first in range(0, len(benchmarks), fitting):
        screen.print(_table(found, benchmarks[first : first + fitting]))
    some = next(score for row in found["stages"] for score in row["scores"].values())
    screen.print(
        f"mean of {some['k']} samples (greedy), over {some['n']} problems; under it the change "
        "from the parent with its 95 % interval",
        style="dim",
    )
    for drop in lost:
        screen.print(f"forgotten: {drop}", markup=False, style="bold red")


def _table(found: Ledger, benchmarks: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("after")
    for benchmark in benchmarks:
        table.add_column(benchmark, no_wrap=True)
    for row in found["stages"]:
        table.add_row(row["name"], *(_cell(row["scores"].get(b)) for b in benchmarks))
    return table


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    greedy = "" if score["greedy"] is None else f" ({_short(score['greedy'])})"
    spread = "" if score["deviation"] is None else f" ± {_short(score['deviation'])}"
    lines = f"[bold]{_short(score['mean'])}[/bold]{spread}{greedy}"
    change, low, high = score["change"], score["low"], score["high"]
    if change is None or low is None or high is None:
        return lines
    style = "green" if low > 0 else "red" if high < 0 else "dim"
    interval = f"\\[{_short(low, sign=True)}, {_short(high, sign=True)}]"
    return f"{lines}\n[{style}]{_short(change, sign=True)} {interval}[/{style}]"


def _short(value: float, *, sign: bool = False) -> str:
    """Two decimals without the leading zero: .62, 1.00, +.07."""
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text
