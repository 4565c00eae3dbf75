"""Tests as what to run: batches of inputs for one sandboxed program each, and how to compare.

A batch holds inputs, which travel, and `accept`, which stays here with what is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.sandbox.base import Program, ProgramKind
from cascade_rl.types import AssertTest, CallTest, StdioTest, Tests
from cascade_rl.verifiers.code.asserts import Check, builtin_under_test, checks_of, parsed
from cascade_rl.verifiers.code.compare import right_value, same_output, short

Accept = Callable[[int, Any], str]
"""(index of the input, its result) -> why it is wrong, or an empty string."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs for one program; `cases` says which of the problem's tests each belongs to."""

    tests: Tests
    kind: ProgramKind
    inputs: tuple[Any, ...]
    cases: tuple[int, ...]
    accept: Accept
    entry_point: str | None = None
    fallback: Batch | None = None
    """What to run instead where a value is not plain: a test may ask only whether it is true."""

    def program(self, source: str, first: int = 0) -> Program:
        """The source with the inputs from the first on."""
        prelude = self.tests.prelude
        if prelude and "from __future__" not in source:  # which must stand first
            source = f"{prelude}\n{source}"
        return Program(
            source,
            self.kind,
            self.inputs[first:],
            entry_point=self.entry_point,
            setup=self.tests.setup if self.kind == "assert" else "",
            language=self.tests.language,
        )


def batches_of(tests: Tests) -> list[Batch]:
    """The tests in the order to run them. Raises ValueError or SyntaxError for unreadable ones."""
    cases = tests.cases
    stdio = [case for case in cases if isinstance(case, StdioTest)]
    calls = [case for case in cases if isinstance(case, CallTest)]
    blocks = [case.code for case in cases if isinstance(case, AssertTest)]
    if len(cases) not in (len(stdio), len(calls), len(blocks)):
        raise ValueError("tests of different kinds in one problem")
    if tests.language != "python" and not stdio:
        raise ValueError(f"a {tests.language} program is tested by its input and output only")
    if stdio:
        return [_stdio_batch(tests, stdio)]
    if calls:
        return [_call_batch(tests, calls)]
    return _assert_batches(tests, blocks)


def _stdio_batch(tests: Tests, cases: Sequence[StdioTest]) -> Batch:
    def accept(index: int, stdout: bytes) -> str:
        found = stdout.decode("utf-8", "surrogateescape")
        if same_output(found, cases[index].output, tests.tolerance):
            return ""
        return f"for input {short(cases[index].input)} printed {short(found)}"

    inputs = tuple(case.input for case in cases)
    return Batch(tests, "stdio", inputs, tuple(range(len(cases))), accept)


def _call_batch(tests: Tests, calls: Sequence[CallTest]) -> Batch:
    entry = _function_name(tests.entry_point)
    if entry is None:
        raise ValueError("call tests without an entry_point")
    inputs = tuple(case.args for case in calls)  # NotPlain, raised when sent, is the row's fault

    def accept(index: int, value: Any) -> str:
        if right_value(value, calls[index], tests.tolerance):
            return ""
        return f"{entry}{short(calls[index].args)} returned {short(value)}"

    return Batch(tests, "call", inputs, tuple(range(len(calls))), accept, entry)


def _assert_batches(tests: Tests, blocks: Sequence[str]) -> list[Batch]:
    """A batch of calls for each function that asserts-as-data ask, one for the other blocks."""
    entry = _function_name(tests.entry_point) or builtin_under_test(blocks)
    parsed(tests.setup)
    calls: dict[str, list[tuple[int, Check]]] = {}
    rest: list[int] = []
    for number, block in enumerate(blocks):
        checks = checks_of(block, entry, tests.setup)
        if checks is None:
            rest.append(number)
        for check in checks or ():
            calls.setdefault(check.name, []).append((number, check))

    def in_two_processes(numbers: Iterable[int]) -> Batch:
        which = tuple(dict.fromkeys(numbers))
        code = tuple(blocks[number] for number in which)
        return Batch(tests, "assert", code, which, lambda index, value: "", entry)

    found = [
        _check_batch(tests, name, checks, in_two_processes(number for number, _ in checks))
        for name, checks in calls.items()
    ]
    if rest:
        found.append(in_two_processes(rest))
    if not found:
        raise ValueError("the tests assert nothing of the program")
    return found


def _check_batch(
    tests: Tests, name: str, checks: Sequence[tuple[int, Check]], fallback: Batch
) -> Batch:
    inputs = tuple(check.arguments for _, check in checks)

    def accept(index: int, value: Any) -> str:
        return checks[index][1].fault(value)

    cases = tuple(number for number, _ in checks)
    return Batch(tests, "call", inputs, cases, accept, name, fallback)


def _function_name(entry_point: str | None) -> str | None:
    """LeetCode rows say `Solution().f`; a method of Solution is found by its name alone."""
    return entry_point.removeprefix("Solution().") if entry_point else None
