"""Published rows of a benchmark as problems or pairs, by the converters of `data.sources`.

One rule: a benchmark is read whole or not at all. A row that cannot be read is an error with its
place in the file; only what the benchmark cannot judge here is left out, and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

from cascade_rl.data.files import Unreadable, files_of, raw_rows
from cascade_rl.data.sources import SOURCES, convert, recognised
from cascade_rl.data.sources.calls import CATEGORIES, category_of
from cascade_rl.data.sources.common import Unfit
from cascade_rl.data.sources.hub import hub_rows
from cascade_rl.data.sources.instruct import instructed
from cascade_rl.errors import DataError
from cascade_rl.evaluation.suite.rows import Published, Window
from cascade_rl.types import Pair, Problem, Row

OURS = "cascade"
"""The source of this project's own rows, which every benchmark of problems takes too."""


def problems(entry: Published, place: str, left_out: dict[str, int]) -> Iterator[Problem]:
    """The problems one by one; `left_out` counts by reason what cannot be judged here."""
    seen: Counter[str] = Counter()
    for index, row in _converted(entry, place, left_out):
        if not isinstance(row, Problem):
            raise DataError(f"{place}: row {index} is no problem", hint=entry.rows.get)
        seen[row.id] += 1
        named = row if seen[row.id] == 1 else replace(row, id=f"{row.id}#{seen[row.id]}")
        yield instructed(named)


def pairs(entry: Published, place: str) -> Iterator[Pair]:
    """The pairs one by one."""
    for index, row in _converted(entry, place, {}):
        if not isinstance(row, Pair):
            raise DataError(f"{place}: row {index} is no pair", hint=entry.rows.get)
        yield row


def _converted(entry: Published, place: str, left_out: dict[str, int]) -> Iterator[tuple[int, Row]]:
    rows = enumerate(_opened(entry, place))
    first = next(rows, None)
    if first is None:
        raise DataError(f"{place} holds no rows; expected {entry.title}", hint=entry.rows.get)
    for index, raw in chain([first], rows):
        if isinstance(raw, Unreadable):
            raise DataError(f"{place}: row {index}: {raw.reason}", hint=entry.rows.get)
        source = _source(entry, raw, f"{place}: row {index}")
        if entry.rows.window is not None and not _inside(raw, entry.rows.window, place, index):
            continue
        try:
            yield index, convert(raw, source)
        except Unfit as error:
            left_out[error.reason] = left_out.get(error.reason, 0) + 1
        except DataError as error:
            raise DataError(f"{place}: row {index}: {error.message}", hint=entry.rows.get) from None


def _opened(entry: Published, place: str) -> Iterator[Any]:
    """The raw rows of a file or directory, or of the hub's data set where that is its name."""
    rows = entry.rows
    path = Path(place)
    if not path.exists() and place == rows.hub:
        return hub_rows(place, rows.subset, rows.split)
    if path.is_dir() and rows.only:
        return chain.from_iterable(raw_rows(file) for file in _only(entry, path))
    return rows.opened(path)


def _only(entry: Published, folder: Path) -> list[Path]:
    """The files of a directory that belong to the benchmark. Raises DataError without any."""
    found = [file for file in files_of(folder) if file.name in entry.rows.only]
    if not found:
        names = ", ".join(file.name for file in files_of(folder)[:5])
        raise DataError(
            f"{folder} holds {names}; expected {', '.join(entry.rows.only)}", hint=entry.rows.get
        )
    return found


def _source(entry: Published, raw: Any, where: str) -> str:
    """The converter for a row. Raises DataError for a row of another shape."""
    keys = raw if isinstance(raw, Mapping) else {}
    if any(all(keys.get(key) is not None for key in shape) for shape in entry.rows.shapes):
        return entry.rows.source or recognised(raw)
    ours = any(all(key in keys for key in shape) for shape in SOURCES[OURS].shapes)
    if ours and entry.ours:
        return OURS
    found = ", ".join(sorted(map(str, keys))) or f"none, it is {str(raw)[:60]!r}"
    wanted = "; or ".join(", ".join(shape) for shape in entry.rows.shapes)
    raise DataError(
        f"{where} has the keys {found[:300]}; expected those of {entry.title}: {wanted}",
        hint=entry.rows.get,
    )


def _inside(raw: Mapping[str, Any], window: Window, place: str, index: int) -> bool:
    """Whether a problem was released in the window; only the day counts."""
    own = raw.get("extra_info")
    found = raw.get("contest_date") or (own.get("released") if isinstance(own, Mapping) else None)
    try:
        return date.fromisoformat(str(found)[:10]) in window
    except ValueError:
        raise DataError(
            f"{place}: row {index} has contest_date {found!r}; expected a date, as in 2024-08-01"
        ) from None


# --- files that belong together ---------------------------------------------------------------


def with_answers(folder: Path) -> Iterator[Any]:
    """BFCL: the questions of a directory, each with its line of `possible_answer/` joined to it."""
    answers = {
        row["id"]: row["ground_truth"]
        for file in _bfcl_files(folder / "possible_answer")
        for row in _lines(file)
        if "id" in row and "ground_truth" in row
    }
    for file in _bfcl_files(folder):
        for row in _lines(file):
            known = answers.get(row.get("id"))
            yield row if known is None else {**row, "ground_truth": known}


def _bfcl_files(folder: Path) -> list[Path]:
    """The files of the categories that an AST match judges."""
    files = sorted(folder.glob("BFCL_v*.json")) if folder.is_dir() else []
    named = {file: file.stem.partition("_v")[2].partition("_")[2] for file in files}
    found = [file for file, name in named.items() if category_of(f"{name}_0") in CATEGORIES]
    if not found:
        raise DataError(f"{folder} holds no BFCL_v*_simple*.json; expected BFCL's data directory")
    return found


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """JSON lines, which BFCL calls `.json`."""
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n")):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{file}: line {number + 1} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{file}: line {number + 1} is no object")
            yield row


def with_tests(folder_name: str) -> Callable[[Path], Iterator[Any]]:
    """LiveCodeBench Pro: each problem with the path of `FOLDER/PROBLEM.zip` beside the file."""

    def opened(path: Path) -> Iterator[Any]:
        folder = (path if path.is_dir() else path.parent) / folder_name
        if not folder.is_dir():
            raise DataError(f"{folder} is no directory; expected PROBLEM.zip of each problem in it")
        for row in raw_rows(path):
            if isinstance(row, Mapping) and "problem_id" in row and "testcases" not in row:
                yield {**row, "testcases": str(folder / f"{row['problem_id']}.zip")}
            else:
                yield row

    return opened
