"""Verification in worker processes while generation goes on.

`submit` returns at once with a ticket; `gather` gives the verdicts in order of submission. A
worker that dies or idles is replaced, and its answer is tried once more; then it is `infra`, not
judged, and too many of those stop the stage. An answer is timed out only for processor time that
was really used, so a busy machine changes no verdict.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from cascade_rl.errors import TrainingError
from cascade_rl.rewards.pool_worker import receive, send
from cascade_rl.types import Problem, Verdict, Verifier, failed, unjudged

_SOURCE = str(Path(__file__).resolve().parents[2])
_FEW = 20
"""The circuit breaker looks at shares of at least this many verdicts."""

Ticket = Future[Verdict]
_Task = tuple[Verifier, Problem, str, Ticket]


@dataclass(slots=True)
class PoolStats:
    """What `gather` has handed out so far; `seconds` is the workers' wall clock."""

    verdicts: int = 0
    timeouts: int = 0
    infra: int = 0
    respawns: int = 0
    seconds: float = 0.0


class VerifierPool:
    """Worker processes that run verifiers. Use as a context manager, or `close()` it.

    `deadline_s` bounds one answer in a worker, above every verifier's own bounds.
    `breaker` is the share of `infra` verdicts above which `gather` raises TrainingError.
    Verifiers are pickled by reference: module-level functions.
    """

    def __init__(self, workers: int = 2, deadline_s: float = 120.0, breaker: float = 0.05) -> None:
        assert workers > 0 and deadline_s > 0
        self._deadline_s, self._breaker = deadline_s, breaker
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self.stats = PoolStats()
        self._threads = [
            threading.Thread(target=self._serve, name=f"verifier-{n}", daemon=True)
            for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, verifier: Verifier, problem: Problem, text: str) -> Ticket:
        """Queue one answer; the ticket's verdict is read with `gather`."""
        assert not self._closing.is_set(), "the pool is closed"
        ticket: Ticket = Future()
        self._tasks.put((verifier, problem, text, ticket))
        return ticket

    def gather(self, tickets: Sequence[Ticket]) -> list[Verdict]:
        """Wait for the tickets; their verdicts in the same order.

        Raises TrainingError when the share of `infra` among all verdicts exceeds the limit.
        """
        verdicts = [ticket.result() for ticket in tickets]
        stats = self.stats
        stats.verdicts += len(verdicts)
        stats.timeouts += sum(verdict.status == "timeout" for verdict in verdicts)
        stats.infra += sum(verdict.status == "infra" for verdict in verdicts)
        if stats.infra > self._breaker * max(stats.verdicts, _FEW):
            reason = next((v.reason for v in verdicts if v.status == "infra"), "")
            raise TrainingError(
                f"{stats.infra} of {stats.verdicts} answers could not be judged; "
                f"at most {self._breaker:.0%} may be. The last reason: {reason.strip()}",
                hint="see what this machine allows:  cascade doctor",
            )
        return verdicts

    def close(self) -> None:
        """End every worker and everything under it; unfinished tickets are cancelled."""
        self._closing.set()
        with contextlib.suppress(queue.Empty):
            while (task := self._tasks.get_nowait()) is None or task[3].cancel():
                pass
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def _serve(self) -> None:
        """One thread's life: own one worker, feed it tasks."""
        worker = _Worker(self._closing)
        try:
            while (task := self._tasks.get()) is not None:
                verifier, problem, text, ticket = task
                if not ticket.set_running_or_notify_cancel():
                    continue
                started = time.monotonic()
                ticket.set_result(self._judge(worker, (verifier, problem, text)))
                self.stats.seconds += time.monotonic() - started
        finally:
            worker.stop()

    def _judge(self, worker: _Worker, task: tuple[Verifier, Problem, str]) -> Verdict:
        reason = "the pool was closed"
        for _attempt in range(2):
            try:
                return worker.ask(task, self._deadline_s)
            except _Computing:
                worker.kill()
                return failed("timeout", f"verifying computed for {self._deadline_s:g} s")
            except TimeoutError:
                reason = f"no verdict within {self._deadline_s:g} s, twice"
            except (EOFError, OSError):
                reason = "the verifier's process died, twice"
            worker.kill()
            if self._closing.is_set():
                break
            self.stats.respawns += 1
        return unjudged("infra", reason)


class _Computing(Exception):
    """The worker and what runs under it have used the deadline as processor time."""


class _Worker:
    """A worker process, started at its first question."""

    def __init__(self, closing: threading.Event) -> None:
        self._closing = closing
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def ask(self, task: tuple[Verifier, Problem, str], deadline_s: float) -> Verdict:
        """The verdict.

        Past the deadline raises _Computing when that much processor time was used, TimeoutError
        when the worker idles, and waits on when it is merely starved by a busy machine. Raises
        EOFError or OSError if it died.
        """
        process, channel = self._started()
        before, started = None, time.monotonic()
        channel.settimeout(deadline_s)
        send(channel, task)
        while not self._answered(channel):
            if before is None:  # reading it takes milliseconds: most answers come before
                before = _tree_seconds(process.pid)
            wall = time.monotonic() - started
            if wall < deadline_s:
                continue
            used = _tree_seconds(process.pid) - before
            if used >= deadline_s:
                raise _Computing
            if used < 0.05 * wall or wall > 20 * deadline_s:
                raise TimeoutError
        channel.settimeout(deadline_s)
        verdict = receive(channel)
        assert isinstance(verdict, Verdict)
        return verdict

    def _answered(self, channel: socket.socket) -> bool:
        """Wait half a second for the first byte. EOFError at the end, or when the pool closes."""
        if self._closing.is_set():
            raise EOFError
        return bool(select.select([channel], [], [], 0.5)[0])

    def _started(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self._process is None or self._channel is None:
            ours, theirs = socket.socketpair()
            code = (
                f"import sys; sys.path[:] = {[_SOURCE, *sys.path]!r}; "
                f"from cascade_rl.rewards.pool_worker import main; main({theirs.fileno()})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            theirs.close()
            self._channel = ours
        return self._process, self._channel

    def kill(self) -> None:
        """End it at once; the next question starts another."""
        if self._process is not None and self._channel is not None:
            self._process.kill()
            self._process.wait()
            self._channel.close()
        self._process = self._channel = None

    def stop(self) -> None:
        """Let it end by itself, which closes its sandbox, within five seconds."""
        if self._process is not None and self._channel is not None:
            self._channel.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._process.kill()
            self._process.wait()
        self._process = self._channel = None


def _tree_seconds(pid: int) -> float:
    """Processor seconds of a process and everything it started, ended children included."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = member.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total
