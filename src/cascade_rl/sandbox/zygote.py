"""The warm process behind every isolated run: `main(fd, tier, compiler)` is its life.

It is started once with an empty environment and a bare interpreter, imports the standard
library, gives up what its tier can give up of the machine (in T1: namespaces, a read-only root
without home, /proc or network, a non-root uid), and forks an init, which turns each request on
the socket into processes of their own and leaves nothing of them behind. An init that ends is
replaced. Standard library only.
"""

from __future__ import annotations

import _socket  # bare: `socket` brings modules along whose pages every fork would copy
import atexit
import gc
import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

from cascade_rl.sandbox import bubblewrap, kernel, landlock
from cascade_rl.sandbox.child import COMMON, warm_up
from cascade_rl.sandbox.runner import Init
from cascade_rl.sandbox.tiers import (
    DEVICES,
    FIRST_UID,
    T1,
    T1B,
    T2,
    T3,
    TOOLCHAIN,
    Confinement,
    Scratch,
    library_paths,
)

PRELOADED = "collections copy functools itertools json math operator re string time typing".split()
"""What nearly every program imports, and no more: each page and mapping costs every fork. A
template imports what its program names besides (`child.COMMON`)."""
NOBODY = 65534


def send_frame(channel: _socket.socket, message: Any) -> None:
    """One length-prefixed JSON message."""
    body = json.dumps(message).encode("ascii")
    channel.sendall(len(body).to_bytes(8, "big") + body)


def receive_frame(channel: _socket.socket) -> Any:
    """The next message, or None at the end of the stream."""
    header = _receive_exactly(channel, 8)
    if header is None:
        return None
    body = _receive_exactly(channel, int.from_bytes(header, "big"))
    return None if body is None else json.loads(body)


def _receive_exactly(channel: _socket.socket, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = channel.recv(min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main(fd: int, tier: str, compiler: str | None) -> None:
    """Serve programs arriving on the socket `fd` until its other end closes.

    The first message says that the tier was reached, or why it was `refused`.
    """
    channel = _socket.socket(fileno=fd)
    # In T3 the library may be out of the programs' reach, for want of anything to show it with.
    for name in (*PRELOADED, *(COMMON if tier == T3 else ())):
        importlib.import_module(name)
    try:
        scratch = _enter(tier, compiler is not None)
    except OSError as error:
        send_frame(channel, {"refused": str(error)})
        return
    kernel.set_dumpable(False)
    atexit._clear()  # what the imports registered is no program's to run
    os.environ.clear()
    sys.path[:] = [path for path in sys.path if path]
    send_frame(channel, {"tier": tier})
    warm_up()
    gc.collect()
    gc.freeze()  # forks share these pages as long as no collection touches them
    try:
        while (status := _run_init(channel, tier, scratch, compiler)) is not None:
            send_frame(channel, {"ended": status})
    finally:
        if tier in (T2, T3):
            Scratch(tier, scratch).remove()


def _ask(channel: _socket.socket, results: list[str]) -> bool:
    """Whether the requester wants to see more than these results."""
    send_frame(channel, {"asked": results})
    reply = receive_frame(channel)
    return reply is not None and bool(reply["go_on"])


def _run_init(channel: _socket.socket, tier: str, scratch: str, compiler: str | None) -> int | None:
    """Fork the init that serves programs; its wait status, or None once the requester is gone."""
    namespaces = kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC
    pid = kernel.clone(namespaces if tier == T1 else 0)
    if pid == 0:
        code = 1
        try:
            kernel.die_with_parent()
            # Without a handler the first process of a namespace is deaf to its inhabitants.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            init = Init(Confinement(tier, scratch), compiler)
            while (request := receive_frame(channel)) is not None:
                send_frame(channel, init.serve(request, lambda part: _ask(channel, part)))
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


def _enter(tier: str, compiles: bool) -> str:
    """Give up what this tier gives up; the directory programs run in. Raises OSError."""
    if tier == T1:
        _in_a_child(lambda: _enter_namespaces(compiles))
        _enter_namespaces(compiles)
        return "/tmp"
    if tier == T1B:
        return bubblewrap.SCRATCH
    if tier == T2:
        os.close(landlock.ruleset(()))
    scratch = f"/tmp/cascade-{os.getppid()}-{os.urandom(8).hex()}"  # whose it is can be seen
    os.mkdir(scratch, 0o700)
    if os.geteuid() == 0:
        uid = FIRST_UID + int.from_bytes(os.urandom(3), "big")
        os.chown(scratch, uid, uid)
        if tier == T2 and not all(map(_readable_by_all, library_paths())):
            kernel.keep_capabilities()  # an interpreter under a closed home; Landlock stays
        _become(uid)
        kernel.drop_capabilities(keep_reading=tier == T2)
    return scratch


def _in_a_child(body: Callable[[], None]) -> None:
    """Try it where failing half-way leaves nothing. Raises OSError with what failed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            body()
            inner = kernel.clone(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
            if inner == 0:
                kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
                kernel.drop_capabilities()
                os._exit(0)
            if os.waitpid(inner, 0)[1]:
                os.write(writer, b"a process in new namespaces may not mount")
        except OSError as error:
            os.write(writer, str(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        reason = pipe.read().decode()
    os.waitpid(pid, 0)
    if reason:
        raise OSError(reason)


def _readable_by_all(path: str) -> bool:
    """Whether a user who owns nothing of it can list a directory."""
    if not os.path.isdir(path):
        return True
    real = os.path.realpath(path)
    parents = [real[:n] or "/" for n in range(len(real)) if real[n] == "/"]
    closed = [p for p in parents if not os.stat(p).st_mode & 0o001]
    return not closed and bool(os.stat(real).st_mode & 0o004)


def _enter_namespaces(compiles: bool) -> None:
    isolated = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    if os.geteuid() == 0:
        # Mounts first, as the real root, who can reach an interpreter under a 0700 home.
        kernel.unshare(isolated)
        _replace_root(compiles)
        _become(NOBODY)
        kernel.set_dumpable(True)  # else /proc/self belongs to root and the maps stay closed
        kernel.unshare(kernel.CLONE_NEWUSER)
        _map_ids(proc, NOBODY, NOBODY)
    else:
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(kernel.CLONE_NEWUSER | isolated)
        _map_ids(proc, uid, gid)
        _replace_root(compiles)
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


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _replace_root(compiles: bool) -> None:
    """A root with the interpreter's libraries read-only, three devices and an empty /tmp."""
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    root = "/tmp"
    libraries = {*library_paths(), *(TOOLCHAIN if compiles else ())}
    # The new root covers /tmp, so what lies under it is opened before and bound by descriptor.
    opened = {
        path: os.open(path, os.O_PATH)
        for path in sorted(libraries | set(DEVICES))
        if os.path.exists(path) and not os.path.islink(path)
    }
    links = {path: os.readlink(path) for path in libraries if os.path.islink(path)}
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
    for path, fd in opened.items():
        target = root + path
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        if path in DEVICES:
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
