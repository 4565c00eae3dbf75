"""The process that calls the audited function: standard library only, under any interpreter.

Run as `python worker.py REQUESTS REPLIES`, two descriptors. The first process only shields its
parent and adopts what is orphaned below it; its child imports the function and answers requests,
one JSON line each. A reply is a line that begins with a nonce the child keeps to itself, so what
a candidate writes to every descriptor it finds is not taken for one.
"""

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import site
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SAFE_FD = 700
"""Above the descriptors that candidates close or write to."""


def main(requests: int, replies: int) -> int:
    """Shield: fork the worker, reap everything below, end with the worker."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    worker = os.fork()
    if worker == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _serve(requests, replies)
        os._exit(0)
    os.close(requests)
    os.close(replies)
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _serve(requests: int, replies: int) -> None:
    requests = _move(requests, _SAFE_FD)
    replies = _move(replies, _SAFE_FD + 1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    lines = _lines(requests)
    setup = next(lines)
    for name, limit in setup["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    nonce = setup["nonce"]
    sys.path[:] = [*setup["path"], *sys.path[1:]]  # instead of this file's own folder
    try:
        function = _load(setup["target"])
    except BaseException as error:
        _reply(replies, nonce, {"kind": "unimportable", "detail": _said(error)})
        return
    _reply(replies, nonce, {"kind": "ready", "detail": "", "places": _places()})
    for request in lines:
        _reply(replies, nonce, _answer(function, request))


def _lines(fd: int) -> Iterator[dict[str, Any]]:
    """One JSON object a line, until the other end closes; the descriptor may not block."""
    data = b""
    while True:
        select.select([fd], [], [])
        try:
            part = os.read(fd, 1 << 20)
        except BlockingIOError:
            continue
        if not part:
            return
        data += part
        while b"\n" in data:
            line, _, data = data.partition(b"\n")
            yield json.loads(line)


def _move(fd: int, to: int) -> int:
    os.dup2(fd, to, inheritable=False)
    os.close(fd)
    return to


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{target} is a {type(found).__name__}; expected a function")
    return found


def _places() -> list[str]:
    """Folders of this interpreter that a hostile program might write to."""
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), *site.getsitepackages()}
    own = site.getusersitepackages()
    while own != os.path.dirname(own):
        places.add(own)
        own = os.path.dirname(own)
    return sorted(places)


def _answer(function: Any, request: dict[str, Any]) -> dict[str, Any]:
    if not request["thread"]:
        return _call(function, request)
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(_call(function, request)), daemon=True)
    thread.start()
    thread.join()
    return found[0] if found else {"kind": "raised", "detail": "its thread ended", "seconds": 0.0}


def _call(function: Any, request: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        reply = _reading(_invoke(function, request))
    except BaseException as error:
        reply = {"kind": "raised", "detail": _said(error)}
    return {**reply, "seconds": time.perf_counter() - started}


def _invoke(function: Any, request: dict[str, Any]) -> Any:
    """Call it as its framework does: verl 0.9 by keyword, TRL 1.16 by column, plain by place."""
    text, truth, extra = request["text"], request["truth"], request["extra"]
    if request["signature"] == "verl":
        return function(
            data_source=request["data_source"],
            solution_str=text,
            ground_truth=truth,
            extra_info=dict(extra),
        )
    if request["signature"] == "trl":
        rewards = function(
            prompts=[[{"role": "user", "content": ""}]],
            completions=[[{"role": "assistant", "content": text}]],
            completion_ids=[[0]],
            ground_truth=[truth],
            solution=[truth],
        )
        if len(rewards) != 1:
            raise ValueError(f"{len(rewards)} rewards for 1 completion")
        return rewards[0]
    return function(text, truth)


def _reading(result: Any) -> dict[str, Any]:
    """The reward in a number, a tuple's first, a dict's `score`, or an object with `score`."""
    status = getattr(result, "status", None)
    reason = getattr(result, "reason", "")
    if isinstance(result, dict):
        status, reason = result.get("status"), result.get("reason", "")
        result = result["score"]
    elif isinstance(result, (tuple, list)):
        result = result[0]
    elif hasattr(result, "score"):
        result = result.score
    detail = f"{status}: {reason}" if status else ""
    if result is None:
        return {"kind": "none", "detail": detail}
    number = float(result)
    if number != number or number in (float("inf"), float("-inf")):
        return {"kind": "raised", "detail": f"returned {number}"}
    return {"kind": "score", "score": number, "detail": detail}


def _said(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:
        text = "(an error without a text)"
    return f"{type(error).__name__}: {text}"


def _reply(fd: int, nonce: str, reply: dict[str, Any]) -> None:
    reply["detail"] = str(reply["detail"])[:500]
    data = f"\n{nonce} {json.dumps(reply)}\n".encode("ascii")
    while data:
        select.select([], [fd], [])
        with suppress(BlockingIOError):
            data = data[os.write(fd, data) :]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
