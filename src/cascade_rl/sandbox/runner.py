"""The init of a sandbox: forks a program's processes, bounds them, collects, cleans up.

Runs as the first process of the sandbox's namespaces and is trusted; what it forks is not. It
serves one program after another: between two of them every process but itself is dead and the
scratch directory is new. A candidate holds four descriptors, all its own: its input, its output,
nothing, and the file its result goes to. Time is processor time, read from outside the process;
wall clock only ends a run that waits.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from cascade_rl.sandbox import kernel
from cascade_rl.sandbox.child import (
    prepare_script,
    run_candidate,
    run_script,
    run_tester,
    serve_calls,
)
from cascade_rl.sandbox.compiler import Compiler
from cascade_rl.sandbox.tiers import T1, T3, Confinement, Request, What

_KEPT_FD = 4
Ended = int | str
"""A wait status, or why a run was stopped: `cpu` or `wall`."""


class Init:
    """Serves programs; what lasts from one to the next is here."""

    def __init__(self, confinement: Confinement, compiler: str | None) -> None:
        self.confinement = confinement
        self._compiler = Compiler(compiler)
        if confinement.tier != T1:
            kernel.adopt_orphans()

    def serve(self, request: Request, ask: Callable[[list[str]], bool]) -> Request:
        """Run the inputs in turn until one does not end well; the reply the requester reads.

        Where the request says so, `ask` is given a script's new results after 1, 2, 4, 8 ...
        inputs and says whether to go on.
        """
        started, spent = time.monotonic(), _spent()
        request = {**request, "began": started, "spent_before": spent}
        status, reason, results = self._run(request, spent, ask)
        return {
            "status": status,
            "reason": reason,
            "results": results,
            "cpu_s": _spent() - spent,
            "wall_s": time.monotonic() - started,
        }

    def _run(
        self, request: Request, spent: float, ask: Callable[[list[str]], bool]
    ) -> tuple[str, str, list[str]]:
        results: list[str] = []
        asked = 0
        with Files() as files:
            binary = None
            if request["language"] == "cpp":
                binary, status, reason = self._compiled(request, files)
                if binary is None:
                    return status, reason, []
            self._renew(request)
            with _starter(request, self.confinement, files, binary) as start:
                parts = _process_inputs(request)
                for n, inputs in enumerate(parts):
                    if n:
                        self._renew(request)
                    run = Run(
                        {**request, "inputs": inputs},
                        self.confinement,
                        files,
                        starts_others=not self.confinement.one_process,
                    )
                    status, reason, found = run.finish(start)
                    results += found
                    if status != "ok":
                        break
                    if request["asks"] and n + 1 == max(1, 2 * asked) < len(parts):
                        if not ask(results[asked:]):
                            break
                        asked = n + 1
                    if n + 1 < len(parts) and _spent() - spent > request["total_cpu_s"]:
                        limit = f"{request['total_cpu_s']:g} s of processor time"
                        return "timeout", f"{n + 1} inputs used the program's {limit}", results
        return status, reason, results

    def _renew(self, request: Request) -> None:
        self.confinement.scratch.renew(request["files"], request["disk_mb"])

    def _compiled(self, request: Request, files: Files) -> tuple[int | None, str, str]:
        """The program's binary, or the status and reason that there is none."""

        def compile_with(command: list[str], path: str) -> tuple[str, str]:
            scratch = self.confinement.scratch
            scratch.renew([], Compiler.DISK_MB)
            limits = {**Compiler.LIMITS, "files": [], "inputs": [request["source"]]}
            limits["kind"] = "stdio"
            run = Run({**request, **limits}, self.confinement, files, starts_others=True)
            start = Forker(run.request, self.confinement, files, "compiler", lambda: _exec(command))
            status, reason, _ = run.finish(start)
            return status, reason if status != "runtime" else files.text().strip() or reason

        return self._compiler.binary(request["source"], self.confinement.scratch.path, compile_with)


def _exec_binary() -> None:
    os.set_inheritable(_KEPT_FD, False)
    os.execve(_KEPT_FD, ["program"], {})


def _exec(command: list[str]) -> None:
    os.dup2(1, 2)  # a compiler's complaints are what is wanted
    os.execve(command[0], command, {"PATH": "/usr/bin:/bin", "TMPDIR": "."})


def _spent() -> float:
    """Processor time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _process_inputs(request: Request) -> list[list[Any]]:
    """The inputs of each process: a script's one by one, calls and test blocks all in one."""
    inputs = request["inputs"]
    return [[text] for text in inputs] if request["kind"] == "stdio" else [inputs]


