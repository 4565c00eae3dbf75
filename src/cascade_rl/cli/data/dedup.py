"""`cascade data dedup`: one row of each, or the rows of a file that other files do not hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_rl.cli.data.ending import ending, interrupted

if TYPE_CHECKING:
    from cascade_rl.data.dedup import Rules


def dedup(
    files: Annotated[list[Path], typer.Argument(help="row files, .parquet or .jsonl")],
    out: Annotated[Path, typer.Option(help="where the kept rows go, .parquet or .jsonl")],
    by: Annotated[
        str, typer.Option(help="exact,near,url,commit,io: some of them; by domain if not given")
    ] = "",
    threshold: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="near: Jaccard of word 5-grams")
    ] = 0.8,
    scope: Annotated[
        str, typer.Option(help="prompt, or row: response and reference too; by kind if not given")
    ] = "",
    against: Annotated[
        list[Path] | None,
        typer.Option(help="drop what this file holds instead; may be repeated"),
    ] = None,
) -> int:
    """Drop duplicates; with --against, the rows whose prompt another file holds.

    Which row of a cluster stays depends on content alone, never on the order of rows.
    """
    from cascade_rl.data import dedup as data
    from cascade_rl.data.step import Step

    others = against or []
    _check(files, out, others)
    rules = _rules(by, threshold, scope, bool(others))
    chosen: dict[str, Any] = {"by": rules.by or "by domain", "threshold": threshold}
    chosen |= {"against": [str(path) for path in others]} if others else {}
    chosen |= {"scope": scope or "by kind"} if not others else {}
    with interrupted(), Step("dedup", out, chosen) as step:
        if others:
            data.subtract(files[0], others, step, rules)
        else:
            data.dedup(files, step, rules)
    ending(step)
    return 0


def _rules(by: str, threshold: float, scope: str, against: bool) -> Rules:
    from cascade_rl.data.dedup import Rules
    from cascade_rl.data.dedup.identity import KEYS, SCOPES
    from cascade_rl.errors import InputError

    names = [name.strip() for name in by.split(",") if name.strip()]
    unknown = sorted(set(names) - set(KEYS))
    if unknown:
        raise InputError(f"--by {unknown[0]!r} is no key; expected some of {', '.join(KEYS)}")
    if scope and (against or scope not in SCOPES):
        what = "--against always compares prompts" if against else f"--scope is {scope!r}"
        raise InputError(f"{what}; expected {' or '.join(SCOPES)}", hint="leave --scope out")
    keys = tuple(key for key in KEYS if key in names)
    found = next((known for known in SCOPES if known == scope), None)
    return Rules(keys or None, threshold, found)


def _check(files: list[Path], out: Path, others: list[Path]) -> None:
    from cascade_rl.data.files import suffix
    from cascade_rl.errors import DataError, OutputError

    if others and len(files) > 1:
        raise DataError(
            f"{len(files)} files and --against; expected one file to take rows from",
            hint=f"repeat the flag:  {files[0]} --against {others[0]} --against {files[1]}",
        )
    for path in (*files, *others):
        suffix(path)
        if not path.exists():
            raise DataError(f"{path} does not exist; expected a file of rows")
        if out.exists() and out.samefile(path):
            raise OutputError(f"--out {out} is one of the inputs", hint="name another file")
