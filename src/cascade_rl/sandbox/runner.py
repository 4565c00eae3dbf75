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
import time
from collections.abc import Callable
from typing import Any

from cascade_rl.sandbox import kernel
from cascade_rl.sandbox.compiler import Compiler
from cascade_rl.sandbox.processes import Files, Forker, Starter, exec_compiler, starter
from cascade_rl.sandbox.tiers import T1, T3, Confinement, Request

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
            try:
                self._renew(request)
            except (OSError, ValueError) as error:
                return "runtime", f"its files cannot be written: {error}", []
            with starter(request, self.confinement, files, binary) as start:
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

        def compile_with(command: list[str]) -> tuple[str, str]:
            scratch = self.confinement.scratch
            scratch.renew([], Compiler.DISK_MB)
            limits = {**Compiler.LIMITS, "files": [], "inputs": [request["source"]]}
            limits["kind"] = "stdio"
            run = Run({**request, **limits}, self.confinement, files, starts_others=True)
            start = Forker(
                run.request, self.confinement, files, "compiler", lambda: exec_compiler(command)
            )
            status, reason, _ = run.finish(start)
            return status, reason if status != "runtime" else files.text().strip() or reason

        return self._compiler.binary(request["source"], self.confinement.scratch.path, compile_with)


def _spent() -> float:
    """Processor time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _process_inputs(request: Request) -> list[list[Any]]:
    """The inputs of each process: a script's one by one, calls and test blocks all in one."""
    inputs = request["inputs"]
    return [[text] for text in inputs] if request["kind"] == "stdio" else [inputs]


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
        inputs_left = 1 if self.request["kind"] == "stdio" else len(self.request["inputs"])
        cpu_then, started = 0.0, time.monotonic()  # of a program without any
        try:
            while True:
                used, now = max(map(kernel.cpu_seconds, self._pids)), time.monotonic()
                size = os.fstat(self._files.result).st_size
                if size != written and inputs_left:  # the limits are an input's own
                    written, cpu_then, started = size, used, now
                    inputs_left -= 1
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
