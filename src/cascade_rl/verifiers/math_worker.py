"""Math-Verify behind a hard deadline: a warm process that forks the process which computes.

A hung or bloated computation is killed from outside and a fresh fork takes its place in
milliseconds, so `verify_math` works in any thread, sets no alarm, and leaves nothing running.
"""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from cascade_rl.sandbox import kernel

DEADLINE_S = 3.0
"""Processor seconds of one comparison."""
_MEMORY = 1 << 30
_SOURCE = str(Path(__file__).resolve().parents[2])


class MathWorkerLost(Exception):
    """The warm process ended; ours, not the answer's doing."""


class MathWorker:
    """`equal(reference, found)` for LaTeX texts; one a process, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._owner = os.getpid()

    def equal(self, reference: str, found: str) -> bool | None:
        """Whether Math-Verify takes them for equal; None past the deadline or memory limit.

        Raises MathWorkerLost when the worker died twice in a row.
        """
        with self._lock:
            for _attempt in range(2):
                try:
                    return self._ask(reference, found)
                except OSError:
                    self._stop()
        raise MathWorkerLost("the Math-Verify process ended")

    def _ask(self, reference: str, found: str) -> bool | None:
        self._ensure_started()
        assert self._channel is not None
        self._channel.sendall(json.dumps([reference, found]).encode("ascii") + b"\n")
        reply = self._channel.recv(1)
        if reply not in (b"1", b"0", b"?"):
            raise OSError("no reply")
        return None if reply == b"?" else reply == b"1"

    def _ensure_started(self) -> None:
        if self._owner != os.getpid():
            self._process, self._channel, self._owner = None, None, os.getpid()
        if self._process is not None:
            return
        ours, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path.insert(0, {_SOURCE!r}); "
            f"from cascade_rl.verifiers.math_worker import main; main({theirs.fileno()})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._channel = ours
        atexit.register(self.close)

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._process = self._channel = None

    def close(self) -> None:
        """End the worker; a later comparison starts a new one."""
        with self._lock:
            self._stop()
        atexit.unregister(self.close)


@functools.cache
def default_worker() -> MathWorker:
    """The one Math-Verify worker of this process, started at the first comparison."""
    return MathWorker()


# --- inside the warm process ------------------------------------------------------------------


def main(fd: int) -> None:
    """Serve lines of JSON `[reference, found]` with one byte each until the socket closes."""
    import math_verify  # noqa: F401  the warm part: seconds of import, once

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it announces our own deadline
    channel = socket.socket(fileno=fd)
    requests = channel.makefile("rb")
    worker: tuple[int, socket.socket] | None = None
    for line in requests:
        if worker is None:
            worker = _fork_worker(channel)
        reply = _forward(worker, line)
        if reply == b"?":
            _end(worker)
            worker = None
        channel.sendall(reply)
    if worker is not None:
        _end(worker)


def _fork_worker(channel: socket.socket) -> tuple[int, socket.socket]:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        kernel.die_with_parent()
        os.close(channel.fileno())
        ours.close()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        try:
            for line in theirs.makefile("rb"):
                theirs.sendall(b"1" if _equal(*json.loads(line)) else b"0")
        except MemoryError:
            pass
        finally:
            os._exit(0)
    theirs.close()
    return pid, ours


def _forward(worker: tuple[int, socket.socket], line: bytes) -> bytes:
    """The worker's byte; `?` once it has used its processor time or died."""
    pid, channel = worker
    before, started = kernel.cpu_seconds(pid), time.monotonic()
    channel.sendall(line)
    while kernel.cpu_seconds(pid) - before < DEADLINE_S:
        if time.monotonic() - started > 60 * DEADLINE_S:
            break
        if select.select([channel], [], [], 0.2)[0]:
            return channel.recv(1) or b"?"
    return b"?"


def _end(worker: tuple[int, socket.socket]) -> None:
    pid, channel = worker
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    channel.close()


def _equal(reference: str, found: str) -> bool:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    how = (LatexExtractionConfig(), ExprExtractionConfig())
    try:
        gold = parse(f"${reference}$", how, parsing_timeout=None)
        target = parse(f"${found}$", how, parsing_timeout=None)
        return bool(gold and target and verify(gold, target, timeout_seconds=None))
    except RecursionError:
        return False
