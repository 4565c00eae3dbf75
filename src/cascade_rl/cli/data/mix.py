"""`cascade data mix`: sources with their weights in, one shuffled file out, packed if asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_rl.cli.data.ending import ending, interrupted
from cascade_rl.cli.data.tokens import ESTIMATE, HELP, counter

if TYPE_CHECKING:
    from cascade_rl.data.mix.mixture import Mixture, StageMixture


def mix(
    mixture: Annotated[str, typer.Argument(help="YAML file, or a preset's name")] = "",
    out: Annotated[Path | None, typer.Option(help="where the rows go, .parquet or .jsonl")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="FILE or FILE:UPSAMPLE, in the place of a mixture; may be repeated"),
    ] = None,
    stage: Annotated[str, typer.Option(help="which stage, where there are several")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="default: the mixture's")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="drop longer rows; default: the stage's")
    ] = None,
    pack: Annotated[
        int | None, typer.Option(min=1, help="also write packs of at most so many tokens")
    ] = None,
    tokenizer: Annotated[str, typer.Option(help=HELP)] = ESTIMATE,
    system: Annotated[
        bool, typer.Option(help="count the default system turn, as chat.system adds it")
    ] = True,
    show: Annotated[bool, typer.Option("--print", help="print the mixture as YAML")] = False,
) -> int:
    """Mix files in exact proportions, shuffled by a seed; the same seed gives the same bytes."""
    from cascade_rl.data import mix as data
    from cascade_rl.errors import InputError

    found = _mixture(mixture, source or [])
    if seed is not None:
        found = found.model_copy(update={"seed": seed})
    if show:
        from cascade_rl.data.mix.mixture import mixture_yaml

        print(mixture_yaml(found), end="")
        return 0
    if out is None:
        raise InputError("no --out is given", hint="name a file:  --out mixture.parquet")
    chosen = found.stage(stage or None)
    if max_tokens is not None:
        chosen = chosen.model_copy(update={"max_tokens": max_tokens})
    _check(chosen, out)
    count = counter(tokenizer, system)
    with interrupted():
        step = data.mix(chosen, found.seed, out, count, pack, {"tokenizer": tokenizer})
    _print_composition(step.details["composition"])
    ending(step)
    if packs := step.details.get("packs"):
        share = f"{packs['utilisation']:.2%} of {packs['budget']} tokens used"
        print(f"{packs['file']}  {packs['packs']} packs, {share}")
    return 0


def _mixture(name: str, sources: list[str]) -> Mixture:
    from cascade_rl.data.mix.mixture import PRESETS, load_mixture, parse_mixture
    from cascade_rl.errors import InputError

    if bool(name) == bool(sources):
        what = "both a mixture and --source" if name else "neither a mixture nor --source"
        raise InputError(
            f"{what}; expected one of them",
            hint="for example:  cascade data mix --source a.parquet:2 --out b.parquet",
        )
    if sources:
        entries = [_source(text) for text in sources]
        return parse_mixture({"stages": [{"sources": entries}]}, "--source")
    return PRESETS[name]() if name in PRESETS else load_mixture(Path(name))


def _source(text: str) -> dict[str, Any]:
    """`FILE:2` as a source; a colon before anything but a number belongs to the file's name."""
    file, colon, weight = text.rpartition(":")
    try:
        return {"file": file, "upsample": float(weight)} if colon else {"file": text}
    except ValueError:
        return {"file": text}


def _check(stage: StageMixture, out: Path) -> None:
    from cascade_rl.data.files import suffix
    from cascade_rl.errors import DataError, OutputError

    suffix(out)
    for source in stage.sources:
        path = Path(source.file)
        suffix(path)
        if not path.exists():
            raise DataError(
                f"source {source.label}: {path} does not exist",
                hint="for a preset, put your files under these names, or print it and edit:  "
                "cascade data mix nemotron-cascade --print > mixture.yaml",
            )
        if out.exists() and out.samefile(path):
            raise OutputError(f"--out {out} is one of the sources", hint="name another file")


def _print_composition(lines: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from cascade_rl.cli.common import console

    table = Table(box=None, pad_edge=False)
    for heading in ("source", "weight", "rows", "copies", "tokens", "rows %", "tokens %"):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    for line in lines:
        weight = (
            f"{line['rows_wanted']} rows" if "rows_wanted" in line else f"x{line['upsample']:g}"
        )
        shares = (f"{line[key]:.2%}" for key in ("share_of_rows", "share_of_tokens"))
        counts = (f"{line[key]:,}" for key in ("usable", "copies", "tokens"))
        table.add_row(line["source"], weight, *counts, *shares)
    console().print(table)
