"""One worker process as the pool sees it: started when asked, replaced when it dies or hangs.

The rule: past the deadline an answer is at fault only when it really computed for that long.
A worker that waits is ours to replace, and one that a busy machine starves is waited for.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from cascade_rl.rewards.pool_worker import Channel, Question, Replies, dumps

_SOURCE = str(Path(__file__).resolve().parents[2])
_LOOK_S = 0.5
"""How often a worker that says nothing is looked at; an answer that comes sooner costs no look."""


class Computing(Exception):
    """The worker and what runs under it have used the deadline as processor time."""


class Unsendable(Exception):
    """Some question cannot be pickled; nothing was sent."""


class WorkerProcess:
    """A worker process, started at its first question. One thread asks; any may `hang_up`.

    With a `core` it and all it starts run there and nowhere else.
    """

    def __init__(self, closing: threading.Event, core: int | None = None) -> None:
        self._closing, self._core = closing, core
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    def ask(self, questions: Sequence[Question], timeout_s: float) -> None:
        """Send questions; `replies` gives their verdicts.

        Raises Unsendable, or EOFError or OSError (TimeoutError) if the worker takes them not.
        """
        try:
            body = dumps(list(questions))
        except Exception as error:  # whatever an object of the caller's raises there
            raise Unsendable(f"{type(error).__name__}: {error}") from error
        self._started()[1].send_pickled(body, timeout_s)

    def replies(self, deadline_s: float) -> Replies:
        """The next verdicts on the questions asked.

        Past the deadline raises Computing when that much processor time was used, TimeoutError
        when the worker idles, and waits on when it is merely starved by a busy machine. Raises
        EOFError or OSError if it died or the pool closes.
        """
        process, channel = self._started()
        before, started = None, time.monotonic()
        while True:
            if self._closing.is_set():
                raise EOFError
            try:
                found = channel.receive(min(_LOOK_S, deadline_s))
                assert isinstance(found, Replies)
                return found
            except TimeoutError:
                pass
            if before is None:  # reading it takes milliseconds: most answers come before
                before = tree_seconds(process.pid)
            wall = time.monotonic() - started
            if wall < deadline_s:
                continue
            used = tree_seconds(process.pid) - before
            if used >= deadline_s:
                raise Computing
            if used < 0.05 * wall or wall > 20 * deadline_s:
                raise TimeoutError

    def _started(self) -> tuple[subprocess.Popen[bytes], Channel]:
        if self._process is None or self._channel is None:
            ours, theirs = socket.socketpair()
            code = (
                f"import sys; sys.path[:] = {[_SOURCE, *sys.path]!r}; "
                "from cascade_rl.rewards.pool_worker import main; "
                f"main({theirs.fileno()}, {os.getpid()}, {self._core})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            theirs.close()
            self._channel = Channel(ours)
            if self._closing.is_set():  # `hang_up` may have come before there was a channel
                raise EOFError
        return self._process, self._channel

    def kill(self) -> str:
        """End it at once and say how it ended; the next question starts another."""
        ended = "did not start"
        if self._process is not None and self._channel is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # ending by itself right now
                self._process.wait(timeout=0.05)
            found = self._process.returncode
            ended = "was ended" if found is None else f"ended with status {found}"
            self._process.kill()
            self._process.wait()
            self._channel.close()
        self._process = self._channel = None
        return ended

    def stop(self) -> None:
        """Let it end by itself, which closes its sandbox, within five seconds."""
        if self._process is not None and self._channel is not None:
            self._channel.hang_up()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        self.kill()

    def hang_up(self) -> None:
        """Wake the thread that waits for this worker, with EOFError."""
        if self._channel is not None:
            self._channel.hang_up()

    def forget(self) -> None:
        """In a forked child: the worker is the parent's; drop our copy of its socket."""
        if self._process is not None and self._channel is not None:
            self._channel.close()
            self._process.returncode = 0  # not ours to wait for, nor to warn about
        self._process = self._channel = None


def tree_seconds(pid: int) -> float:
    """Processor seconds of a process and everything it started, ended children included."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = member.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total
