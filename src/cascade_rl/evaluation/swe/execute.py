"""Tests and scripts beside a repository's files, in the sandbox and nowhere else.

Two rules. The files go into the program's own scratch directory, as new for each process, so what
a patch does to them is gone after it. And a failure of the sandbox is an error that ends the
command, never a test that failed.

A process runs the tests of one file, or one script: one that hangs or ends itself costs the others
nothing.
"""

from __future__ import annotations

import json
import queue
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError, EvaluationError
from cascade_rl.evaluation.swe.repository import MAX_FILE, Files
from cascade_rl.sandbox.base import Limits, Program, Sandbox

Item = TypeVar("Item")
Found = TypeVar("Found")

LIBRARIES = ".libraries"
"""The folder, beside the repository's files, in which libraries are; no edit reaches it."""
HARNESS = Path(__file__).with_name("harness.py")
REPRODUCED, RESOLVED, OTHER = "Issue reproduced", "Issue resolved", "Other issues"
SENTENCES = (REPRODUCED, RESOLVED, OTHER)
"""What a reproduction test prints, one of them, on a line of its own (appendix C.2)."""
LIMITS = Limits(cpu_s=60.0, memory_mb=2048, disk_mb=64)
"""Of one file of tests, or one script."""


@dataclass(frozen=True, slots=True)
class Results:
    """Why each test did not pass (empty: it did), and what each script said: one of SENTENCES,
    or nothing."""

    tests: Mapping[str, str]
    scripts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runner:
    """A sandbox, the bounds of a process, and the files of libraries that everything may import."""

    sandbox: Sandbox
    limits: Limits = LIMITS
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of all that decides how a program ends, beside the program and this machine."""
        return digest_json([asdict(self.limits), sorted(self.libraries.items())])[:16]

    def run(self, files: Files, tests: Iterable[str] = (), scripts: Sequence[str] = ()) -> Results:
        """Run tests by their ids, and scripts, each beside these files.

        Raises EvaluationError where the sandbox does not work.
        """
        number = secrets.token_hex(16)
        groups = _by_file(tests)
        ended = self._ended(
            files,
            [
                *({"tests": group, "number": number} for group in groups),
                *({"script": script} for script in scripts),
            ],
        )
        found: dict[str, str] = {}
        for group, (stdout, why) in zip(groups, ended, strict=False):
            said = _reported(stdout, number)
            found |= {test: said.get(test, why or "ended without a result") for test in group}
        return Results(found, tuple(sentence(stdout) for stdout, _ in ended[len(groups) :]))

    def _ended(
        self, files: Files, requests: Sequence[Mapping[str, object]]
    ) -> list[tuple[str, str]]:
        """What each process wrote, and why it did not end well; empty where it did."""
        inputs = [json.dumps({**each, "libraries": [LIBRARIES]}) + "\n" for each in requests]
        shown = (
            *((path, text) for path, text in files.items() if path.split("/")[0] != LIBRARIES),
            *((f"{LIBRARIES}/{path}", text) for path, text in self.libraries.items()),
        )
        source = HARNESS.read_text(encoding="utf-8")
        found: list[tuple[str, str]] = []
        while left := inputs[len(found) :]:
            program = Program(source, "stdio", tuple(left), files=shown)
            outcome = self.sandbox.run(program, _limits(self.limits, shown, len(left)))
            if outcome.status == "infra":
                raise EvaluationError(
                    f"the sandbox did not run a program: {outcome.reason}",
                    hint="see what it says of itself:  cascade doctor",
                )
            found += [(result.decode("utf-8", "replace"), "") for result in outcome.results]
            if len(outcome.results) < len(left):
                found.append(("", f"{outcome.status}: {outcome.reason}"))
        return found


def on_runners(
    work: Callable[[Item, Runner | None], Found], items: Iterable[Item], runners: Sequence[Runner]
) -> Iterator[tuple[int, Found]]:
    """The place of every item and what `work` found of it, as they end.

    As many at a time as there are runners; without any, one at a time, and `work` gets None. What
    it raises ends all: what runs then is waited for, the rest is not begun.
    """
    free: queue.SimpleQueue[Runner | None] = queue.SimpleQueue()
    for each in runners or (None,):
        free.put(each)

    def one(item: Item) -> Found:
        runner = free.get()
        try:
            return work(item, runner)
        finally:
            free.put(runner)

    with ThreadPoolExecutor(max(len(runners), 1)) as threads:
        places = {threads.submit(one, item): place for place, item in enumerate(items)}
        try:
            for ended in as_completed(places):
                yield places[ended], ended.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def library_files(folders: Iterable[Path]) -> dict[str, str]:
    """The text files of folders that hold packages, as `pip install --target` makes them.

    What is compiled is left out: a library that needs it cannot be imported. Raises DataError.
    """
    found: dict[str, str] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"{folder} is no folder; expected one that holds Python packages",
                hint=f"make one:  pip install --target {folder} pytest",
            )
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and "__pycache__" not in name and (text := _text(path)) is not None:
                found[name] = text
    return found


def _text(path: Path) -> str | None:
    """The text of a file of reasonable size; None for anything else."""
    data = path.read_bytes() if path.stat().st_size <= MAX_FILE else b"\0"
    try:
        return None if b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def sentence(stdout: str) -> str:
    """The one of SENTENCES that is a line of the output; empty for none or several."""
    found = {line.strip() for line in stdout.splitlines()} & set(SENTENCES)
    return found.pop() if len(found) == 1 else ""


def _by_file(tests: Iterable[str]) -> list[list[str]]:
    """The tests, each once, in groups of one file or one class."""
    groups: dict[str, list[str]] = {}
    for test in dict.fromkeys(tests):
        name, _, where = test.partition(" (")
        key = test.partition("::")[0] if "::" in test else where or name.rpartition(".")[0] or name
        groups.setdefault(key, []).append(test)
    return list(groups.values())


def _reported(stdout: str, number: str) -> dict[str, str]:
    """The reasons by test, from the lines that begin with the number."""
    found: dict[str, str] = {}
    for line in stdout.splitlines():
        if line.startswith(number + " "):
            try:
                test, why = json.loads(line[len(number) :])
            except (ValueError, TypeError):
                continue  # not ours: code that looked for the number
            found[test] = why
    return found


def _limits(limits: Limits, files: Sequence[tuple[str, str]], processes: int) -> Limits:
    """The bounds of a program: room for the files, and the processes' times added up."""
    size = sum(len(text.encode("utf-8", "surrogatepass")) + 4096 for _, text in files)
    return replace(
        limits,
        disk_mb=limits.disk_mb + (size >> 20),
        total_cpu_s=max(limits.total_cpu_s, 2 * limits.cpu_s * processes),
    )
