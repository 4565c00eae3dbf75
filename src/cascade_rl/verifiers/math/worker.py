"""Math-Verify behind a hard deadline: a warm process that forks the one which computes.

The caller talks to the computing process directly; the warm one only forks and buries. A hung or
bloated computation is killed from outside and a fresh fork takes its place in milliseconds, so
`verify_math` works in any thread, sets no alarm, and leaves nothing running.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from cascade_rl.sandbox import kernel

DEADLINE_S = 3.0
"""Processor seconds of one comparison."""
_TICK_S = 0.2
_MEMORY = 1 << 30
_SOURCE = str(Path(__file__).resolve().parents[3])


class MathWorkerLost(Exception):
    """The warm process ended; ours, not the answer's doing."""


class MathWorker:
    """`equal(reference, found)` for LaTeX texts; one a process, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._forker: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._channel: socket.socket | None = None
        self._pid = 0

    def equal(self, reference: str, found: str) -> bool | None:
        """Whether Math-Verify takes them for equal; None past the deadline or memory limit.

        Raises MathWorkerLost when the worker died twice in a row.
        """
        request = json.dumps([reference, found]).encode("ascii") + b"\n"
        with self._lock:
            for _attempt in range(2):
                try:
                    return self._ask(request)
                except OSError:
                    self._stop()
        raise MathWorkerLost("the Math-Verify process ended")

    def _ask(self, request: bytes) -> bool | None:
        self._ensure_started()
        assert self._channel is not None
        try:
            self._channel.sendall(request)
        except BrokenPipeError:  # it died between two requests
            self._replace()
            self._channel.sendall(request)
        reply = self._reply()
        if reply in (b"1", b"0"):
            return reply == b"1"
        self._replace()
        return None

    def _reply(self) -> bytes:
        """The computing process's byte; nothing once it has used its processor time or died."""
        assert self._channel is not None
        before, started = None, time.monotonic()
        while time.monotonic() - started < 60 * DEADLINE_S:
            try:
                return self._channel.recv(1)
            except TimeoutError:
                used = kernel.cpu_seconds(self._pid)
                before = used if before is None else before
                if used - before >= DEADLINE_S - _TICK_S:
                    break
            except ConnectionResetError:
                break
        return b""

    def _ensure_started(self) -> None:
        if self._owner != os.getpid():  # forked: the parent's worker is not ours
            self._stop()
            self._owner = os.getpid()
        if self._forker is not None:
            return
        ours, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path.insert(0, {_SOURCE!r}); "
            f"from cascade_rl.verifiers.math.worker import main; main({theirs.fileno()})"
        )
        self._forker = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._control = ours
        atexit.register(self.close)
        self._replace()

    def _replace(self) -> None:
        """Bury the computing process, if there is one, and get a fresh one."""
        assert self._control is not None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._control.sendall(b"f")
        message, descriptors, _flags, _address = socket.recv_fds(self._control, 32, 1)
        if not descriptors:
            raise OSError("no computing process")
        self._channel = socket.socket(fileno=descriptors[0])
        self._channel.settimeout(_TICK_S)
        self._pid = int(message)

    def _stop(self) -> None:
        for channel in (self._channel, self._control):
            if channel is not None:
                channel.close()
        if self._forker is not None and self._owner == os.getpid():
            self._forker.kill()
            self._forker.wait()
        self._forker = self._control = self._channel = None

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


def main(control_fd: int) -> None:
    """For every byte on the control socket: kill the computing process and fork the next one.

    The answer is the new pid, with one end of its channel as a descriptor.
    """
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it announces our own deadline
    math_verify.verify(math_verify.parse("$1$"), math_verify.parse("$2$"))  # the warm part
    control = socket.socket(fileno=control_fd)
    pid = 0
    while control.recv(1):
        _bury(pid)
        theirs, channel = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            _compute(channel, control, theirs)
        with contextlib.suppress(OSError):  # who asked is gone: the next recv says so
            socket.send_fds(control, [str(pid).encode()], [theirs.fileno()])
        theirs.close()
        channel.close()
    _bury(pid)


def _bury(pid: int) -> None:
    if pid:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _compute(channel: socket.socket, *others: socket.socket) -> NoReturn:
    """Answer lines of JSON `[reference, found]` with one byte each until the channel closes."""
    try:
        kernel.die_with_parent()
        for other in others:
            other.close()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        with channel.makefile("rb") as requests:
            for line in requests:
                channel.sendall(b"1" if _equal(*json.loads(line)) else b"0")
    except (MemoryError, OSError):
        pass
    finally:
        os._exit(0)


def _equal(reference: str, found: str) -> bool:
    from math_verify import verify

    try:
        gold, target = _parsed_reference(reference), _parse(found)
        # Twelve digits, not Math-Verify's six: a rounded value is another value.
        return bool(
            gold and target and verify(gold, target, float_rounding=12, timeout_seconds=None)
        )
    except RecursionError:
        return False


def _parse(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    # LaTeX only: the reader of plain expressions ends in Python's eval.
    found: list[Any] = parse(f"${text}$", (LatexExtractionConfig(),), parsing_timeout=None)
    return found


@functools.lru_cache(maxsize=256)
def _parsed_reference(reference: str) -> list[Any]:
    return _parse(reference)
