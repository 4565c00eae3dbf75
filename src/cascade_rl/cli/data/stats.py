"""`cascade data stats`: what row files hold, as tables, as JSON, or as a page with histograms."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import console, duration, progress

if TYPE_CHECKING:
    from rich.table import Table

    from cascade_rl.data.stats import Stats

NAMES_SHOWN = 12
"""Names of a tally in the table; the page and `--json` have more."""


def stats(
    paths: Annotated[list[Path], typer.Argument(help="row files, or directories of them")],
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
    html: Annotated[Path | None, typer.Option(help="also write a page with histograms")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="a model directory: lengths in tokens too")
    ] = None,
) -> int | None:
    """Count rows by kind, domain, source, mode and split, and measure lengths and references.

    Drops are read from the reports that earlier commands left beside the files.
    """
    from cascade_rl.data.files import files_of
    from cascade_rl.data.stats import collect
    from cascade_rl.errors import DataError

    if html is not None and html.suffix not in (".html", ".htm"):
        raise DataError(f"--html {html} does not end in .html", hint=f"--html {html}.html")
    count_tokens = None
    if tokenizer is not None:
        from cascade_rl.engines.tokens import token_counter

        count_tokens = token_counter(tokenizer)
    begun = time.monotonic()
    size = sum(file.stat().st_size for path in paths for file in files_of(path))
    try:
        with progress(size) as report:
            found = collect(paths, count_tokens, report)
        if html is not None:
            from cascade_rl.data.stats.page import write_page

            html.parent.mkdir(parents=True, exist_ok=True)
            write_page(html, found)
    except KeyboardInterrupt:
        print("stopped; nothing was written. Run the same command again.", file=sys.stderr)
        return 130
    if as_json:
        print(json.dumps(found.as_dict()))
        return None
    _show(found)
    took = duration(time.monotonic() - begun)
    if html is not None:
        print(f"{html}  {found.rows} rows, {found.unreadable} unreadable, in {took}")
    return None


def _show(found: Stats) -> None:
    screen = console()
    values = found.as_dict()
    screen.print(_counts(values["counts"]))
    screen.print(_lengths(found))
    prompts, rates = values["prompts"], values["pass_rate"]
    files = f"{len(found.files)} file{'' if len(found.files) == 1 else 's'}"
    line = f"{found.rows:,} rows in {files}, {found.unreadable:,} unreadable; "
    line += f"{prompts['different']:,} different prompts, {prompts['repeated']:,} repeated"
    _say(line)
    if rates["rows"]:
        bins = ", ".join(f"{name}: {count}" for name, count in rates["histogram"].items() if count)
        _say(f"pass rate of {rates['rows']:,} rows: mean {rates['mean']:.3f}; {bins}")
    for drops in found.drops:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in drops.dropped.items())
        said = drops.problem or f"{drops.read:,} read, {drops.kept:,} kept; {reasons or 'no drop'}"
        _say(f"{drops.report}  {drops.command}: {said}")
    for file in found.files:
        for reason in file.reasons[:1]:
            _say(f"{file.path}  {file.unreadable:,} unreadable rows, the first: {reason}")
    if found.unreadable:
        _say("rows of another shape become ours by  cascade data prepare")


def _say(text: str) -> None:
    print(_printable(text))


def _printable(text: str) -> str:
    """Names come from data: nothing in them moves the cursor or cannot be encoded."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _counts(counts: dict[str, dict[str, int]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("by", "name")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    for by, names in counts.items():
        total = sum(names.values())
        shown = list(names.items())[:NAMES_SHOWN]
        left = total - sum(count for _, count in shown)
        rest = [(f"({len(names) - len(shown)} more)", left)] if left else []
        for place, (name, count) in enumerate([*shown, *rest]):
            share = f"{100 * count / total:.1f} %"
            table.add_row("" if place else by, escape(_printable(name)), f"{count:,}", share)
        table.add_section()
    return table


def _lengths(found: Stats) -> Table:
    from rich.table import Table

    from cascade_rl.data.stats import summary

    table = Table("what", "of", "unit")
    for name in ("count", "mean", "median", "95 %", "max"):
        table.add_column(name, justify="right")
    before = ("", "")
    for what, of, unit, measure in found.ordered():
        s = summary(measure)
        again = (what, of) == before
        table.add_row(
            "" if again else what, "" if again else of, unit,
            *(f"{s[name]:,.1f}" if name == "mean" else f"{s[name]:,}"
              for name in ("count", "mean", "median", "p95", "max")),
        )  # fmt: skip
        before = what, of
    return table
