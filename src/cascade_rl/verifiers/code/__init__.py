"""Code: run the answer's program against every test; 1 when all pass, else 0.

The program is the last complete fenced block after the thinking, or the whole answer where it
has no fence. Expected values never enter the sandbox: outputs are compared here. Call tests ask
for equal types (True is not 1); `assert f(x) == literal` is turned into such a call and compared
by Python's `==` on plain values, which is what the assert says; any other assert runs in a
second sandboxed process that reaches the program's functions over a pipe of plain values.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from dataclasses import dataclass, replace

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.sandbox.base import Limits, Outcome
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import Problem, Status, Tests, Verdict, failed, right, unjudged, wrong
from cascade_rl.verifiers.code.batches import Accept, Batch, batches_of
from cascade_rl.verifiers.code.extract import extract_program

__all__ = ["VERSION", "TestResult", "extract_program", "judge", "test_results", "verify_code"]

VERSION = "code-2"
MAX_SOURCE = 200_000
ANSWER_TIME_LIMIT_S = 60.0
UNREADABLE = (ValueError, SyntaxError, RecursionError, MemoryError)
"""What reading a row's tests may raise: the row's fault."""
IDLE = 0.05
"""A program that computes for less than this share of its time waits; the machine is not busy."""
NO_PLAIN_VALUE = "returned no plain value"
COMPILE_ERROR = "compile error"
"""How the sandbox begins its reason where a value cannot cross, and where nothing was compiled."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """What one of the problem's tests said."""

    status: Status
    reason: str = ""


def verify_code(
    problem: Problem,
    text: str,
    *,
    stop_at_first_failure: bool = True,
    answer_time_limit_s: float = ANSWER_TIME_LIMIT_S,
) -> Verdict:
    """Score 1 when the answer's program passes every test, else 0 with what it did.

    `answer_time_limit_s` bounds the processor time of all tests together. Without
    `stop_at_first_failure` every test runs, and the reason says how many passed.
    """
    found = _read(problem, text)
    if isinstance(found, Verdict):
        return found
    tests, source = found
    try:
        if stop_at_first_failure:
            return replace(_remembered(tests, source, answer_time_limit_s), answer=source)
        results, tier = _every_result(tests, source, answer_time_limit_s)
    except UNREADABLE as error:
        return unjudged("invalid", f"unreadable test: {error}")
    return replace(_counted(results), answer=source, tier=tier)


def test_results(
    problem: Problem, text: str, *, answer_time_limit_s: float = ANSWER_TIME_LIMIT_S
) -> tuple[TestResult, ...]:
    """What each of the problem's tests said, in order; a failure does not stop those after it.

    An answer without a program fails every test; of a row that cannot be read every test is
    `invalid`.
    """
    found = _read(problem, text)
    if isinstance(found, Verdict):
        cases = problem.reference.cases if isinstance(problem.reference, Tests) else ()
        return tuple(TestResult(found.status, found.reason) for _ in cases)
    tests, source = found
    try:
        return _every_result(tests, source, answer_time_limit_s)[0]
    except UNREADABLE as error:
        reason = f"unreadable test: {error}"
        return tuple(TestResult("invalid", reason) for _ in tests.cases)


def judge(outcome: Outcome, accept: Accept) -> Verdict | None:
    """The verdict an outcome settles; None when every input ended well and was accepted."""
    for index, result in enumerate(outcome.results):
        if reason := accept(index, result):
            return replace(wrong(reason), tier=outcome.tier)
    if outcome.status == "ok":
        return None
    reason = outcome.reason
    if outcome.status == "infra":
        verdict = unjudged("infra", reason)
    elif outcome.status == "runtime" and reason.startswith("AssertionError"):
        verdict = wrong(reason)
    else:
        verdict = failed(outcome.status, reason)
    return replace(verdict, tier=outcome.tier)


def _read(problem: Problem, text: str) -> tuple[Tests, str] | Verdict:
    """The tests and the program, or the verdict where one is missing."""
    tests = problem.reference
    if not isinstance(tests, Tests) or not tests.cases:
        return unjudged("invalid", "a code problem needs tests")
    if has_open_thought(text):
        return wrong("the thought never ends")
    source = extract_program(answer_part(text), tests.language)
    if source is None:
        return wrong("no complete code block in the answer")
    if len(source) > MAX_SOURCE:
        return wrong(f"the program has {len(source)} characters; at most {MAX_SOURCE} are run")
    return tests, source


# --- a verdict, and what is remembered of it --------------------------------------------------

_KEPT = 4096
_verdicts: OrderedDict[bytes, Verdict] = OrderedDict()
"""By digest of tests and program: samples of one prompt often hold the same program."""


