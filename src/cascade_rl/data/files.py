"""Files of rows as they lie on disk: read as plain values, written whole or not at all.

Two rules. Reading streams: memory holds a line or a batch, never a file, and what cannot be read
comes as an `Unreadable` in its place. Writing goes to a temporary name that becomes the file's
when everything is on disk, so no partial file is ever found under its final name.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq

from cascade_rl.errors import DataError, OutputError

MAX_LINE = 64 << 20
"""Bytes of one line; a longer one is not read, and is `Unreadable`."""
BATCH = 4096
"""Rows that are held at a time where a Parquet file is read or written."""
READABLE = (".parquet", ".jsonl", ".json", ".csv")
_BOM = b"\xef\xbb\xbf"
_SHOWN = 200
_OURS = ("rejects.jsonl", "report.json")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no row: why, and the start of what was there."""

    reason: str
    start: str


# --- reading ----------------------------------------------------------------------------------


def files_of(path: Path) -> list[Path]:
    """The file itself, or every readable file under a directory in order of name.

    Rejects, reports and what is hidden are left out.
    Raises DataError where there is none, or where a file has an ending that is not known.
    """
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and _kind(file))
        found = [
            file
            for file in found
            if not file.name.endswith(_OURS)
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        ]
        if not found:
            raise DataError(f"{path} holds no file ending in {_endings()}")
        return found
    if not path.is_file():
        raise DataError(f"{path} does not exist; expected a file ending in {_endings()}")
    if not _kind(path):
        raise DataError(f"{path} ends in {path.suffix!r}; expected {_endings()}")
    return [path]


def raw_rows(path: Path) -> Iterator[Any]:
    """Every row of a file or directory: a plain value, or `Unreadable`, in order.

    Ends in DataError where a file is cut off or is not what its name says.
    """
    for file in files_of(path):
        kind = _kind(file)
        if kind == ".parquet":
            yield from _parquet_rows(file)
        else:
            yield from _text_rows(file, kind)


def _kind(path: Path) -> str:
    """One of READABLE, or an empty string. All but Parquet may be compressed: `.gz`."""
    suffixes = path.suffixes
    if suffixes[-1:] == [".gz"]:
        inner = suffixes[-2:-1]
        return inner[0] if inner and inner[0] in READABLE[1:] else ""
    return path.suffix if path.suffix in READABLE else ""


def _endings() -> str:
    return f"{', '.join(READABLE)}; the last three also with .gz"


def _parquet_rows(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not readable as Parquet: {error}") from None


def _text_rows(path: Path, kind: str) -> Iterator[Any]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as opened:
            file = cast(IO[bytes], opened)
            if kind == ".csv":
                yield from _csv_rows(file)
            elif kind == ".json":
                yield from _json_rows(path, file)
            else:
                yield from _json_lines(file)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _json_lines(file: IO[bytes]) -> Iterator[Any]:
    first = True
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            yield Unreadable(f"the line is longer than {MAX_LINE >> 20} MB", _start(line))
            while line and not line.endswith(b"\n"):
                line = file.readline(1 << 20)
        elif line := (line.removeprefix(_BOM) if first else line).strip():
            yield _json_value(line)
        first = False


def _json_value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"not JSON: {error}", _start(line))


def _json_rows(path: Path, file: IO[bytes]) -> Iterator[Any]:
    """A list of rows, `{"data": [...]}`, one row, or what are JSON lines after all."""
    text = file.read()
    try:
        value = json.loads(text.removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        if b"\n{" not in text:
            raise DataError(f"{path} is not JSON: {error}") from None
        file.seek(0)
        yield from _json_lines(file)
        return
    if isinstance(value, Mapping) and isinstance(value.get("data"), list):
        value = value["data"]
    yield from value if isinstance(value, list) else [value]


def _csv_rows(file: IO[bytes]) -> Iterator[Any]:
    csv.field_size_limit(min(MAX_LINE, sys.maxsize))
    for row in csv.DictReader(line.decode("utf-8-sig", "surrogateescape") for line in file):
        if None in row or None in row.values():
            yield Unreadable("not as many fields as the header has", str(row)[:_SHOWN])
        else:
            yield row


def _start(line: bytes) -> str:
    return line[:_SHOWN].decode("utf-8", "replace")


# --- writing ----------------------------------------------------------------------------------


class RowFile:
    """Rows written one after another to `.parquet` or `.jsonl`; a context manager.

    Nothing is found under `path` until the block ends without an exception. Memory does not
    grow with the rows. Raises OutputError when the disk refuses, DataError at the end for rows
    that Parquet cannot hold.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self._parquet = suffix(path) == ".parquet"

    def __enter__(self) -> Self:
        with _disk(self.path):
            self._lines = _beside(self.path, ".lines").open(
                "w", encoding="utf-8", errors="backslashreplace"
            )
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """One row; in JSON, half a surrogate pair, which UTF-8 refuses, is an escape."""
        with _disk(self.path):
            self._lines.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        self.count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        lines = _beside(self.path, ".lines")
        try:
            with _disk(self.path):
                self._lines.close()
            if kind is None:
                with replacing(self.path) as temporary:
                    if self._parquet:
                        _to_parquet(self.path, lines, temporary)
                    else:
                        lines.replace(temporary)
        finally:
            lines.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """One JSON document, indented, whole or not at all."""
    with replacing(path) as temporary:
        text = json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` once everything written to it is on disk."""
    temporary = _beside(path, ".tmp")
    try:
        with _disk(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def suffix(path: Path) -> str:
    """The ending of a file that rows can be written to; DataError for another one."""
    if path.suffix not in (".parquet", ".jsonl"):
        raise DataError(f"{path} ends in {path.suffix!r}; expected .parquet or .jsonl")
    return path.suffix


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _to_parquet(path: Path, lines: Path, temporary: Path) -> None:
    """Twice through the lines: for the columns of all rows, then for the rows."""
    try:
        schema = pa.schema([])
        for batch in _batches(lines):
            found = _table(batch).schema
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        with pq.ParquetWriter(temporary, schema) as writer:
            for batch in _batches(lines):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise DataError(
            f"{path}: Parquet cannot hold these rows: {error}",
            hint=f"write JSON lines instead:  {path.with_suffix('.jsonl')}",
        ) from None


def _batches(lines: Path) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    with lines.open("rb") as file:
        for line in file:
            batch.append(_for_parquet(json.loads(line)))
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


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
        if isinstance(found.get(key), list):
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
