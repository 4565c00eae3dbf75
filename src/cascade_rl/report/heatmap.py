"""The ledger as a heat map: a row a stage, a column a benchmark, the shade is the mean score.

One rule: colour never stands alone. The shade runs over lightness in one hue, which survives
every colour blindness and a grey print, and each change has a sign, an arrow and its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.evaluation.ledger import Drop, Ledger, Score

DARK_FROM = 0.6
"""Shade above which white text on it has more contrast than black."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One score as it is drawn; `shade` in [0, 1] is the mean, clipped."""

    shade: float
    on_dark: bool
    mean: str
    aside: str
    change: str
    interval: str
    direction: str  # up, down or same: whether the interval leaves out 0
    drop: str  # why it is flagged as forgotten; empty otherwise
    title: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One stage of the heat map; None where it was not evaluated."""

    name: str
    key: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Column names and rows, and what was forgotten, in words."""

    benchmarks: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    forgotten: tuple[str, ...]


def heat_map(ledger: Ledger, lost: Sequence[Drop]) -> HeatMap:
    """The ledger with its flags."""
    benchmarks = tuple(dict.fromkeys(b for row in ledger["stages"] for b in row["scores"]))
    flags = {(drop.stage, drop.benchmark): str(drop) for drop in lost}
    rows = tuple(
        HeatRow(
            row["name"],
            row["key"],
            tuple(
                _cell(row["name"], b, row["scores"][b], flags.get((row["name"], b), ""))
                if b in row["scores"]
                else None
                for b in benchmarks
            ),
        )
        for row in ledger["stages"]
    )
    return HeatMap(benchmarks, rows, tuple(map(str, lost)))


def _cell(stage: str, benchmark: str, score: Score, drop: str) -> Cell:
    shade = min(1.0, max(0.0, score["mean"]))
    aside = [
        f"{what} {value:.2f}"
        for what, value in (("greedy", score["greedy"]), (f"pass@{score['k']}", score["pass"]))
        if value is not None
    ]
    change, low, high = score["change"], score["low"], score["high"]
    known = change is not None and low is not None and high is not None
    return Cell(
        shade=shade,
        on_dark=shade > DARK_FROM,
        mean=f"{score['mean']:.2f}",
        aside=" · ".join(aside),
        change=f"{change:+.2f}" if known else "",
        interval=f"[{low:+.2f}, {high:+.2f}]" if known else "",
        direction=_direction(low, high),
        drop=drop,
        title=_title(stage, benchmark, score),
    )


def _direction(low: float | None, high: float | None) -> str:
    if low is None or high is None or low <= 0 <= high:
        return "same"
    return "up" if low > 0 else "down"


def _title(stage: str, benchmark: str, score: Score) -> str:
    """The tooltip: everything the cell has no room for."""
    lines = [
        f"{benchmark} after {stage}: {score['mean']:.3f} ± {score['stderr']:.3f} (standard error)",
        f"{score['n']} problems, {score['k']} samples each, protocol {score['protocol']}",
    ]
    if score["change"] is None:
        lines.append(score["reason"])
    else:
        lines.append(
            f"change from the parent {score['change']:+.3f}, "
            f"95 % interval [{score['low']:+.3f}, {score['high']:+.3f}]"
        )
    if score["best_stage"]:
        lines.append(
            f"against its best, after {score['best_stage']}: {score['under_best']:+.3f} "
            f"[{score['under_best_low']:+.3f}, {score['under_best_high']:+.3f}]"
        )
    return "\n".join(lines)
