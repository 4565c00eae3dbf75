"""`cascade data decontaminate`: training rows that show an item of an evaluation set, dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cascade_rl.cli.common import console, duration, load, progress

if TYPE_CHECKING:
    from cascade_rl.config import CascadeRLConfig
    from cascade_rl.data.decontaminate import Guard, RowSet, Tally
    from cascade_rl.data.step import Step
    from cascade_rl.types import Row


def decontaminate(
    file: Annotated[str | None, typer.Argument(help="rows to clean, or mini:NAME")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="an evaluation set, any number of times")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="the clean file; with --config a directory of them")
    ] = None,
    ngram: Annotated[
        int, typer.Option(help="words in a row that make a leak; 0: whole prompts only", min=0)
    ] = 9,
    config: Annotated[
        str | None,
        typer.Option(help="every train set of this YAML file or preset against every evaluation"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="stage.key=value, with --config")
    ] = None,
) -> int:
    """Drop rows that share an n-gram, a whole prompt or an address with an evaluation item.

    With --config exit status 1 says that something leaks.
    """
    from cascade_rl.errors import InputError

    if config is not None:
        if file is not None or against:
            raise InputError(
                "--config names the files already",
                hint="leave FILE and --against out, or --config",
            )
        return _of_config(load(config, settings or ()), out, ngram)
    if file is None or not against or out is None:
        raise InputError(
            "expected FILE, --against and --out, or --config",
            hint="cascade data decontaminate FILE --against EVALUATION --out CLEAN.parquet",
        )
    _one_file(file, against, out, ngram)
    return 0


def _one_file(file: str, against: Sequence[str], out: Path, ngram: int) -> None:
    from cascade_rl.data.decontaminate import Guard
    from cascade_rl.data.step import Step

    seed = 0
    guard = Guard([row_set(name, seed) for name in dict.fromkeys(against)], ngram)
    with Step("decontaminate", out, {"against": list(against), "ngram": ngram}) as step:
        tally = _clean(step, file, guard, seed)
    _print_step(step)
    screen = console()
    screen.print(_benchmark_table(guard, tally))


def _clean(step: Step, name: str, guard: Guard, seed: int) -> Tally:
    from cascade_rl.config import BUILTIN
    from cascade_rl.data.decontaminate import clean, readable

    if name.startswith(BUILTIN):
        step.inputs.append(name)
        rows = readable(row_set(name, seed).rows(), [])  # what is generated can be read
    else:
        rows = step.rows(Path(name))
    with progress(0) as report:
        return clean(step, _counted(rows, report), guard)


def _print_step(step: Step) -> None:
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(step.dropped.items()))
    seconds = duration(step.report()["seconds"])
    print(f"{step.out}  {step.kept} kept, dropped: {dropped or 'none'}  ({seconds})")


def row_set(name: str, seed: int) -> RowSet:
    """The rows called by a path, or by `mini:NAME`."""
    from cascade_rl import mini
    from cascade_rl.config import BUILTIN
    from cascade_rl.data.decontaminate import RowSet
    from cascade_rl.data.rows import iter_rows

    if name.startswith(BUILTIN):
        return RowSet(name, lambda: mini.rows(name.removeprefix(BUILTIN), seed))
    return RowSet(name, lambda: iter_rows(Path(name)))


def _counted(rows: Iterable[Row], report: Callable[[int, int], None]) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        report(count, 0)
        yield row


# --- a whole config ---------------------------------------------------------------------------


def _of_config(config: CascadeRLConfig, out: Path | None, ngram: int) -> int:
    from cascade_rl.data.decontaminate import Guard
    from cascade_rl.data.files import write_json
    from cascade_rl.errors import ConfigError
    from cascade_rl.overlap import evaluation_files, train_files

    evaluations, trains = evaluation_files(config), train_files(config)
    if not evaluations:
        raise ConfigError(
            "this config has no benchmarks and no val_files; there is nothing to compare with"
        )
    started = time.monotonic()
    guard = Guard([row_set(name, config.data_seed) for name in evaluations], ngram)
    tallies = {}
    for name in trains:
        tallies[name] = _examine(name, guard, config.data_seed, out, trains)
    screen = console()
    screen.print(_cross_table(tallies, evaluations))
    leaking = sum(tally.leaking for tally in tallies.values())
    if out is not None:
        report = {
            "command": "decontaminate",
            "parameters": {"config": config.name, "ngram": ngram},
            "seconds": round(time.monotonic() - started, 3),
            "trains": {
                name: {"rows": tally.rows, "leaking": tally.leaking,
                       "benchmarks": guard.report(tally)}
                for name, tally in tallies.items()
            },
        }  # fmt: skip
        write_json(out / "report.json", report)
    rows = sum(tally.rows for tally in tallies.values())
    screen.print(
        f"\n{leaking} of {rows} training rows show an evaluation item"
        f"  ({duration(time.monotonic() - started)})"
    )
    return 1 if leaking else 0


def _examine(name: str, guard: Guard, seed: int, out: Path | None, trains: Sequence[str]) -> Tally:
    """Compare one train set; with a directory, clean it into a file there."""
    from cascade_rl.data.decontaminate import Tally, examine, readable
    from cascade_rl.data.rows import Reject
    from cascade_rl.data.step import Step

    if out is not None:
        path = out / clean_name(name, trains)
        parameters = {"against": [one.name for one in guard.sets], "ngram": guard.n}
        with Step("decontaminate", path, parameters) as step:
            tally = _clean(step, name, guard, seed)
        _print_step(step)
        return tally
    tally, bad = Tally(), list[Reject]()
    rows = readable(row_set(name, seed).rows(), bad)
    with progress(0) as report:
        for _ in examine(_counted(rows, report), guard, tally):
            pass
    if bad:
        print(f"{name}: {len(bad)} rows cannot be read; the first: {bad[0].reason}")
    return tally


def clean_name(name: str, names: Sequence[str]) -> str:
    """A file name of its own for each train set: its last part, and its place where two agree."""

    def last(one: str) -> str:
        return (
            one.replace(":", "-").replace("/", "-") if one.startswith("mini:") else Path(one).stem
        )

    same = [other for other in names if last(other) == last(name)]
    number = f"-{same.index(name) + 1}" if len(same) > 1 else ""
    ending = Path(name).suffix if Path(name).suffix == ".jsonl" else ".parquet"
    return f"{last(name)}{number}{ending}"


def _cross_table(tallies: dict[str, Tally], evaluations: Sequence[str]) -> Table:
    """Rows that leak: a line a train set, a column an evaluation set."""
    table = Table(title="training rows that show an evaluation item", title_justify="left",
                  box=None, pad_edge=False)  # fmt: skip
    table.add_column("train set")
    table.add_column("rows", justify="right")
    for name in evaluations:
        table.add_column(_short(name), justify="right")
    for name, tally in tallies.items():
        counts = [tally.by_benchmark[one] for one in evaluations]
        cells = [f"[red]{count}[/red]" if count else "0" for count in counts]
        table.add_row(_short(name), str(tally.rows), *cells)
    return table


def _short(name: str) -> str:
    """The last part of a path; the whole of a generated set's name."""
    return name if name.startswith("mini:") else Path(name).name


def _benchmark_table(guard: Guard, tally: Tally) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("evaluation set", "items", "items hit", "rows dropped", "n-grams ignored"):
        table.add_column(column, justify="left" if column == "evaluation set" else "right")
    for line in guard.report(tally):
        table.add_row(
            line["benchmark"], str(line["items"]), str(line["items_hit"]),
            str(line["rows_dropped"]), str(line["ngrams_ignored"]),
        )  # fmt: skip
    return table
