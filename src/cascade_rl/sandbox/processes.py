"""How a program's processes start: forked from the init, or from a template that has compiled it.

What a process holds is all that it is given here: its input, its output, nothing, the file its
result goes to. Between the fork and the candidate's first instruction only our code runs.
"""

from __future__ import annotations

import _socket  # bare: `socket` brings modules along whose pages every fork would copy
import contextlib
import os
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cascade_rl.sandbox import kernel
from cascade_rl.sandbox.child import (
    import_common,
    prepare_script,
    run_candidate,
    run_script,
    run_tester,
    serve_calls,
)
from cascade_rl.sandbox.tiers import Confinement, Request, What

_KEPT_FD = 4


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
        ours, theirs = _socket.socketpair()
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
                _hold(stdin, self._files.output, result, *self._kept)
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
        self._channel, theirs = _socket.socketpair()
        self._channel.settimeout(10 * request["cpu_s"] + 5)
        self._pid = kernel.fork()
        if self._pid == 0:
            try:
                confinement.restrict("program")
                _hold(files.input, files.output, files.result, theirs.fileno())
                confinement.limit(request, "program", _seconds(request))
                self._serve(request, confinement, _KEPT_FD)
            finally:
                os._exit(120)
        theirs.close()

    def _serve(self, request: Request, confinement: Confinement, control: int) -> None:
        if not request["files"]:  # which might be called like a module of the library
            import_common(request["source"])
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
        if len(reply) < 4:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        return [int.from_bytes(reply, "little") if len(reply) == 4 else self._pid]


Starter = Forker | Template


def starter(
    request: Request, confinement: Confinement, files: Files, binary: int | None
) -> Starter:
    """How this program's processes are started; a context manager around all of its inputs."""
    if binary is not None:
        return Forker(request, confinement, files, "binary", exec_binary, binary)
    if request["kind"] == "stdio" and len(request["inputs"]) > 1 and confinement.one_process:
        return Template({**request, "inputs": [""]}, confinement, files)
    return Forker(request, confinement, files, "program", lambda: run_candidate(request))


def _seconds(request: Request) -> int:
    """What the kernel itself allows a process; a little more than we do."""
    return int(request["cpu_s"] * len(request["inputs"])) + 2


def _hold(*wanted: int) -> None:
    """A session of its own, and these as descriptors 0, 1, 3 and, where there is one, 4."""
    os.setsid()
    stdin, output, result, *kept = wanted
    null = os.open("/dev/null", os.O_RDWR)  # its own: locks on a shared one would stay
    # Duplicated out of the way first, so that no dup2 below overwrites a source.
    sources = (stdin, output, null, result, *kept)
    for target, source in enumerate([os.dup2(fd, 100 + n) for n, fd in enumerate(sources)]):
        os.dup2(source, target)
    os.closerange(_KEPT_FD + len(kept), 65536)


def exec_binary() -> None:
    """Turn this process into the compiled program that it was given."""
    os.set_inheritable(_KEPT_FD, False)
    os.execve(_KEPT_FD, ["program"], {})


def exec_compiler(command: list[str]) -> None:
    """Turn this process into a compiler."""
    os.dup2(1, 2)  # a compiler's complaints are what is wanted
    os.execve(command[0], command, {"PATH": "/usr/bin:/bin", "TMPDIR": "."})