def _remembered(tests: Tests, source: str, time_limit_s: float) -> Verdict:
    key = hashlib.sha256(pickle.dumps((tests, source, time_limit_s))).digest()
    verdict = _verdicts.get(key)
    if verdict is None:
        verdict = _judged(tests, source, time_limit_s)
        if verdict.status in ("right", "wrong", "runtime"):  # another run may end otherwise
            _verdicts[key] = verdict
            if len(_verdicts) > _KEPT:
                _verdicts.popitem(last=False)
    return verdict


def _judged(tests: Tests, source: str, time_limit_s: float) -> Verdict:
    left, tier = time_limit_s, ""
    waiting = batches_of(tests)[::-1]
    while waiting:
        batch = waiting.pop()
        outcome = _run(batch, source, left, tier, stop_when_wrong=True)
        left, tier = left - _spent(outcome), outcome.tier
        verdict = judge(outcome, batch.accept)
        if verdict is not None and batch.fallback is not None and _is_opaque(verdict):
            waiting.append(batch.fallback)
        elif verdict is not None:
            return verdict
    return replace(right(), tier=tier)


def _run(
    batch: Batch,
    source: str,
    left: float,
    tier: str,
    first: int = 0,
    *,
    stop_when_wrong: bool = False,
) -> Outcome:
    """The batch's inputs from the first on, in what is left of the answer's time."""
    if left <= 0:
        return Outcome("timeout", (), "the time for all tests is used up", tier=tier)

    def wanted(index: int, result: object) -> bool:
        return not batch.accept(index, result)

    program, limits = batch.program(source, first), _limits(batch.tests, left)
    ask = wanted if stop_when_wrong and batch.kind == "stdio" else None
    return default_sandbox().run(program, limits, ask)


def _spent(outcome: Outcome) -> float:
    """Processor time; of a program that slept, the time it slept."""
    return outcome.wall_s if outcome.cpu_s < IDLE * outcome.wall_s else outcome.cpu_s


def _is_opaque(verdict: Verdict | TestResult) -> bool:
    """Whether a call returned what cannot leave the sandbox."""
    return verdict.status == "runtime" and verdict.reason.startswith(NO_PLAIN_VALUE)


def _limits(tests: Tests, left: float) -> Limits:
    default = Limits()
    return Limits(
        cpu_s=tests.time_limit_s or default.cpu_s,
        total_cpu_s=left,
        memory_mb=tests.memory_limit_mb or default.memory_mb,
    )


# --- every test -------------------------------------------------------------------------------


def _every_result(
    tests: Tests, source: str, time_limit_s: float
) -> tuple[tuple[TestResult, ...], str]:
    """A result for each test, and the tier; a test of several calls fails by its first fault."""
    results = [TestResult("right")] * len(tests.cases)
    left, tier = time_limit_s, ""
    waiting = [(batch, 0) for batch in reversed(batches_of(tests))]
    while waiting:
        batch, first = waiting.pop()
        outcome = _run(batch, source, left, tier, first)
        left, tier = left - _spent(outcome), outcome.tier
        found = _results(batch, first, outcome)
        if batch.fallback is not None and found and _is_opaque(found[-1]):
            waiting.append((batch.fallback, 0))
            continue
        if found and found[-1].reason.startswith(COMPILE_ERROR):
            return (found[-1],) * len(results), tier
        for case, result in zip(batch.cases[first:], found, strict=False):
            if results[case].status == "right":
                results[case] = result
        if first + len(found) < len(batch.inputs):
            waiting.append((batch, first + len(found)))
    return tuple(results), tier


def _results(batch: Batch, first: int, outcome: Outcome) -> list[TestResult]:
    """What an outcome settles: each input that ended well, and the one that did not."""
    found: list[TestResult] = []
    for index, value in enumerate(outcome.results, start=first):
        reason = batch.accept(index, value)
        found.append(TestResult("wrong" if reason else "right", reason))
    stopped = judge(replace(outcome, results=()), batch.accept)
    if stopped is not None:
        # A program may fail after its last input; then that input failed.
        found = found[: len(batch.inputs) - first - 1]
        found.append(TestResult(stopped.status, stopped.reason))
    return found


def _counted(results: tuple[TestResult, ...]) -> Verdict:
    """All pass or none: the verdict of the first failure, and how many passed."""
    failures = [result for result in results if result.status != "right"]
    if not failures:
        return right(reason=f"{len(results)} of {len(results)} tests passed")
    first = next((r for r in failures if r.status == "infra"), failures[0])
    if first.status == "infra":
        return unjudged("infra", first.reason)
    passed = len(results) - len(failures)
    reason = f"{passed} of {len(results)} tests passed; {first.reason}"
    return Verdict(0.0, first.status, reason)
