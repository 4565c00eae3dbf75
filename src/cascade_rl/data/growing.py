"""Files of JSON lines that only grow: what a killed command left of one, the next goes on from.

Two rules. One process at a time has such a file. And only whole lines count: a kill leaves at most
one torn line, the last.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cascade_rl.errors import OutputError


@contextmanager
def growing(
    path: Path, busy: OutputError, *, option: str = "--out", mode: int = 0o666
) -> Iterator[IO[bytes]]:
    """The file at its start, open to read and to append, its directory made where it is missing.

    Args:
        path: the file; made with the permissions `mode` less the umask.
        busy: what to raise where another process has it.
        option: what names another place, for the error where it cannot be written.

    Raises OutputError, too, where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode), "a+b")
    except OSError as error:
        raise OutputError(
            f"cannot write {error.filename}: {error.strerror}",
            hint=f"name another place:  {option}",
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        file.seek(0)
        yield file


def whole_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each whole line with its size in bytes, up to the first that holds no object."""
    with path.open("rb") as file:
        for line in file:
            try:
                fields = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                return
            if not isinstance(fields, dict):
                return
            yield fields, len(line)
