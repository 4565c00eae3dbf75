"""The parent of the audited process: start it, ask it within a deadline, find what it left.

Everything started below it is its own session's, and orphans come back to us (a subreaper), so
nothing escapes the count or the kill. One surprise: a function may keep helpers of its own, a
pool or a server; those alive after the right answers are its household, what is there beyond
their number after an attack was left by the attack.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from cascade_rl.audit.canaries import Canaries
from cascade_rl.audit.corpus import Form
from cascade_rl.errors import InputError
from cascade_rl.sandbox import kernel

Signature = Literal["verl", "trl", "plain"]
_WORKER = Path(__file__).with_name("worker.py")
_START_S = 180.0
_GRACE_S = 2.0
"""How long helpers may take to end by themselves after an answer."""
_READINGS = 2
"""A process that forks while the list is read may be in none: it must be empty twice."""
ORPHAN = "audit-orphan"
"""What payloads that leave a process behind call it, where they can."""


@dataclass(frozen=True, slots=True)
class Target:
    """The function under audit and how to call it.

    `python` is the interpreter it runs under, which needs nothing of ours. `thread` calls it
    from a thread that is not the main one, as verl's reward loop does.
    """

    name: str
    signature: Signature = "plain"
    form: Form = "rows"
    thread: bool = False
    data_source: str = "taco"
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_gb: float = 6.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call came to; `score` only for kind `score`."""

    kind: Literal["score", "none", "raised", "died", "hung"]
    seconds: float
    score: float = 0.0
    detail: str = ""


class Host:
    """Keeps one audited process. A new one replaces it when it hangs or dies. Close it."""

    def __init__(self, target: Target, canaries: Canaries) -> None:
        self._target, self._canaries = target, canaries
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = self._replies = -1
        self._nonce, self._buffer = "", b""
        self._household, self._settled = 0, False
        self._others = set(psutil.Process().children(recursive=True))
        kernel.adopt_orphans()

    def ask(self, text: str, truth: str, deadline_s: float) -> Reply:
        """Call the function once."""
        if self._process is None:
            self._start()
        target = self._target
        request = {
            "text": text, "truth": truth, "signature": target.signature,
            "thread": target.thread, "data_source": target.data_source,
            "extra": {"index": 0, "split": "train"},
        }  # fmt: skip
        started = time.monotonic()
        reply = self._exchange(request, deadline_s)
        seconds = time.monotonic() - started
        if reply["kind"] in ("died", "hung"):
            self.stop()
        return Reply(
            reply["kind"], reply.get("seconds", seconds), reply.get("score", 0.0), reply["detail"]
        )

    @property
    def warm(self) -> bool:
        """Whether the process is alive and its household was counted since it started."""
        return self._process is not None and self._settled

    def settle(self) -> None:
        """Take what is alive now for the function's household."""
        self._household = max(self._household, len(self._family()))
        self._settled = True

    def leftovers(self) -> list[str]:
        """Processes that an answer left: named ones at once, others beyond the household."""
        end = time.monotonic() + _GRACE_S
        clean = 0
        while clean < _READINGS:
            family = self._family()
            orphans = [name for name in map(_name, family) if name == ORPHAN]
            extra = len(family) - self._household if self._process is not None else 0
            if not orphans and extra <= 0:
                clean += 1
                time.sleep(0.005)
            elif time.monotonic() >= end:
                return [f"left {max(len(orphans), extra)} processes running"]
            else:
                clean = 0
                time.sleep(0.05)
        return []

    def stop(self) -> None:
        """Kill the process and everything below it; the next question starts another."""
        for fd in (self._requests, self._replies):
            if fd >= 0:
                os.close(fd)
        self._requests = self._replies = -1
        for _round in range(50):
            family = self._family()
            if not family:
                break
            for process in family:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
            psutil.wait_procs(family, timeout=1.0)
        if self._process is not None:
            self._process.wait()
        self._process = None
        for process in psutil.Process().children():
            if process not in self._others:  # orphans that came to us and have ended
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)

    def close(self) -> None:
        """End it: by itself first, so that what it keeps is put away, then by force."""
        if self._requests >= 0 and self._process is not None:
            os.close(self._requests)
            self._requests = -1
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        self.stop()

    def _start(self) -> None:
        interpreter = shutil.which(self._target.python)
        if interpreter is None:
            raise InputError(
                f"{self._target.python} is not a program",
                hint="name an interpreter by path:  --python /path/to/bin/python",
            )
        request_read, self._requests = os.pipe()
        self._replies, reply_write = os.pipe()
        target = self._target
        self._process = subprocess.Popen(
            [str(Path(interpreter).absolute()), str(_WORKER), str(request_read), str(reply_write)],
            pass_fds=(request_read, reply_write),
            env={**os.environ, **target.environment, **self._canaries.environment},
            cwd=self._canaries.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(request_read)
        os.close(reply_write)
        self._nonce, self._buffer, self._settled = secrets.token_hex(16), b"", False
        memory = int(target.memory_gb * (1 << 30))
        limits = {"RLIMIT_AS": memory, "RLIMIT_FSIZE": 256 << 20, "RLIMIT_CORE": 0}
        setup = {
            "target": target.name, "nonce": self._nonce, "limits": limits, "path": _path(),
        }  # fmt: skip
        reply = self._exchange(setup, _START_S)
        if reply["kind"] != "ready":
            self.stop()
            raise InputError(
                f"cannot import {target.name} with {target.python}: {reply['detail']}",
                hint="name a function as MODULE:FUNCTION, and its interpreter with --python",
            )
        self._canaries.watch(reply["places"])

    def _exchange(self, request: Mapping[str, Any], deadline_s: float) -> dict[str, Any]:
        """Send a line and wait for the reply with the nonce; `died` or `hung` without one."""
        end = time.monotonic() + deadline_s
        data = json.dumps(request).encode("ascii") + b"\n"
        os.set_blocking(self._requests, False)
        mark = f"\n{self._nonce} ".encode("ascii")
        alive = True
        while alive and time.monotonic() < end:
            alive = self._process is not None and self._process.poll() is None
            writing = [self._requests] if data else []
            readable, writable, _ = select.select([self._replies], writing, [], 0.1)
            try:
                if writable:
                    data = data[os.write(self._requests, data) :]
            except BrokenPipeError:
                alive = False
            part = os.read(self._replies, 1 << 20) if readable else b""
            alive = alive and bool(part or not readable)
            self._buffer += part
            _, found, rest = self._buffer.rpartition(mark)
            if found and b"\n" in rest:
                line, self._buffer = rest.partition(b"\n")[0], b""
                reply = json.loads(line)
                assert isinstance(reply, dict)
                return reply
            self._buffer = self._buffer[-(1 << 20) :]
        if alive:
            return {"kind": "hung", "detail": f"no answer in {deadline_s:g} s"}
        return {"kind": "died", "detail": "its process ended"}

    def _family(self) -> list[psutil.Process]:
        """Everything alive below us that was not there before the audit."""
        family = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process not in self._others and process.status() != psutil.STATUS_ZOMBIE:
                    family.append(process)
        return family


def _path() -> list[str]:
    """Where the user's module may be: the current directory."""
    return [os.getcwd()]


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""
