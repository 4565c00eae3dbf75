"""One verifier worker: pickled `(verifier, problem, text)` in, pickled verdict out, until EOF.

Both ends are ours; no candidate's code runs in this process, only in the sandbox below it.
"""

from __future__ import annotations

import pickle
import socket
import struct
import traceback
from typing import Any

from cascade_rl.sandbox import kernel
from cascade_rl.types import Verdict, unjudged

_HEADER = struct.Struct(">Q")


def send(channel: socket.socket, value: Any) -> None:
    """One length-prefixed pickle."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    channel.sendall(_HEADER.pack(len(body)) + body)


def receive(channel: socket.socket) -> Any:
    """The next value; EOFError at the end of the stream, TimeoutError past its timeout."""
    (size,) = _HEADER.unpack(_exactly(channel, _HEADER.size))
    return pickle.loads(_exactly(channel, size))


def _exactly(channel: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = channel.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def main(fd: int) -> None:
    """Serve until the pool closes its end or dies."""
    kernel.die_with_parent()
    channel = socket.socket(fileno=fd)
    while True:
        try:
            send(channel, _judge(*receive(channel)))
        except (EOFError, OSError):
            return


def _judge(verifier: Any, problem: Any, text: str) -> Verdict:
    try:
        verdict = verifier(problem, text)
    except Exception:
        # A verifier that raises is our bug, never the answer's: not judged, and counted.
        return unjudged("infra", traceback.format_exc(limit=-3))
    if not isinstance(verdict, Verdict):
        return unjudged("infra", f"the verifier returned a {type(verdict).__name__}")
    return verdict
