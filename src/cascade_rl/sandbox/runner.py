"""The init of a sandbox: forks a program's processes, bounds them, collects, cleans up.

Runs as the first process of the sandbox's namespaces and is trusted; what it forks is not. It
serves one program after another: between two of them every process but itself is dead, and
scratch directory and System V objects are new. A
candidate holds four descriptors, all its own: its input, its output, nothing, and the file its
result goes to. Time is processor time, read from outside the process; wall clock only ends a
run that waits.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import socket
import tempfile
import time
from typing import Any

from cascade_rl.sandbox import kernel
from cascade_rl.sandbox.child import run_candidate, run_tester, serve_calls

Request = dict[str, Any]

OTHERS = 256
"""Processes of the same user that may run beside a sandbox without namespaces of its own: the
kernel's limit counts them all."""


def serve_program(request: Request, channel: socket.socket, *, namespaces: bool) -> Request:
    """Run the inputs in turn until one does not end well; the reply the requester reads."""
    control = channel.fileno()
    if namespaces:
        kernel.unshare(kernel.CLONE_NEWIPC)
    else:
        kernel.adopt_orphans()
    started, spent = time.monotonic(), _spent()
    results: list[str] = []
    status, reason = "ok", ""
    with _Scratch(request, namespaces) as scratch:
        for inputs in _process_inputs(request):
            scratch.empty()
            run = _Run({**request, "inputs": inputs}, control, namespaces)
            status, reason, found = run.finish()
            results += found
            if status != "ok":
                break
            if _spent() - spent > request["total_cpu_s"]:
                status, reason = "timeout", f"all inputs used {request['total_cpu_s']:g} s"
                break
    return {
        "status": status,
        "reason": reason,
        "results": results,
        "cpu_s": _spent() - spent,
        "wall_s": time.monotonic() - started,
    }


def _spent() -> float:
    """Processor time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _process_inputs(request: Request) -> list[list[Any]]:
    """The inputs of each process: a script's one by one, calls and test blocks all in one."""
    inputs = request["inputs"]
    return [[text] for text in inputs] if request["kind"] == "stdio" else [inputs]


