"""Row files, Parquet and JSONL, read into objects and written from them.

One rule: a row that cannot be read is never dropped in silence. It goes to `NAME.rejects.jsonl`
beside the file with its reason, it is counted, and more than 1 % of them is an error.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cascade_rl.data.schema import RowKind, kind_of, parse_row, row_dict
from cascade_rl.digests import digest_json, digest_text
from cascade_rl.errors import DataError, OutputError
from cascade_rl.types import Problem, Row

__all__ = [
    "Loaded", "Reject", "RowKind", "content_digest", "load_rows", "read_problems", "read_rows",
    "rejects_path", "write_rows",
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
    for index, raw in enumerate(_raw_rows(path)):
        try:
            row = parse_row(raw, kind)
        except DataError as error:
            rejects.append(Reject(index, error.message, raw))
            continue
        seen[row.id] += 1
        rows.append(row if seen[row.id] == 1 else replace(row, id=f"{row.id}#{seen[row.id]}"))
    return Loaded(tuple(rows), tuple(rejects))


def rejects_path(path: Path) -> Path:
    """Where the unreadable rows of a file are written."""
    return path.with_name(f"{path.name}.rejects.jsonl")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows atomically, as the name's ending says: `.parquet` or `.jsonl`.

    Raises OutputError when the disk refuses, DataError for a row that the format cannot hold.
    """
    values = [row_dict(row, index) for index, row in enumerate(rows)]
    if _suffix(path) == ".jsonl":
        _write_lines(path, values)
        return
    try:
        with _replacing(path) as temporary:
            pq.write_table(_table([_for_parquet(value) for value in values]), temporary)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise DataError(
            f"{path}: Parquet cannot hold these rows: {error}",
            hint=f"write JSON lines instead:  {path.with_suffix('.jsonl')}",
        ) from None


def content_digest(path: Path) -> str:
    """SHA-256 of a file's readable rows in order: equal for Parquet and JSONL of equal rows.

    Remembered by path, size and modification time while the process lives.
    """
    stat = path.stat()
    return _content_digest(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _content_digest(path: Path, size: int, mtime_ns: int) -> str:
    first: Any = next(_raw_rows(path), {})
    kind = kind_of(first if isinstance(first, Mapping) else {})
    rows = load_rows(path, kind).rows
    return digest_text(*(digest_json(row_dict(row, i)) for i, row in enumerate(rows)))


# --- files ------------------------------------------------------------------------------------


def _suffix(path: Path) -> str:
    if path.suffix not in (".parquet", ".jsonl"):
        raise DataError(f"{path} ends in {path.suffix!r}; expected .parquet or .jsonl")
    return path.suffix


def _raw_rows(path: Path) -> Iterator[Any]:
    """Every row as a dict; a JSONL line that is not JSON comes as its text."""
    suffix = _suffix(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; expected a .parquet or .jsonl file of rows")
    yield from _parquet_rows(path) if suffix == ".parquet" else _lines(path)


def _parquet_rows(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not readable as Parquet: {error}") from None


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for line in filter(bytes.strip, file):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield line.decode("utf-8", "replace")


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A column for every key of any row; `Table.from_pylist` would take the first row's only."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return pa.table({key: [row.get(key) for row in rows] for key in keys})


def _for_parquet(row: Mapping[str, Any]) -> dict[str, Any]:
    """Tool signatures and call arguments as JSON: a column gives all rows the same fields."""
    found = dict(row)
    if "tools" in found:
        found["tools"] = json.dumps(found["tools"], ensure_ascii=False)
    for key in ("messages", "prompt"):
        if key in found:
            found[key] = [_message_for_parquet(message) for message in found[key]]
    return found


def _message_for_parquet(message: Mapping[str, Any]) -> dict[str, Any]:
    if "tool_calls" not in message:
        return dict(message)
    calls = [
        {"name": c["name"], "arguments": json.dumps(c["arguments"], ensure_ascii=False)}
        for c in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _write_lines(path: Path, values: Sequence[Mapping[str, Any]]) -> None:
    # Half a surrogate pair, which UTF-8 refuses, is written as the escape JSON has for it.
    with (
        _replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` once everything written to it is on disk."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _report(path: Path, loaded: Loaded, allow_rejects: bool) -> None:
    """Write the rejects, log their number, and refuse the file when there are too many."""
    target = rejects_path(path)
    _write_lines(
        target, [{"index": r.index, "reason": r.reason, "row": r.row} for r in loaded.rejects]
    )
    bad, total = len(loaded.rejects), len(loaded.rejects) + len(loaded.rows)
    first = loaded.rejects[0]
    what = f"{path}: {bad} of {total} rows cannot be read; row {first.index}: {first.reason}"
    if bad > REJECT_LIMIT * total and not allow_rejects:
        raise DataError(what, hint=f"see {target}, repair the rows or pass --allow-rejects")
    log.warning("%s (all of them in %s)", what, target)
