"""What runs in a sandbox and what comes back; the shapes every tier of isolation shares.

Expected outputs are not part of a `Program`: they stay with the caller, who compares. Nothing
here is raised for what a program did; that is an `Outcome`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Language = Literal["python", "cpp"]
ProgramKind = Literal["stdio", "call", "assert"]
OutcomeStatus = Literal["ok", "runtime", "timeout", "memory", "output", "violation", "infra"]


@dataclass(frozen=True, slots=True)
class Program:
    """A candidate's source and what to feed it.

    kind `stdio`: each input is text for stdin of a process of its own; it runs as `__main__`.
    kind `call`: each input is a tuple of plain arguments for `entry_point`, or a dict of keyword
    arguments, called in turn in one process; it learns nothing of what is expected between two
    calls.
    kind `assert`: each input is trusted test code that raises when the candidate is wrong. It
    runs in a second process which reaches the candidate's functions by name, over a pipe of
    plain values, after `setup`, which runs in that second process too.

    language `cpp` (kind `stdio` only): the source is compiled once, as untrusted as it runs;
    what the compiler refuses is `runtime`, with a reason that starts with "compile error".
    """

    source: str
    kind: ProgramKind
    inputs: tuple[Any, ...]
    entry_point: str | None = None
    setup: str = ""
    files: tuple[tuple[str, str], ...] = ()
    """Modules (path, text) the source may import; written beside it, swe's patched files."""
    importable: tuple[str, ...] = ()
    """Of these the modules that test code may import: what the row names, never the candidate."""
    language: Language = "python"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one input's run. Seconds are of processor time; wall clock is derived.

    `total_cpu_s` bounds all inputs of a program together.
    """

    cpu_s: float = 4.0
    total_cpu_s: float = 60.0
    memory_mb: int = 1024
    output_bytes: int = 1 << 20
    disk_mb: int = 16
    processes: int = 8

    @property
    def wall_s(self) -> float:
        """When a run that waits instead of computing is stopped; the retry gets twice that."""
        return 1.5 * self.cpu_s + 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the inputs led to, up to and including the first that did not end well.

    `results` holds stdout bytes (stdio), the returned value (call) or None (assert) of each
    input that ended well; `status` is `ok` when all did, else that of the first which did not.
    """

    status: OutcomeStatus
    results: tuple[Any, ...]
    reason: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    tier: str = ""


Wanted = Callable[[int, Any], bool]
"""(index of the input, its result) -> whether to go on. Asked outside the sandbox."""


class Sandbox(Protocol):
    """Runs a program; never raises for what the program did."""

    @property
    def tier(self) -> str:
        """How isolated programs are."""
        ...

    @property
    def refusal(self) -> str:
        """Why no program is run; empty where programs are."""
        ...

    def missing(self, language: Language) -> str:
        """What a program in this language needs and is not here; empty where nothing is."""
        ...

    def run(self, program: Program, limits: Limits, wanted: Wanted | None = None) -> Outcome:
        """Run every input in turn until one does not end well; nothing outlives the call.

        `wanted` is asked of a script's results every now and then; the first that it refuses
        ends the run, with status `ok` and the results until then.
        """
        ...