class Files:
    """What a program reads and writes, in memory: its input, its output and its result."""

    def __init__(self) -> None:
        self.input, self.output, self.result = map(os.memfd_create, ("input", "output", "result"))

    def renew(self, text: str) -> None:
        """Empty but for the input, and every offset at the start."""
        for fd in (self.input, self.output, self.result):
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
        data = memoryview(text.encode("utf-8", "surrogatepass"))
        written = 0
        while written < len(data):
            written += os.pwrite(self.input, data[written:], written)

    def text(self) -> str:
        """The start of the output."""
        return os.pread(self.output, 2000, 0).decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for fd in (self.input, self.output, self.result):
            os.close(fd)


# --- starting processes -----------------------------------------------------------------------


Body = Callable[[], None]


class Forker:
    """Starts a run's processes by forking this one: a program, a compiler, a binary, a pair."""

    def __init__(
        self,
        request: Request,
        confinement: Confinement,
        files: Files,
        what: What,
        body: Body,
        binary: int | None = None,
    ) -> None:
        self._request, self._confinement = request, confinement
        self._files, self._what, self._body = files, what, body
        self._kept = () if binary is None else (binary,)

    def __enter__(self) -> Forker:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def processes(self) -> list[int]:
        """The new processes' pids; the first owns the result."""
        files = self._files
        if self._request["kind"] != "assert":
            return [self._start(self._body, files.input, files.result)]
        # The candidate serves calls; the test code runs beside it and owns the result.
        ours, theirs = socket.socketpair()
        discarded = os.memfd_create("discarded")
        request = self._request
        pids = [
            self._start(lambda: run_tester(request), ours.fileno(), files.result),
            self._start(lambda: serve_calls(request), theirs.fileno(), discarded),
        ]
        os.close(discarded)
        ours.close()
        theirs.close()
        return pids

    def _start(self, body: Body, stdin: int, result: int) -> int:
        pid = kernel.fork()
        if pid == 0:
            try:
                self._confinement.restrict(self._what)
                _hold(self._confinement, stdin, self._files.output, result, *self._kept)
                self._confinement.limit(self._request, self._what, _seconds(self._request))
                self._confinement.close(self._what)
                body()
            finally:
                os._exit(120)
        return pid


class Template:
    """Starts a script's processes from one that has been confined and has compiled it.

    It runs nothing of the candidate's; for each input it makes a sibling, which does.
    """

    def __init__(self, request: Request, confinement: Confinement, files: Files) -> None:
        self._channel, theirs = socket.socketpair()
        self._pid = kernel.fork()
        if self._pid == 0:
            try:
                confinement.restrict("program")
                _hold(confinement, files.input, files.output, files.result, theirs.fileno())
                confinement.limit(request, "program", _seconds(request))
                self._serve(request, confinement, _KEPT_FD)
            finally:
                os._exit(120)
        theirs.close()

    def _serve(self, request: Request, confinement: Confinement, control: int) -> None:
        script = prepare_script(request["source"])
        while os.read(control, 1):
            pid = kernel.fork(kernel.CLONE_PARENT)
            if pid == 0:
                os.close(control)
                os.chdir(confinement.scratch.path)  # maybe mounted anew since the template's
                confinement.close("program")
                run_script(script)
            os.write(control, pid.to_bytes(4, "little"))
        os._exit(0)

    def __enter__(self) -> Template:
        return self

    def __exit__(self, *error: object) -> None:
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def processes(self) -> list[int]:
        """The next input's process; the template itself where it has died over the source."""
        try:
            self._channel.sendall(b"+")
            reply = self._channel.recv(4)
        except OSError:
            reply = b""
        return [int.from_bytes(reply, "little") if len(reply) == 4 else self._pid]


Starter = Forker | Template


def _starter(
    request: Request, confinement: Confinement, files: Files, binary: int | None
) -> Starter:
    if binary is not None:
        return Forker(request, confinement, files, "binary", _exec_binary, binary)
    if request["kind"] == "stdio" and len(request["inputs"]) > 1 and confinement.one_process:
        return Template({**request, "inputs": [""]}, confinement, files)
    return Forker(request, confinement, files, "program", lambda: run_candidate(request))


def _seconds(request: Request) -> int:
    """What the kernel itself allows a process; a little more than we do."""
    return int(request["cpu_s"] * len(request["inputs"])) + 2


