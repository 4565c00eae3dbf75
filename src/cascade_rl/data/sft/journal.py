"""The answers of an endpoint on disk: one JSON line each, added and never changed.

One rule: what was paid for is not paid for again. A line is one write, so a killed process
leaves at most one torn line, the last, and the next one cuts it off. Memory does not grow with
the answers: where each stands is kept in a temporary table on disk.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cascade_rl.data.growing import growing
from cascade_rl.errors import OutputError

_START = b'{"key": "'
_KEY = 64
_TABLE = "CREATE TABLE places (key BLOB PRIMARY KEY, start INTEGER, size INTEGER) WITHOUT ROWID"


class Journal:
    """Values by key, a hex digest; a context manager. One process at a time has it open.

    Raises OutputError where the file cannot be written or another process has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = 0

    def __enter__(self) -> Self:
        busy = OutputError(
            f"{self.path} is in use by another command; expected one at a time",
            hint="wait for it, or keep answers in another file:  --cache FILE",
        )
        self._open = ExitStack()
        self._file = self._open.enter_context(
            growing(self.path, busy, option="--cache", mode=0o600)
        ).fileno()
        # A temporary file that goes with the connection; one thread at a time uses it.
        self._places = sqlite3.connect("", check_same_thread=False)
        self._places.execute(_TABLE)
        self._read()
        return self

    def _read(self) -> None:
        """Note where every line stands; cut off a last line that was not written whole."""
        start = 0
        with open(self._file, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, start)
                    break
                if line.startswith(_START) and line.endswith(b"}\n"):
                    key = line[len(_START) : len(_START) + _KEY].decode("ascii", "replace")
                    self._note(key, start, len(line))
                else:
                    self.broken += 1
                start += len(line)
        self._end = start

    def _note(self, key: str, start: int, size: int) -> None:
        self._places.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", (key, start, size))

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The value under a key; None where there is none or its line is damaged."""
        found = self._places.execute("SELECT start, size FROM places WHERE key = ?", (key,))
        place = found.fetchone()
        if place is None:
            return None
        try:
            value = json.loads(os.pread(self._file, place[1], place[0]))
        except ValueError:
            return None
        return value if isinstance(value, dict) and value.get("key") == key else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Add a value; it is in the file when this returns. Raises OutputError on a full disk."""
        line = (json.dumps({"key": key, **value}) + "\n").encode("ascii")
        try:
            written = os.write(self._file, line)
            if written < len(line):
                os.ftruncate(self._file, self._end)
                raise OSError(0, "no space left on the disk")
        except OSError as error:
            hint = "free some space and run the same command again; earlier answers are kept"
            raise OutputError(f"cannot write {self.path}: {error.strerror}", hint=hint) from None
        self._note(key, self._end, len(line))
        self._end += len(line)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._places.close()
        if self._end == 0:
            self.path.unlink(missing_ok=True)  # nothing was answered
        else:
            os.fsync(self._file)
        self._open.close()
