"""The trusted side of the zygote: start it, send a program, read what came of it.

One `ZygoteSandbox` serves one process and is safe to share between its threads. A zygote that
dies or stops answering is replaced; the run that met it is repeated once, then is `infra`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cascade_rl.sandbox.base import Limits, Outcome, Program
from cascade_rl.sandbox.values import NotPlain, decode, encode

_PACKAGE = Path(__file__).resolve().parent.parent
# A bare stand-in for the package: its __init__ and whatever that imports stay out of the zygote.
_BOOTSTRAP = (
    "import sys, types; package = types.ModuleType('cascade_rl'); package.__path__ = [{path!r}]; "
    "sys.modules['cascade_rl'] = package; from cascade_rl.sandbox.zygote import main; "
    "main({fd}, {namespaces})"
)
_GRACE_S = 10.0


class ZygoteLost(Exception):
    """The zygote died or stopped answering; never the program's doing."""


class ZygoteSandbox:
    """Runs programs in clones of one warm process. `tier` says how isolated they are."""

    def __init__(self, *, allow_namespaces: bool = True) -> None:
        self._allow_namespaces = allow_namespaces
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._owner = os.getpid()
        self._tier = ""

    @property
    def tier(self) -> str:
        """`T1-namespaces` or `T3-rlimits`; starts the zygote to find out."""
        with self._lock:
            self._ensure_started()
        return self._tier

    def run(self, program: Program, limits: Limits) -> Outcome:
        """Run every input in turn until one does not end well. Never raises for the program.

        A run that used up its processor time is a time-out at once. One that waited too long
        is tried once more with twice the wall clock, so that a busy machine decides nothing.
        """
        outcome = self._run(program, limits, limits.wall_s)
        if outcome.status == "timeout" and outcome.reason.startswith("waited"):
            outcome = self._run(program, limits, 2 * limits.wall_s)
        return outcome

    def _run(self, program: Program, limits: Limits, wall_s: float) -> Outcome:
        request = _request(program, limits, wall_s)
        lost = ""
        for _attempt in range(2):
            with self._lock:
                try:
                    self._ensure_started()
                    return self._exchange(program, request)
                except (ZygoteLost, OSError) as error:
                    lost = str(error)
                    self._stop()
        return Outcome("infra", (), f"sandbox: {lost}", tier=self._tier)

    def _exchange(self, program: Program, request: dict[str, Any]) -> Outcome:
        channel = self._channel
        assert channel is not None
        longest = max(request["wall_s"], 10 * request["cpu_s"] + 5)
        deadline = time.monotonic() + len(program.inputs) * longest + _GRACE_S
        _send_frame(channel, request, deadline)
        reply = _receive_frame(channel, deadline)
        if "ended" in reply:
            raise ZygoteLost(f"the program's init ended with status {reply['ended']}")
        return _outcome(program, reply, self._tier)

    def _ensure_started(self) -> None:
        if self._owner != os.getpid():  # forked: the socket belongs to the parent
            self._process, self._channel, self._owner = None, None, os.getpid()
        if self._process is not None:
            return
        ours, theirs = socket.socketpair()
        code = _BOOTSTRAP.format(
            path=str(_PACKAGE), fd=theirs.fileno(), namespaces=self._allow_namespaces
        )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", code],
            env={},
            cwd="/",
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._channel = ours
        atexit.register(self.close)
        self._tier = _receive_frame(ours, time.monotonic() + 60)["tier"]

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None

    def close(self) -> None:
        """End the zygote and everything under it; a later run starts a new one."""
        with self._lock:
            if self._owner == os.getpid():
                self._stop()
        atexit.unregister(self.close)


def _request(program: Program, limits: Limits, wall_s: float) -> dict[str, Any]:
    inputs = program.inputs
    if program.kind == "call":
        inputs = tuple(encode(a if type(a) is dict else tuple(a)) for a in inputs)
    return {
        "kind": program.kind,
        "source": program.source,
        "inputs": inputs,
        "entry_point": program.entry_point,
        "setup": program.setup,
        "files": program.files,
        "cpu_s": limits.cpu_s,
        "total_cpu_s": limits.total_cpu_s,
        "wall_s": wall_s,
        "memory_mb": limits.memory_mb,
        "output_bytes": limits.output_bytes,
        "disk_mb": limits.disk_mb,
        "processes": limits.processes,
    }


def _outcome(program: Program, reply: dict[str, Any], tier: str) -> Outcome:
    status, reason, results = reply["status"], reply["reason"], []
    for text in reply["results"]:
        if program.kind == "stdio":
            results.append(text.encode("latin-1"))
            continue
        try:
            results.append(decode(text))
        except NotPlain as error:
            status, reason = "violation", f"forged result: {error}"
            break
    return Outcome(status, tuple(results), reason, reply["cpu_s"], reply["wall_s"], tier)


def _send_frame(channel: socket.socket, message: Any, deadline: float) -> None:
    body = json.dumps(message).encode("ascii")
    channel.settimeout(max(deadline - time.monotonic(), 0.01))
    channel.sendall(len(body).to_bytes(8, "big") + body)


def _receive_frame(channel: socket.socket, deadline: float) -> dict[str, Any]:
    size = int.from_bytes(_receive_exactly(channel, 8, deadline), "big")
    message = json.loads(_receive_exactly(channel, size, deadline))
    assert isinstance(message, dict)
    return message


def _receive_exactly(channel: socket.socket, count: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        channel.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            part = channel.recv(min(count - len(data), 1 << 20))
        except TimeoutError:
            raise ZygoteLost("no answer before the deadline") from None
        if not part:
            raise ZygoteLost("the zygote ended")
        data += part
    return bytes(data)


@functools.cache
def default_sandbox() -> ZygoteSandbox:
    """The one sandbox of this process, started at the first program."""
    return ZygoteSandbox()
