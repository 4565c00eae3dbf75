"""The file that `cascade verify` fills: under another name until it is complete.

One rule: that name holds a digest of the rows and of everything that decides a verdict, so what
a stopped command left is only ever continued by the same command.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cascade_rl.data.growing import growing, whole_lines
from cascade_rl.errors import OutputError

if TYPE_CHECKING:
    from cascade_rl.config import VerifierConfig
    from cascade_rl.types import Verdict

FLUSH_S = 1.0
"""Verdicts older than this are on the disk, whatever ends the command."""


@dataclass(slots=True)
class VerdictFile:
    """Lines in the order of the rows. `done` rows have one; `unjudged` of them have no score."""

    part: Path
    file: IO[bytes]
    done: int = 0
    unjudged: int = 0
    _flushed: float = field(default_factory=time.monotonic)

    def write(self, verdict: Verdict, seconds: float) -> None:
        """The next row's line."""
        fields = asdict(verdict)
        tier = fields.pop("tier")
        line = {"index": self.done, **fields, "seconds": round(seconds, 6), "tier": tier}
        self.file.write(json.dumps(line).encode("ascii") + b"\n")
        self.done += 1
        self.unjudged += verdict.score is None
        if time.monotonic() - self._flushed > FLUSH_S:
            self.file.flush()
            self._flushed = time.monotonic()

    def resume(self) -> None:
        """Count the whole lines there are, and cut off a torn one."""
        whole = 0
        for verdict, size in whole_lines(self.part):
            if verdict.get("index") != self.done:
                break
            whole += size
            self.done += 1
            self.unjudged += verdict.get("score") is None
        if whole < self.part.stat().st_size:
            os.truncate(self.part, whole)


@contextlib.contextmanager
def verdict_file(out: Path, digest: str) -> Iterator[VerdictFile]:
    """The file, which becomes `out` when the block ends well and else stays as it is.

    Raises OutputError where it cannot be written or another command writes it.
    """
    part = out.with_name(f"{out.name}.{digest}.part")
    busy = OutputError(f"another  cascade verify  is writing {out}")
    with growing(part, busy) as file:
        verdicts = VerdictFile(part, file)
        if part.is_file():  # and no device
            verdicts.resume()
        yield verdicts
        file.flush()
        part.replace(out)
    for path in list(out.parent.iterdir()):  # of commands with other options, given up
        if path.name.startswith(f"{out.name}.") and path.suffix == ".part":
            path.unlink()


def digest_of(rows: Path, verifier: str, options: VerifierConfig) -> str:
    """12 hex digits over the rows, by path, size and time, and all that decides a verdict."""
    from cascade_rl.digests import digest_json
    from cascade_rl.verifiers import VERIFIER_VERSIONS

    found = rows.stat()
    identity = [str(rows.resolve()), found.st_size, found.st_mtime_ns]
    settings = [verifier, options.model_dump(mode="json"), VERIFIER_VERSIONS]
    return digest_json([identity, settings])[:12]
