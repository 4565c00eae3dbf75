"""C++ programs: compiled once, as untrusted as they run, the binary kept by its source's digest.

A source can include any file, loop in a template or write a gigabyte of errors, so the compiler
runs under a program's limits too; it may start processes, its driver being one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

FLAGS = ("-x", "c++", "-std=gnu++17", "-O2", "-pipe", "-fno-diagnostics-color", "-w", "-o")
KEPT = 8
"""Binaries in memory; each a megabyte at most for what contests ask."""

CompileWith = Callable[[list[str], str], tuple[str, str]]
"""(command, its output's path) -> (status, reason)."""


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
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        if digest in self._binaries:
            self._binaries.move_to_end(digest)
            return self._binaries[digest], "ok", ""
        target = os.path.join(directory, "program")
        status, reason = compile_with([self._path, *FLAGS, target, "-"], target)
        if status != "ok":
            return None, "runtime", f"compile error: {reason}"
        fd = _in_memory(target)
        if fd is None:
            return None, "runtime", "compile error: no binary"
        self._binaries[digest] = fd
        if len(self._binaries) > KEPT:
            os.close(self._binaries.popitem(last=False)[1])
        return fd, "ok", ""


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
