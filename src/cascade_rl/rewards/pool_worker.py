"""One verifier worker: messages of a few answers in, a verdict for each out, until EOF.

Both ends are ours; no candidate's code runs in this process, only in the sandbox below it. The
module imports little, because every worker pays for it when it starts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import pickle
import socket
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cascade_rl import types
from cascade_rl.sandbox import kernel
from cascade_rl.types import Verdict, unjudged

FLUSH_S = 0.005
"""Verdicts are sent at the end of a message, or once this many seconds old."""
SLOW_S = 0.05
"""A message that takes longer than this is given back, for the workers to share out again."""

Question = tuple[bytes, Any, str]
"""(pickled verifier, problem, text)"""
Reply = tuple[Verdict, float]
"""A verdict and the seconds it took here."""


class Replies(NamedTuple):
    """Some of a message's verdicts, in its order. After the `last` no more come, even if some
    questions are left: they could not be read, or others took longer than was expected."""

    verdicts: Sequence[Reply]
    last: bool
    unread: str = ""


_HEADER = struct.Struct(">Q")


def dumps(value: Any) -> bytes:
    """The value pickled as `Channel.receive` reads it."""
    written = io.BytesIO()
    pickler = pickle.Pickler(written, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _REDUCERS
    pickler.dump(value)
    return written.getvalue()


def _reducer(kind: type[Any]) -> Callable[[Any], tuple[type[Any], tuple[Any, ...]]]:
    names = [field.name for field in dataclasses.fields(kind)]
    return lambda value: (kind, tuple([getattr(value, name) for name in names]))


_REDUCERS = {
    kind: _reducer(kind)
    for kind in vars(types).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
"""Our nouns as calls of their constructors: half the time of what dataclasses do by themselves."""


class Channel:
    """Length-prefixed pickles over a socket, several of which may arrive in one read."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._read = bytearray()

    def send(self, value: Any, timeout_s: float | None = None) -> None:
        """One value. TimeoutError when the other end does not take it."""
        self.send_pickled(dumps(value), timeout_s)

    def send_pickled(self, body: bytes, timeout_s: float | None = None) -> None:
        """One value that `dumps` has pickled."""
        self._link.settimeout(timeout_s)
        self._link.sendall(_HEADER.pack(len(body)) + body)

    def receive(self, timeout_s: float | None = None) -> Any:
        """The next value; EOFError at the end of the stream, TimeoutError past the timeout.

        After a timeout the next call goes on where this one stopped.
        """
        self._link.settimeout(timeout_s)
        size = int.from_bytes(self._exactly(_HEADER.size)[: _HEADER.size], "big")
        body = self._exactly(_HEADER.size + size)
        self._read = body[_HEADER.size + size :]
        return pickle.loads(memoryview(body)[_HEADER.size : _HEADER.size + size])

    def _exactly(self, count: int) -> bytearray:
        while len(self._read) < count:
            part = self._link.recv(1 << 18)
            if not part:
                raise EOFError
            self._read += part
        return self._read

    def hang_up(self) -> None:
        """End the stream for both ends, whoever else holds a copy of the socket."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this process's end."""
        self._link.close()


def main(fd: int, parent: int, core: int | None) -> None:
    """Serve until the pool closes its end or dies; on one core, where one is given."""
    kernel.die_with_parent()
    if os.getppid() != parent:  # it died before the line above
        return
    if core is not None:
        with contextlib.suppress(OSError):  # taken from us since; any other will do
            os.sched_setaffinity(0, [core])
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # what a verifier prints is no output of the program that owns the pool
    channel = Channel(socket.socket(fileno=fd))
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answer(channel, _questions(channel))


def _questions(channel: Channel) -> Sequence[Question] | str:
    """The next message, or why it cannot be read."""
    try:
        return channel.receive()  # type: ignore[no-any-return]
    except (EOFError, OSError):
        raise
    except Exception as error:
        return f"the problem cannot be sent to a worker: {type(error).__name__}: {error}"


def _answer(channel: Channel, questions: Sequence[Question] | str) -> None:
    if isinstance(questions, str):
        channel.send(Replies([], True, questions))
        return
    replies: list[Reply] = []
    started = sent = begun = time.perf_counter()
    for left, question in zip(range(len(questions) - 1, -1, -1), questions, strict=True):
        verdict = _judge(*question)
        ended = time.perf_counter()
        replies.append((verdict, ended - begun))
        begun = ended
        last = left == 0 or ended - started > SLOW_S
        if last or ended - sent > FLUSH_S:
            channel.send(Replies(replies, last))
            replies, sent = [], ended
        if last:
            return


def _judge(pickled: bytes, problem: Any, text: str) -> Verdict:
    try:
        verdict = _verifier(pickled)(problem, text)
    except Exception:
        # A verifier that raises is our bug, never the answer's: not judged, and counted.
        return unjudged("infra", traceback.format_exc(limit=-3))
    if not isinstance(verdict, Verdict):
        return unjudged("infra", f"the verifier returned a {type(verdict).__name__}")
    return verdict


@functools.lru_cache(maxsize=64)
def _verifier(pickled: bytes) -> Any:
    return pickle.loads(pickled)
