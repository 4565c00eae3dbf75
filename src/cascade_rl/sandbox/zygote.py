"""The warm process behind every isolated run: `main(fd, allow_namespaces)` is its life.

It is started once with an empty environment and a bare interpreter, imports the standard
library, gives up the machine (namespaces, a read-only root without home, /proc or network, a
non-root uid), and forks an init, which turns each request on the socket into processes of
their own and leaves nothing of them behind. An init that ends is replaced. Standard library only.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from cascade_rl.sandbox import kernel
from cascade_rl.sandbox.runner import serve_program

PRELOADED = (
    "abc array ast atexit bisect calendar cmath collections contextlib copy dataclasses datetime "
    "decimal enum fractions functools hashlib heapq importlib inspect io itertools json logging "
    "math numbers operator pprint queue random re statistics string struct textwrap threading "
    "time traceback types typing unittest uuid bz2 zlib encodings.ascii encodings.latin_1 "
    "encodings.idna encodings.utf_16 encodings.cp1252"
).split()
NOBODY = 65534
TIER_NAMESPACES, TIER_RLIMITS = "T1-namespaces", "T3-rlimits"
_SHARED_READ_ONLY = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


def send_frame(channel: socket.socket, message: Any) -> None:
    """One length-prefixed JSON message."""
    body = json.dumps(message).encode("ascii")
    channel.sendall(len(body).to_bytes(8, "big") + body)


def receive_frame(channel: socket.socket) -> Any:
    """The next message, or None at the end of the stream."""
    header = _receive_exactly(channel, 8)
    if header is None:
        return None
    body = _receive_exactly(channel, int.from_bytes(header, "big"))
    return None if body is None else json.loads(body)


def _receive_exactly(channel: socket.socket, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = channel.recv(min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main(fd: int, allow_namespaces: bool) -> None:
    """Serve programs arriving on the socket `fd` until its other end closes."""
    channel = socket.socket(fileno=fd)
    for name in PRELOADED:
        importlib.import_module(name)
    tier = TIER_RLIMITS
    if allow_namespaces and _try_namespaces():
        _enter_namespaces()
        tier = TIER_NAMESPACES
    elif os.geteuid() == 0:
        _become_nobody()
    kernel.set_dumpable(False)
    sys.path[:] = [path for path in sys.path if path]
    send_frame(channel, {"tier": tier})
    gc.collect()
    gc.freeze()  # forks share these pages as long as no collection touches them
    while (status := _run_init(channel, namespaces=tier == TIER_NAMESPACES)) is not None:
        send_frame(channel, {"ended": status})


def _run_init(channel: socket.socket, *, namespaces: bool) -> int | None:
    """Fork the init that serves programs; its wait status, or None once the requester is gone."""
    flags = kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC if namespaces else 0
    pid = kernel.clone(flags) if namespaces else os.fork()
    if pid == 0:
        code = 1
        try:
            kernel.die_with_parent()
            # Without a handler the first process of a namespace is deaf to its inhabitants.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            while (request := receive_frame(channel)) is not None:
                send_frame(channel, serve_program(request, channel, namespaces=namespaces))
            code = 0
        finally:
            os._exit(code)
    watcher = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(watcher, select.POLLIN)
    poller.register(channel, 0)  # hang-up only
    ready = dict(poller.poll())
    os.close(watcher)
    if channel.fileno() in ready:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return None if channel.fileno() in ready else status


# --- giving up the machine --------------------------------------------------------------------


def _try_namespaces() -> bool:
    """Whether a child of this process manages the whole way, one forked program included."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _enter_namespaces()
            inner = kernel.clone(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
            if inner == 0:
                kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
                kernel.drop_capabilities()
                os._exit(0)
            code = os.waitpid(inner, 0)[1]
        finally:
            os._exit(1 if code else 0)
    return os.waitpid(pid, 0)[1] == 0


def _enter_namespaces() -> None:
    isolated = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    if os.geteuid() == 0:
        # Mounts first, as the real root, who can reach an interpreter under a 0700 home.
        kernel.unshare(isolated)
        _replace_root()
        _become_nobody()
        kernel.set_dumpable(True)  # else /proc/self belongs to root and the maps stay closed
        kernel.unshare(kernel.CLONE_NEWUSER)
        _map_ids(proc, NOBODY, NOBODY)
    else:
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(kernel.CLONE_NEWUSER | isolated)
        _map_ids(proc, uid, gid)
        _replace_root()
    # No user namespace inside this one: a program cannot gain capabilities in one of its own.
    _write(proc, "sys/user/max_user_namespaces", "0")
    os.close(proc)


def _map_ids(proc: int, uid: int, gid: int) -> None:
    _write(proc, "self/setgroups", "deny")
    _write(proc, "self/uid_map", f"{uid} {uid} 1")
    _write(proc, "self/gid_map", f"{gid} {gid} 1")


def _write(directory: int, path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _replace_root() -> None:
    """A root with the interpreter's libraries read-only, three devices and an empty /tmp."""
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    root = "/tmp"
    libraries = {os.path.join(sys.base_prefix, name) for name in ("lib", "lib64")}
    libraries.update(_SHARED_READ_ONLY)
    # The new root covers /tmp, so what lies under it is opened before and bound by descriptor.
    opened = {
        path: os.open(path, os.O_PATH)
        for path in sorted(libraries | set(_DEVICES))
        if os.path.exists(path) and not os.path.islink(path)
    }
    links = {path: os.readlink(path) for path in libraries if os.path.islink(path)}
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
    for path, fd in opened.items():
        target = root + path
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        if path in _DEVICES:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        else:
            os.makedirs(target, mode=0o755, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{fd}", target, "", kernel.MS_BIND | kernel.MS_REC)
        os.close(fd)
    for path, destination in links.items():
        os.makedirs(os.path.dirname(root + path), mode=0o755, exist_ok=True)
        if not os.path.lexists(root + path):
            os.symlink(destination, root + path)
    os.makedirs(root + "/tmp", exist_ok=True)
    kernel.make_read_only(root)
    kernel.pivot_root(root)
