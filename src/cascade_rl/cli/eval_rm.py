"""`cascade eval-rm`: how well a reward model orders the pairs of a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import console, trained_with

if TYPE_CHECKING:
    from cascade_rl.evaluation.preferences import PairReport
    from cascade_rl.types import Pair


def eval_rm(
    model: Annotated[Path, typer.Argument(help="the model directory of a reward_model stage")],
    pairs: Annotated[str, typer.Argument(help="preference rows, or mini:NAME")],
    limit: Annotated[int | None, typer.Option(min=1, help="first pairs only")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
) -> int:
    """Pair accuracy by category, RewardBench's sections where they are there, calibration."""
    from cascade_rl.engines.local.workers import Team
    from cascade_rl.engines.scorer import RewardModelScorer
    from cascade_rl.evaluation.preferences import evaluate_pairs

    chat, local = trained_with(model)
    scorer = RewardModelScorer(model, Team(local.model_copy(update={"processes": 1})), chat=chat)
    report = evaluate_pairs(scorer, _pairs(pairs)[:limit])
    if as_json:
        more = {"rewardbench": report.rewardbench, "calibration_error": report.calibration_error}
        print(json.dumps(asdict(report) | more))
    else:
        _show(report)
    return 0


def _pairs(name: str) -> list[Pair]:
    from cascade_rl import mini
    from cascade_rl.config import BUILTIN
    from cascade_rl.data.rows import read_rows
    from cascade_rl.errors import DataError
    from cascade_rl.types import Pair

    if name.startswith(BUILTIN):
        rows = mini.rows(name.removeprefix(BUILTIN), 0)
    else:
        rows = read_rows(Path(name), "pair")
    found = [row for row in rows if isinstance(row, Pair)]
    if not found:
        raise DataError(f"{name} holds no preference rows; expected prompt, chosen and rejected")
    return found


def _show(report: PairReport) -> None:
    from rich.table import Table

    screen = console()
    table = Table("category", "pairs", "accuracy")
    for name, (count, accuracy) in report.categories.items():
        table.add_row(name or "(none)", str(count), f"{accuracy:.3f}")
    table.add_section()
    table.add_row("all", str(report.pairs), f"{report.accuracy:.3f}")
    for name, accuracy in report.sections.items():
        table.add_row(f"RewardBench {name}", "", f"{accuracy:.3f}")
    if report.rewardbench is not None:
        table.add_row("RewardBench", "", f"{report.rewardbench:.3f}")
    screen.print(table)
    bins = Table("says", "is right", "pairs")
    for found in report.calibration:
        bins.add_row(f"{found.confidence:.2f}", f"{found.accuracy:.2f}", str(found.pairs))
    screen.print(bins)
    screen.print(f"calibration error {report.calibration_error:.3f}")
    if report.unscored:
        screen.print(f"{report.unscored} pairs do not fit the model's context and are left out")
