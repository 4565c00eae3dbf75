"""Crash-safe files: written under a temporary name, synced, renamed.

One rule: a final name never holds half a file. What ends in `.tmp` is garbage after a crash.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade_rl.errors import CheckpointError, OutputError

MANIFEST = "manifest.json"


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a sentence; what was committed is untouched."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"no space left while writing {path}; everything committed before is intact",
                hint="free some space and run the same command again: it continues",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that `path` holds either the old or the new bytes."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_directory(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary directory, add a manifest of sizes, rename it to `path`."""
    with disk_errors(path):
        temporary = path.with_name(path.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        files = sorted(p for p in temporary.rglob("*") if p.is_file())
        sizes = {str(p.relative_to(temporary)): p.stat().st_size for p in files}
        (temporary / MANIFEST).write_text(json.dumps(sizes, indent=1))
        for file in [*files, temporary / MANIFEST]:
            _sync(file)
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
        _sync_directory(path.parent)


def check_directory(path: Path, hint: str) -> None:
    """Raise CheckpointError unless every file of the manifest is there at its full size."""
    try:
        sizes = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        raise CheckpointError(f"{path} has no readable {MANIFEST}", hint=hint) from None
    for name, size in sizes.items():
        file = path / name
        found = file.stat().st_size if file.exists() else None
        if found != size:
            what = "is missing" if found is None else f"is truncated: {found} bytes"
            raise CheckpointError(f"{file} {what}, expected {size} bytes", hint=hint)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; a torn last line, left by a crash, is dropped."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    found = [json.loads(line) for line in lines[:-1] if line]
    return found


def repair_lines(path: Path) -> None:
    """Cut a torn last line off, so that the next append starts a line of its own."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        write_atomic(path, whole)


def json_line(value: Any) -> bytes:
    """One compact JSON line."""
    return (json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n").encode()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    _sync(path)
