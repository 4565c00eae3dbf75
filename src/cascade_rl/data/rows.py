"""Row files, Parquet and JSONL, read into objects and written from them.

One rule: a row that cannot be read is never dropped in silence. It goes to `NAME.rejects.jsonl`
beside the file with its reason, it is counted, and more than 1 % of them is an error.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cascade_rl.data.files import RowFile, Unreadable, raw_rows, suffix
from cascade_rl.data.schema import RowKind, kind_of, parse_row, row_dict
from cascade_rl.digests import digest_json, digest_text
from cascade_rl.errors import DataError
from cascade_rl.types import Problem, Row

__all__ = [
    "Loaded", "Reject", "RowKind", "content_digest", "iter_rows", "load_rows", "read_problems",
    "read_rows", "rejects_path", "write_rows",
]  # fmt: skip

REJECT_LIMIT = 0.01
"""Share of unreadable rows above which a file is refused."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that could not be read: its place in the file, why, and what was there."""

    index: int
    reason: str
    row: Any


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file's rows in order, and what could not be read."""

    rows: tuple[Row, ...]
    rejects: tuple[Reject, ...]


def read_problems(path: Path, *, allow_rejects: bool = False) -> list[Problem]:
    """The problems of a file; see `read_rows`."""
    rows = read_rows(path, "problem", allow_rejects=allow_rejects)
    return [row for row in rows if isinstance(row, Problem)]


def read_rows(path: Path, kind: RowKind, *, allow_rejects: bool = False) -> list[Row]:
    """All rows of a `.parquet` or `.jsonl` file, in order, each with an id of its own.

    Unreadable rows are written to `rejects_path(path)` and logged. Raises DataError when there
    are more than 1 % of them and not `allow_rejects`, when there is no other row, or when the
    file itself cannot be read.
    """
    loaded = load_rows(path, kind)
    if loaded.rejects:
        _report(path, loaded, allow_rejects)
    if not loaded.rows:
        raise DataError(f"{path} holds no {kind} rows; expected one at least")
    return list(loaded.rows)


def load_rows(path: Path, kind: RowKind) -> Loaded:
    """The rows of a file and those that could not be read; writes nothing, refuses nothing."""
    rows: list[Row] = []
    rejects: list[Reject] = []
    seen: Counter[str] = Counter()
    for row in iter_rows(path, kind):
        if isinstance(row, Reject):
            rejects.append(row)
            continue
        seen[row.id] += 1
        rows.append(row if seen[row.id] == 1 else replace(row, id=f"{row.id}#{seen[row.id]}"))
    return Loaded(tuple(rows), tuple(rejects))


def iter_rows(path: Path, kind: RowKind | None = None) -> Iterator[Row | Reject]:
    """The rows of a file one by one, and a `Reject` in the place of each that cannot be read.

    Without a kind, each row's keys say what it is. Ids are the rows' own and may repeat.
    """
    suffix(path)
    for index, raw in enumerate(raw_rows(path)):
        if isinstance(raw, Unreadable):
            yield Reject(index, raw.reason, raw.start)
            continue
        try:
            yield parse_row(raw, kind or kind_of(raw if isinstance(raw, Mapping) else {}))
        except DataError as error:
            yield Reject(index, error.message, raw)


def rejects_path(path: Path) -> Path:
    """Where the unreadable rows of a file are written."""
    return path.with_name(f"{path.name}.rejects.jsonl")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows atomically, as the name's ending says: `.parquet` or `.jsonl`.

    Raises OutputError when the disk refuses, DataError for a row that the format cannot hold.
    """
    with RowFile(path) as file:
        for index, row in enumerate(rows):
            file.write(row_dict(row, index))


def content_digest(path: Path) -> str:
    """SHA-256 of a file's readable rows in order: equal for Parquet and JSONL of equal rows.

    Remembered by path, size and modification time while the process lives.
    """
    stat = path.stat()
    return _content_digest(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _content_digest(path: Path, size: int, mtime_ns: int) -> str:
    first: Any = next(raw_rows(path), {})
    kind = kind_of(first if isinstance(first, Mapping) else {})
    rows = load_rows(path, kind).rows
    return digest_text(*(digest_json(row_dict(row, i)) for i, row in enumerate(rows)))


def _report(path: Path, loaded: Loaded, allow_rejects: bool) -> None:
    """Write the rejects, log their number, and refuse the file when there are too many."""
    target = rejects_path(path)
    with RowFile(target) as file:
        for reject in loaded.rejects:
            file.write({"index": reject.index, "reason": reject.reason, "row": reject.row})
    bad, total = len(loaded.rejects), len(loaded.rejects) + len(loaded.rows)
    first = loaded.rejects[0]
    what = f"{path}: {bad} of {total} rows cannot be read; row {first.index}: {first.reason}"
    if bad > REJECT_LIMIT * total and not allow_rejects:
        raise DataError(what, hint=f"see {target}, repair the rows or pass --allow-rejects")
    log.warning("%s (all of them in %s)", what, target)
