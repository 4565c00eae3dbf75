"""C++ programs: compiled once, as untrusted as they run, the binary kept by its source.

A source can include any file, loop in a template or write a gigabyte of errors, so the compiler
runs under a program's limits too; it may start processes, its driver being one.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

FLAGS = ("-x", "c++", "-std=gnu++17", "-O2", "-pipe", "-fno-diagnostics-color", "-w", "-o")
KEPT, KEPT_BYTES = 8, 32 << 20
"""Binaries in memory, and their bytes together (the last one is kept whatever its size)."""

CompileWith = Callable[[list[str]], tuple[str, str]]
"""command -> (status, reason)."""


class Compiler:
    """g++, where there is one."""

    DISK_MB = 64
    LIMITS: ClassVar[dict[str, Any]] = {
        "cpu_s": 10.0, "total_cpu_s": 10.0, "wall_s": 30.0, "memory_mb": 1536,
        "output_bytes": 64 << 20, "processes": 24,
    }  # fmt: skip

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._binaries: OrderedDict[str, int] = OrderedDict()

    def binary(
        self, source: str, directory: str, compile_with: CompileWith
    ) -> tuple[int | None, str, str]:
        """A descriptor of the binary; or None, the status and the reason."""
        if self._path is None:
            return None, "infra", "no C++ compiler; install g++ where /usr/bin holds it"
        if source in self._binaries:
            self._binaries.move_to_end(source)
            return self._binaries[source], "ok", ""
        target = os.path.join(directory, "program")
        status, reason = compile_with([self._path, *FLAGS, target, "-"])
        if status != "ok":
            return None, "runtime", f"compile error: {reason}"
        fd = _in_memory(target)
        if fd is None:
            return None, "runtime", "compile error: no binary"
        self._binaries[source] = fd
        while len(self._binaries) > 1 and (len(self._binaries) > KEPT or self._size() > KEPT_BYTES):
            os.close(self._binaries.popitem(last=False)[1])
        return fd, "ok", ""

    def _size(self) -> int:
        return sum(os.fstat(fd).st_size for fd in self._binaries.values())


def _in_memory(path: str) -> int | None:
    """A copy that no later program can touch; None for anything but a regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        copy = os.memfd_create("program")
        while data := os.read(fd, 1 << 20):
            while data:
                data = data[os.write(copy, data) :]
        os.fchmod(copy, 0o500)
        return copy
    finally:
        os.close(fd)
