"""A stage's directory while it trains: `engines.base.Workspace` on disk.

One rule: training state moves only by renames of whole directories, so a SIGKILL at any
moment leaves the last complete checkpoint and everything appended before it.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cascade_rl.digests import weights_digest
from cascade_rl.engines.base import SCRATCH
from cascade_rl.store.files import (
    check_directory,
    disk_errors,
    json_line,
    read_lines,
    repair_lines,
    write_atomic,
    write_directory,
)
from cascade_rl.types import Checkpoint, Verdict

Listener = Callable[[str, Mapping[str, Any]], None]
"""Called with (stage name, event) for every event as it happens."""


class StageWorkspace:
    """Checkpoints, event log, verdict journal and rollouts of one stage."""

    def __init__(
        self,
        directory: Path,
        name: str,
        key: str,
        *,
        listeners: Sequence[Listener] = (),
        stop: threading.Event | None = None,
    ) -> None:
        self._directory = directory
        self._name = name
        self._key = key
        self._listeners = listeners
        self._stop = stop or threading.Event()
        directory.mkdir(parents=True, exist_ok=True)
        for garbage in [*directory.glob("*.tmp"), *directory.glob("*/*.tmp")]:
            shutil.rmtree(garbage) if garbage.is_dir() else garbage.unlink()
        repair_lines(self._events_file)
        repair_lines(self._journal_file)
        self._journal = {
            line["key"]: Verdict(**line["verdict"]) for line in read_lines(self._journal_file)
        }

    @property
    def _events_file(self) -> Path:
        return self._directory / "events.jsonl"

    @property
    def _journal_file(self) -> Path:
        return self._directory / "verdicts.jsonl"

    def latest(self) -> tuple[int, Path] | None:
        """The last complete training checkpoint as (step, directory).

        Raises CheckpointError where that directory was damaged after it was written.
        """
        found = last_checkpoint(self._directory)
        if found is not None:
            check_directory(
                found,
                hint=f"remove {found} to continue from the one before it, or start the stage "
                f"again:  cascade run ... --resume {self._name}",
            )
        return None if found is None else (int(found.name.removeprefix("step-")), found)

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Write a training checkpoint atomically, then remove all but the last two."""
        folder = self._directory / "checkpoints"
        write_directory(folder / f"step-{step:06d}", write)
        for old in sorted(folder.glob("step-??????"))[:-2]:
            shutil.rmtree(old)

    def export(self, step: int, write: Callable[[Path], None]) -> Checkpoint:
        """Write `model/` atomically and digest its weights."""
        path = self._directory / "model"
        write_directory(path, write)
        return Checkpoint(self._key, step, path, weights_digest(path))

    def scratch(self) -> Path:
        """An empty directory, which goes when the stage's directory is opened again."""
        path = self._directory / SCRATCH
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def rewind(self, step: int) -> None:
        """Drop events and rollouts of steps after `step`."""
        if self._events_file.exists():
            kept = [line for line in read_lines(self._events_file) if line["step"] <= step]
            write_atomic(self._events_file, b"".join(map(json_line, kept)))
        for file in (self._directory / "rollouts").glob("step-*.parquet"):
            if int(file.stem.removeprefix("step-")) > step:
                file.unlink()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Append one line, with the time, to the event log and tell the listeners."""
        line = {**event, "time": time.time()}
        with disk_errors(self._events_file), self._events_file.open("ab") as file:
            file.write(json_line(line))
        for listener in self._listeners:
            listener(self._name, line)

    def rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store a step's completions as one parquet file."""
        path = self._directory / "rollouts" / f"step-{step:06d}.parquet"
        with disk_errors(path):
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_name(path.name + ".tmp")
            keys = list(dict.fromkeys(key for row in rows for key in row))
            columns = {key: [row.get(key) for row in rows] for key in keys}
            pq.write_table(pa.table(columns), temporary)
            temporary.replace(path)

    def verdict(self, key: str) -> Verdict | None:
        """The verdict journaled under `key`, or None."""
        return self._journal.get(key)

    def verdicts(self) -> Mapping[str, Verdict]:
        """All journaled verdicts by key."""
        return self._journal

    def record(self, key: str, verdict: Verdict) -> None:
        """Journal a verdict; `infra` is not one."""
        if verdict.status == "infra":
            return
        self._journal[key] = verdict
        with disk_errors(self._journal_file), self._journal_file.open("ab") as file:
            file.write(json_line({"key": key, "verdict": asdict(verdict)}))

    def stopping(self) -> bool:
        """Whether an interrupt asked for a save and a stop."""
        return self._stop.is_set()


def last_checkpoint(directory: Path) -> Path | None:
    """The last complete training checkpoint of a stage directory."""
    found = sorted((directory / "checkpoints").glob("step-??????"))
    return found[-1] if found else None
