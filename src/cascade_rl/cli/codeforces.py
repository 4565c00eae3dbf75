"""`cascade codeforces`: the rating that an evaluation's answers reach in Codeforces contests.

It samples nothing: `cascade eval` answers the problems, this command ranks what it wrote.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_rl.cli.common import console

if TYPE_CHECKING:
    from cascade_rl.evaluation.codeforces.rating import RatingOptions
    from cascade_rl.evaluation.codeforces.summary import ContestRating, Summary

MARKS = {"top": "^", "bottom": "v", None: ""}


class TiesOption(StrEnum):
    """Where somebody ranks who has a human's very result."""

    BEHIND = "behind"
    AHEAD = "ahead"


def codeforces(
    contests: Annotated[Path, typer.Argument(help="a directory of contests, or one contest")],
    samples: Annotated[list[Path], typer.Argument(help="evaluations, as JSON lines")],
    attempts: Annotated[
        int | None, typer.Option(min=1, help="attempts a problem has to have; 8 in the papers")
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="ratings of all users, for the percentile")
    ] = None,
    cap: Annotated[int, typer.Option(min=0, help="over the best human's rating")] = 100,
    no_cap: Annotated[bool, typer.Option("--no-cap", help="let performances go on")] = False,
    plus_one: Annotated[
        bool, typer.Option("--plus-one", help="add 1 to the expected rank, as CodeElo")
    ] = False,
    first_rank: Annotated[
        int, typer.Option(min=0, max=1, help="the rank of the first; CodeElo's is 0")
    ] = 1,
    ties: Annotated[TiesOption, typer.Option(help="of equal results")] = TiesOption.BEHIND,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="problems without attempts are not solved")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
) -> int:
    """Rank an evaluation among the humans of contests: rating, interval, percentile."""
    from cascade_rl.evaluation.codeforces.attempts import read_attempts
    from cascade_rl.evaluation.codeforces.files import read_contests
    from cascade_rl.evaluation.codeforces.percentile import read_population
    from cascade_rl.evaluation.codeforces.rating import RatingOptions
    from cascade_rl.evaluation.codeforces.summary import summarize

    options = RatingOptions(
        cap=None if no_cap else cap,
        plus_one=plus_one,
        first_rank=1 if first_rank else 0,
        ties="ahead" if ties is TiesOption.AHEAD else "behind",
    )
    summary = summarize(
        read_contests(contests),
        read_attempts(samples, attempts),
        options,
        population=read_population(ratings) if ratings else None,
        allow_missing=allow_missing,
    )
    if as_json:
        print(json.dumps(to_json(summary, options)))
    else:
        _show(summary, options)
    return 0


def to_json(summary: Summary, options: RatingOptions) -> dict[str, Any]:
    """The summary as plain values, with the options it was made under."""
    return {
        "rating": summary.rating,
        "low": summary.low,
        "high": summary.high,
        "percentile": summary.percentile,
        "population": summary.population,
        "attempts": summary.attempts,
        "unused_problems": summary.unused,
        "options": asdict(options),
        "contests": [_contest_json(row) for row in summary.contests],
    }


def _contest_json(row: ContestRating) -> dict[str, Any]:
    return {
        "id": row.contest.id,
        "name": row.contest.name,
        "date": row.contest.date.isoformat(),
        "kind": row.contest.kind,
        "problems": len(row.contest.problems),
        "solved": row.result.solved,
        "missing": row.result.missing,
        "points": row.result.points,
        "penalty": row.result.penalty,
        "rank": row.rank,
        "humans": row.humans,
        "left_out": row.contest.left_out,
        "rating": row.rating,
        "bound": row.bound,
    }


def _show(summary: Summary, options: RatingOptions) -> None:
    from rich.table import Table

    screen = console()
    table = Table(box=None, pad_edge=False)
    table.add_column("contest")
    for name in ("solved", "points", "penalty", "rank", "of", "rating"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary.contests:
        table.add_row(*_cells(row, options))
    screen.print(table)
    interval = "" if summary.low is None else f" [{summary.low:.0f}, {summary.high:.0f}]"
    screen.print(
        f"rating {summary.rating:.0f}{interval}, above {summary.percentile:.1f} % of "
        f"{summary.population}",
        style="bold",
        markup=False,
    )
    for note in _notes(summary, options):
        screen.print(note, style="dim", markup=False)


def _cells(row: ContestRating, options: RatingOptions) -> tuple[str, ...]:
    icpc = row.contest.kind == "icpc"
    asked = len(row.contest.problems)
    missing = f" (-{len(row.result.missing)})" if row.result.missing else ""
    return (
        f"{row.contest.id}  {row.contest.name}".replace("[", "\\["),
        f"{len(row.result.solved)}/{asked}{missing}",
        "" if icpc else f"{row.result.points:.2f}",
        f"{row.result.penalty:.2f} min" if icpc else "",
        str(row.rank),
        str(row.humans + options.first_rank),
        f"{row.rating}{MARKS[row.bound]}",
    )


def _notes(summary: Summary, options: RatingOptions) -> list[str]:
    """What a reader of the table has to know, where it is so."""
    bounds = [row.bound for row in summary.contests]
    left_out = sum(row.contest.left_out for row in summary.contests)
    notes = [
        f"{summary.attempts} attempts a problem; plain mean of {len(bounds)} contests"
        + ("" if summary.low is None else ", 95 % interval over contests")
    ]
    if "top" in bounds:
        limit = "10,000" if options.cap is None else f"the best human's rating + {options.cap}"
        notes.append(f"^ {bounds.count('top')} at the cap, {limit}: the rank asks for more")
    if "bottom" in bounds:
        notes.append(f"v {bounds.count('bottom')} at rating 0: the rank asks for less")
    missing = sum(len(row.result.missing) for row in summary.contests)
    if missing:
        notes.append(f"{missing} problems have no attempts and count as not solved")
    if left_out:
        notes.append(f"{left_out:,} rows of standings without a known rating are left out")
    if summary.unused:
        notes.append(f"{summary.unused} problems of the evaluation are in no contest")
    return notes
