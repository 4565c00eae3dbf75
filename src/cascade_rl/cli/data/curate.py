"""`cascade data curate`: rules over a file of rows, each drop with its reason."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import console, progress
from cascade_rl.cli.data.ending import ending, interrupted

if TYPE_CHECKING:
    from cascade_rl.data.curate import Given
    from cascade_rl.data.step import Step


class Unrecorded(StrEnum):
    """What becomes of a row for which a rule has nothing to go by."""

    KEEP = "keep"
    DROP = "drop"


def curate(
    file: Annotated[Path | None, typer.Argument(help="rows: a file or a directory")] = None,
    out: Annotated[Path | None, typer.Option(help="where the kept rows go")] = None,
    rules: Annotated[str, typer.Option(help="NAME or NAME=VALUE, with commas between")] = "",
    preset: Annotated[str | None, typer.Option(help="rules of a paper, by name")] = None,
    unrecorded: Annotated[
        Unrecorded, typer.Option(help="rows without the attempts or rates that a rule reads")
    ] = Unrecorded.KEEP,
    tokenizer: Annotated[
        Path | None, typer.Option(help="model directory: counts tokens exactly")
    ] = None,
    seed: Annotated[int, typer.Option(help="for what is drawn (response_thinned)")] = 0,
    show: Annotated[bool, typer.Option("--list", help="print the rules and presets")] = False,
) -> int:
    """Drop the rows that a stage should not train on, each with the first rule that hits it.

    cascade data curate math.parquet --out clean.parquet --preset nemotron_cascade_math
    cascade data curate math.parquet --out hard.parquet --rules figure,solved_above=6/16
    """
    if show:
        _list()
        return 0
    from cascade_rl.data import curate as curation

    source, target = _checked(file, out)
    given = _given(tokenizer, seed)
    named = [name for name in rules.split(",") if name.strip()]
    chosen = curation.rules_of(preset, named, given)
    parameters = {
        "preset": preset,
        "rules": [str(rule) for rule in chosen],
        "unrecorded": unrecorded.value,
        "tokenizer": "about, by characters" if tokenizer is None else str(tokenizer),
        "seed": seed,
    }
    with interrupted(), progress(0) as report:
        step = curation.curate(
            source,
            target,
            chosen,
            parameters=parameters,
            unrecorded=unrecorded.value,
            makes_pairs=preset is not None and curation.PRESETS[preset].makes_pairs,
            seen=lambda rows: report(rows, rows),
        )
    _say(step)
    return 0


def _checked(file: Path | None, out: Path | None) -> tuple[Path, Path]:
    from cascade_rl.errors import InputError, OutputError

    if file is None or out is None:
        missing = "FILE" if file is None else "--out"
        raise InputError(
            f"{missing} is missing",
            hint="cascade data curate FILE --out FILE --preset NAME  (names: --list)",
        )
    if out.exists() and file.exists() and out.samefile(file):
        raise OutputError(f"--out {out} is the file of rows itself", hint="name another file")
    return file, out


def _given(tokenizer: Path | None, seed: int) -> Given:
    from cascade_rl.data.curate import Given
    from cascade_rl.errors import InputError

    if tokenizer is None:
        return Given(seed=seed)
    if not tokenizer.is_dir():
        raise InputError(f"--tokenizer {tokenizer} is no directory; expected that of a model")
    from cascade_rl.engines.tokens import token_counter

    return Given(tokens=token_counter(tokenizer), seed=seed)


def _say(step: Step) -> None:
    """What every command says, and a line for each rule that had nothing to go by."""
    ending(step)
    for rule, tally in step.details["rules"].items():
        if tally["not_recorded"]:
            print(f"note: {rule} had nothing to go by in {tally['not_recorded']} rows")


def _list() -> None:
    """Every rule and preset with its meaning."""
    from rich.table import Table

    from cascade_rl.data.curate import PRESETS, RULES

    rules = Table("rule", "asked of", "a row goes that is, has or was", box=None)
    for name, rule in RULES.items():
        shown = f"{name}={rule.default}" if rule.default else name
        rules.add_row(shown, ", ".join(rule.on), rule.meaning)
    presets = Table("preset", "meaning", "source", "rules", box=None)
    for name, preset in PRESETS.items():
        presets.add_row(name, preset.meaning, preset.source, ", ".join(preset.rules))
    screen = console()
    screen.print(rules)
    screen.print()
    screen.print(presets)