def _hold(confinement: Confinement, *wanted: int) -> None:
    """A session of its own, and these as descriptors 0, 1, 3 and, where there is one, 4."""
    os.setsid()
    stdin, output, result, *kept = wanted
    # Duplicated out of the way first, so that no dup2 below overwrites a source.
    sources = (stdin, output, confinement.null, result, *kept)
    for target, source in enumerate([os.dup2(fd, 100 + n) for n, fd in enumerate(sources)]):
        os.dup2(source, target)
    os.closerange(_KEPT_FD + len(kept), 65536)


# --- one run ----------------------------------------------------------------------------------


class Run:
    """The processes of one input (or of all calls), watched until they end."""

    def __init__(
        self, request: Request, confinement: Confinement, files: Files, *, starts_others: bool
    ) -> None:
        self.request, self._confinement, self._files = request, confinement, files
        self._starts_others = starts_others
        self._pids: list[int] = []

    def finish(self, start: Starter) -> tuple[str, str, list[str]]:
        """Start, wait within the limits, kill what is left: status, reason, results until then."""
        stdin = self.request["inputs"][0] if self.request["kind"] == "stdio" else ""
        self._files.renew(stdin)
        self._confinement.others()
        self._pids = start.processes()
        ended = self._wait()
        self._kill_all()
        return self._judge(ended)

    def _wait(self) -> Ended:
        """The wait status of the process that owns the result, or why it was stopped."""
        watcher = os.pidfd_open(self._pids[0])
        poller = select.poll()
        poller.register(watcher, select.POLLIN)
        limit, written = self.request["cpu_s"], -1
        try:
            while True:
                used, now = max(map(kernel.cpu_seconds, self._pids)), time.monotonic()
                if (size := os.fstat(self._files.result).st_size) != written:
                    written, cpu_then, started = size, used, now  # the limits are an input's own
                cpu, wall = used - cpu_then, now - started
                if cpu >= limit or used >= self.request["total_cpu_s"]:
                    return "cpu"
                if wall >= self.request["wall_s"] and _waits(cpu, wall, limit):
                    return "wall"
                if self._has_idled(used, now):
                    return "wall"
                if poller.poll(1000 * min(max(limit - cpu, 0.005), 0.25)):
                    return os.waitpid(self._pids[0], 0)[1]
        finally:
            os.close(watcher)

    def _has_idled(self, used: float, now: float) -> bool:
        """Whether all inputs together have mostly slept, each of them within its own limits."""
        wall = now - self.request["began"]
        if wall < self.request["total_cpu_s"]:
            return False
        spent = _spent() - self.request["spent_before"] + used
        return bool(spent < 0.1 * wall)

    def _kill_all(self) -> None:
        """End the run's processes and, where they could start others, those too."""
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if self._starts_others else os.kill)(pid, signal.SIGKILL)
        if self._starts_others and self._confinement.tier == T1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # everything in this pid namespace but us
        elif self._starts_others and self._confinement.tier == T3:
            _end_children()
        _reap(None if self._starts_others else self._pids)

    def _judge(self, ended: Ended) -> tuple[str, str, list[str]]:
        limit, size = self.request["cpu_s"], self.request["output_bytes"]
        output, result = self._files.output, self._files.result
        if os.fstat(output).st_size > size or os.fstat(result).st_size > size:
            return "output", f"wrote more than {size} bytes", []
        lines = _content(result, size).decode("ascii", "replace").splitlines()
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
            if number == signal.SIGXFSZ:
                return "output", f"wrote more than {size} bytes", found
            return "runtime", f"killed by signal {number}", found
        if self.request["kind"] == "stdio":
            if os.WEXITSTATUS(ended):
                return "runtime", f"exit status {os.WEXITSTATUS(ended)}", []
            return "ok", "", [_content(output, size).decode("latin-1")]
        if len(reported) != len(self.request["inputs"]):
            return "runtime", "ended without a result", found
        return "ok", "", found


def _waits(cpu: float, wall: float, limit: float) -> bool:
    """Whether a slow run is idle, rather than starved by a busy machine."""
    return cpu < 0.05 * wall or wall >= 10 * limit + 5


def _content(fd: int, limit: int) -> bytes:
    return os.pread(fd, limit + 1, 0)


def _reap(pids: list[int] | None) -> None:
    """Wait for these children, or for all there are."""
    with contextlib.suppress(ChildProcessError):
        while pids is None:
            os.waitpid(-1, 0)
    for pid in pids or ():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _end_children() -> None:
    """Kill and reap until this process has no child; it adopts orphans."""
    while children := _children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(children)


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
        return [int(pid) for pid in file.read().split()]
