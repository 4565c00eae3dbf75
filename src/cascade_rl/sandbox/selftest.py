"""What a tier really keeps out: attacks run at start, before any model's program is.

One rule: a tier is what its self-test shows, not what its system calls returned. A secret file, a
listening socket and a process are set up on the trusted side; programs then reach for them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from cascade_rl.sandbox.base import Limits, Outcome, Program

Run = Callable[[Program, Limits], Outcome]


@dataclass(frozen=True, slots=True)
class Finding:
    """One attack: whether the tier held, and what came back where it did not."""

    attack: str
    held: bool
    detail: str = ""


_WORKS = """\
def f(x):
    import sqlite3, random  # one of them is not loaded yet: the library must be reachable
    return [random.Random(1).randrange(x) >= 0, sum(range(x))]
"""

_REACH = """\
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)

def ok(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), 'refused')

def write(path):
    with open(path, 'w'):
        pass

def reach(name, secret, port, pid):
    if name == 'read a file of the host': open(secret).read()
    if name == 'write beside it': write(secret + '.written')
    if name == 'write to /var/tmp': write('/var/tmp/' + os.path.basename(secret))
    if name == 'write to /dev/shm': write('/dev/shm/' + os.path.basename(secret))
    if name == 'list /proc': os.listdir('/proc')
    if name == 'read the environment of its starter': open(f'/proc/{pid}/environ', 'rb').read()
    if name == 'read its own environment': os.environ['PATH']
    if name == 'connect to the loopback': socket.create_connection(('127.0.0.1', port), 1)
    if name == 'connect to an abstract socket':
        socket.socket(socket.AF_UNIX).connect('\\0' + os.path.basename(secret))
    if name == 'signal its starter': os.kill(pid, 0)
    if name == 'signal everyone': os.kill(-1, 0)
    if name == 'trace its starter': ok(libc.ptrace(0x4206, pid, 0, 0))
    if name == 'read memory of its parent': ok(libc.process_vm_readv(os.getppid(), 0, 0, 0, 0, 0))
    if name == 'change limits of its parent':
        import resource
        resource.prlimit(os.getppid() or 1, resource.RLIMIT_CPU)
    if name == 'make a user namespace': ok(libc.unshare(0x10000000))
    if name == 'mount': ok(libc.mount(b'none', b'/', b'tmpfs', 0, b''))
    if name == 'use io_uring': ok(libc.syscall(425, 1, ctypes.create_string_buffer(256)))
    if name == 'leave shared memory': ok(libc.shmget(7, 4096, 0o1666))
    if name == 'start a process': os._exit(9) if os.fork() == 0 else os.wait()
    if name == 'execute a program': os.execv('/bin/true', ['true'])
    if name == 'become root': os.setuid(0)

def f(*arguments):
    try:
        reach(*arguments)
    except (OSError, KeyError, AttributeError, ValueError) as error:
        return ''
    return 'reached'
"""
REACHES = tuple(
    line.split("'")[1] for line in _REACH.splitlines() if line.startswith("    if name == ")
)


def examine(run: Run) -> tuple[Finding, ...]:
    """Run every attack; the tier holds when every finding does."""
    works = run(Program(_WORKS, "call", ((10,),), entry_point="f"), Limits())
    findings = [_finding("be honest and fail", works.results == ([True, 45],), works)]
    if works.status == "infra":
        return tuple(findings)
    with tempfile.TemporaryDirectory() as directory:
        secret = os.path.join(directory, f"canary-{os.getpid()}")
        with open(secret, "w", encoding="ascii") as file:
            file.write("secret")
        os.chmod(directory, 0o755)
        with socket.create_server(("127.0.0.1", 0)) as server, _listening(secret):
            port = server.getsockname()[1]
            for name in REACHES:
                given = (name, secret, port, os.getpid())
                outcome = run(Program(_REACH, "call", (given,), entry_point="f"), Limits())
                findings.append(_finding(name, outcome.results == ("",), outcome))
        findings.append(_left_behind(secret))
    loop = Program("while True: pass", "stdio", ("",))
    stopped = run(loop, Limits(cpu_s=0.05))
    findings.append(_finding("never end", stopped.status == "timeout", stopped))
    bomb = run(Program("x = bytearray(1 << 30)", "stdio", ("",)), Limits(memory_mb=256))
    findings.append(_finding("take a gigabyte", bomb.status == "memory", bomb))
    return tuple(findings)


def _left_behind(secret: str) -> Finding:
    """Whether a file was written anywhere it was tried; it is removed."""
    name, found = os.path.basename(secret), []
    for path in (f"{secret}.written", f"/var/tmp/{name}", f"/dev/shm/{name}"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            found.append(path)
    return Finding("leave a file", not found, ", ".join(found))


def _listening(secret: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind("\0" + os.path.basename(secret))
    server.listen()
    return server


def _finding(attack: str, held: bool, outcome: Outcome) -> Finding:
    detail = "" if held else f"{outcome.status}: {outcome.reason or outcome.results!r}"[:200]
    return Finding(attack, held, detail)
