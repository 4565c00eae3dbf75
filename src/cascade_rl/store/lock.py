"""One writer an output directory: an advisory lock that dies with its process.

One rule: the kernel's lock decides, not the file's existence, so a killed run never has to be
unlocked by hand.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import IO

from cascade_rl.errors import OutputError
from cascade_rl.store.files import disk_errors


class Lock:
    """Hold `directory/lock` until `release` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        with disk_errors(path):
            self._file: IO[str] = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "an unknown process"
            self._file.close()
            raise OutputError(
                f"{directory} is in use by {holder}; expected one run at a time",
                hint="wait for it or stop it, or choose another directory:  --output DIR",
            ) from None
        self._file.truncate(0)
        self._file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        self._file.flush()

    def release(self) -> None:
        """Let the next run in."""
        self._file.truncate(0)
        self._file.close()