class _Scratch:
    """A size-limited current directory, as new for every input and gone afterwards."""

    def __init__(self, request: Request, namespaces: bool) -> None:
        self._request, self._namespaces = request, namespaces
        self._path: str | None = None

    def empty(self) -> None:
        """Only the program's files, whatever an earlier input left."""
        if self._path is not None and not self._request["files"] and not os.listdir(self._path):
            os.chmod(self._path, 0o700)
            return  # untouched: a mount less
        self._remove()
        self._path = self._make()
        os.chdir(self._path)
        for name, text in self._request["files"]:
            os.makedirs(os.path.dirname(os.path.join(self._path, name)), exist_ok=True)
            with open(name, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
                file.write(text)

    def _make(self) -> str:
        if not self._namespaces:
            return tempfile.mkdtemp()
        options = f"mode=0700,size={self._request['disk_mb']}m,nr_inodes=4096"
        kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        return "/tmp"

    def _remove(self) -> None:
        if self._path is None:
            return
        os.chdir("/")
        if self._namespaces:
            kernel.unmount(self._path)
        else:
            shutil.rmtree(self._path, ignore_errors=True)

    def __enter__(self) -> _Scratch:
        return self

    def __exit__(self, *error: object) -> None:
        self._remove()


class _Run:
    """One process, or a pair, and the files they write to."""

    def __init__(self, request: Request, control: int, namespaces: bool) -> None:
        self.request, self.namespaces = request, namespaces
        self.control = control
        self.output = os.memfd_create("output")
        self.result = os.memfd_create("result")
        self.pids: list[int] = []
        if request["kind"] == "assert":
            self._start_pair()
        else:
            stdin = request["inputs"][0] if request["kind"] == "stdio" else ""
            self._start(lambda: run_candidate(request), self.result, _memory_file(stdin))

    def _start_pair(self) -> None:
        """The candidate serves calls; the test code runs beside it and owns the result."""
        ours, theirs = socket.socketpair()
        discarded = os.memfd_create("discarded")
        candidate = os.dup(theirs.fileno())
        tester = os.dup(ours.fileno())
        ours.close()
        theirs.close()
        self._start(lambda: run_tester(self.request), self.result, tester)
        self._start(lambda: serve_calls(self.request), discarded, candidate)

    def _start(self, body: Any, result: int, stdin: int) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                self._confine(stdin, result)
                body()
            finally:
                os._exit(120)
        self.pids.append(pid)
        os.close(stdin)
        if result != self.result:
            os.close(result)

    def _confine(self, stdin: int, result: int) -> None:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        # Duplicated out of the way first, so that no dup2 below overwrites a source.
        sources = [os.dup2(fd, 100 + n) for n, fd in enumerate((stdin, self.output, null, result))]
        for target, source in enumerate(sources):
            os.dup2(source, target)
        os.closerange(4, 65536)
        request = self.request
        memory, size = request["memory_mb"] << 20, request["output_bytes"] + 1
        seconds = int(request["cpu_s"] * len(request["inputs"])) + 2
        for what, limit in (
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_FSIZE, size),
            (resource.RLIMIT_NPROC, request["processes"] + (0 if self.namespaces else OTHERS)),
            (resource.RLIMIT_NOFILE, 64),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(what, (limit, limit))
        os.environ.clear()
        if self.namespaces:
            kernel.drop_capabilities()
        else:
            kernel.no_new_privileges()
        kernel.set_dumpable(False)

    def finish(self) -> tuple[str, str, list[str]]:
        """Wait within the limits, kill what is left: status, reason, results until then."""
        try:
            ended = self._wait()
            self._kill_all()
            return self._judge(ended)
        finally:
            os.close(self.output)
            os.close(self.result)

    def _wait(self) -> int | str:
        """The wait status of the process that owns the result, or why it was stopped."""
        watcher = os.pidfd_open(self.pids[0])
        poller = select.poll()
        poller.register(watcher, select.POLLIN)
        limit, written = self.request["cpu_s"], -1
        try:
            while True:
                used, now = max(map(kernel.cpu_seconds, self.pids)), time.monotonic()
                if (size := os.fstat(self.result).st_size) != written:
                    written, cpu_then, started = size, used, now  # the limits are an input's own
                cpu, wall = used - cpu_then, now - started
                if cpu >= limit:
                    return "cpu"
                if wall >= self.request["wall_s"] and _waits(cpu, wall, limit):
                    return "wall"
                if poller.poll(1000 * min(max(limit - cpu, 0.005), 0.25)):
                    return os.waitpid(self.pids[0], 0)[1]
        finally:
            os.close(watcher)

    def _kill_all(self) -> None:
        if self.namespaces:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # everything in this pid namespace but us
            _reap()
            return
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        while children := _children():
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _reap()

    def _judge(self, ended: int | str) -> tuple[str, str, list[str]]:
        limit, size = self.request["cpu_s"], self.request["output_bytes"]
        if os.fstat(self.output).st_size > size or os.fstat(self.result).st_size > size:
            return "output", f"wrote more than {size} bytes", []
        lines = _content(self.result, size).decode("ascii", "replace").splitlines()
        reported = [line[1:] for line in lines if line.startswith("V")]
        found = reported[: len(self.request["inputs"])]
        kind, message = (lines[-1][:1], lines[-1][1:]) if lines else ("", "")
        if ended == "cpu":
            return "timeout", f"used its {limit:g} s of processor time", found
        if ended == "wall":
            return "timeout", f"waited past {self.request['wall_s']:g} s", found
        assert isinstance(ended, int)
        if kind == "M":
            return "memory", f"needed more than {self.request['memory_mb']} MB", found
        if kind == "E":
            return "runtime", message[:500], found
        if os.WIFSIGNALED(ended):
            number = os.WTERMSIG(ended)
            if number == signal.SIGXCPU:
                return "timeout", f"used its {limit:g} s of processor time", found
            return "runtime", f"killed by signal {number}", found
        if self.request["kind"] == "stdio":
            if os.WEXITSTATUS(ended):
                return "runtime", f"exit status {os.WEXITSTATUS(ended)}", []
            return "ok", "", [_content(self.output, size).decode("latin-1")]
        if len(reported) != len(self.request["inputs"]):
            return "runtime", "ended without a result", found
        return "ok", "", found


def _waits(cpu: float, wall: float, limit: float) -> bool:
    """Whether a slow run is idle, rather than starved by a busy machine."""
    return cpu < 0.05 * wall or wall >= 10 * limit + 5


def _memory_file(text: str) -> int:
    fd = os.memfd_create("input")
    data = text.encode("utf-8", "surrogatepass")
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _content(fd: int, limit: int) -> bytes:
    return os.pread(fd, limit + 1, 0)


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
        return [int(pid) for pid in file.read().split()]


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
