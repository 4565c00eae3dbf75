"""Programs tried on a problem's tests and on generated inputs, all in the sandbox.

A function is tried on everything in one process: its tests that are data (`assert f(1) == 2`)
are calls like the generated ones, and are compared here. A script is a process an input, so it
meets the generated inputs only where no test stops it. Tests that are more than data are run by
the verifier itself.
"""

from __future__ import annotations

import ast
import builtins
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from cascade_rl.data.strength.inputs import Arguments, like_calls, like_texts
from cascade_rl.errors import EvaluationError
from cascade_rl.sandbox.base import Limits
from cascade_rl.sandbox.base import Outcome as Ran
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import AssertTest, Problem, Tests
from cascade_rl.verifiers.code import test_results
from cascade_rl.verifiers.code.asserts import parsed
from cascade_rl.verifiers.code.batches import Batch, batches_of
from cascade_rl.verifiers.code.expressions import NotData, constant

SLOW_S = 0.02
"""Generated inputs on which the golden solution computes longer are left out."""
LEAST_CPU_S, MORE_CPU, MORE_CPU_S = 0.2, 20.0, 1.0
"""A mutant gets so many seconds an input, or so many times what the golden solution took, but
never more than so many seconds beside it."""
RESTARTS, GOLDEN_RESTARTS = 1, 5
"""How often a mutant, or the golden solution, that hung is started again behind that input; then
it counts as hanging."""
ENOUGH = 6
"""A program caught so often is not run on."""
Outcome = tuple[str, Any]
"""(`value`, what was returned or printed), (`raised`, the error's name), (`odd`, a description)
or (`hung`, why it was stopped)."""
HUNG: Outcome = ("hung", "")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How often the tests caught a program, and where it does other than the golden solution.

    `caught` counts inputs of the tests up to ENOUGH. `differs` is the share of the generated
    inputs; None where a test had caught the program, which is then not asked.
    """

    caught: int
    differs: float | None = None


class Trial(Protocol):
    """A problem ready to try programs on."""

    @property
    def inputs(self) -> Sequence[Any]:
        """The generated inputs."""
        ...

    @property
    def seconds(self) -> float:
        """What the golden solution takes for the tests."""
        ...

    def run(self, source: str) -> Behaviour:
        """What a program does. Nothing is raised for what it did."""
        ...

    def outcomes(self, source: str) -> list[Outcome]:
        """What it does on each generated input."""
        ...


class Unfit(ValueError):
    """The golden solution cannot serve as one; says why."""


def trial_of(problem: Problem, golden: str, count: int, seed: int) -> Trial:
    """The problem's tests, and at most `count` inputs that the golden solution answers.

    Raises Unfit where the solution fails a test, ValueError or SyntaxError where the tests
    cannot be read.
    """
    tests = problem.reference
    assert isinstance(tests, Tests)
    if tests.language != "python":
        raise Unfit(f"the program is in {tests.language}; mutants are made of Python")
    batches = batches_of(tests)
    first = batches[0]
    if first.kind == "stdio":
        return ScriptTrial(first, golden, count, seed)
    if len(batches) == 1 and first.kind == "call":
        trial = FunctionTrial(problem, first, golden, count, seed)
        if not trial.odd:
            return trial
    return BlockTrial(problem, tests, golden, count, seed)


def patience(took: float) -> float:
    """Seconds of processor time for a mutant, given what the golden solution took."""
    return max(LEAST_CPU_S, min(MORE_CPU * took, took + MORE_CPU_S))


def alike(found: Any, expected: Any) -> bool:
    """Equal as `==` says, but for the last digits of floats; nan is nan."""
    if isinstance(expected, float) and isinstance(found, int | float):
        if math.isnan(expected) or math.isnan(found):
            return math.isnan(expected) and math.isnan(found)
        return bool(found == expected) or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    if type(found) is type(expected) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if type(found) is type(expected) is dict:
        return found.keys() == expected.keys() and all(alike(found[k], expected[k]) for k in found)
    return bool(found == expected)


# --- functions --------------------------------------------------------------------------------

_OBSERVED = "cascade_observed"
_OBSERVER = """

def cascade_plain(value, depth=0):
    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return value
    if depth > 20:
        raise ValueError("too deep")
    if kind in (list, tuple, set, frozenset):
        return kind([cascade_plain(item, depth + 1) for item in value])
    if isinstance(value, dict):
        return {cascade_plain(k, depth + 1): cascade_plain(v, depth + 1) for k, v in value.items()}
    raise TypeError(kind.__name__)

def cascade_observed(*args, **kwargs):
    import itertools, time, zlib
    begun = time.process_time()
    try:
        function = globals().get(%(name)r) or getattr(Solution(), %(name)r)
        value = function(*args, **kwargs)
    except BaseException as error:
        return ("raised", type(error).__name__, 0.0)
    took = time.process_time() - begun
    try:
        plain = cascade_plain(value)
        text = repr(plain)
        if len(text) > 20000:
            return ("odd", "%%s of %%d: %%d" %% (type(value).__name__, len(text), zlib.crc32(text.encode("utf-8", "replace"))), took)
        return ("value", plain, took)
    except BaseException:
        pass
    try:
        if hasattr(value, "__next__"):
            value = list(itertools.islice(value, 1000))
        return ("odd", type(value).__name__ + repr(value)[:2000], took)
    except BaseException as error:
        return ("odd", type(value).__name__, took)
"""  # noqa: E501


class FunctionTrial:
    """Tests that are calls; in one process with the generated ones."""

    def __init__(self, problem: Problem, batch: Batch, golden: str, count: int, seed: int) -> None:
        self._batch = batch
        limit = batch.tests.time_limit_s or Limits().cpu_s
        first, took = observed(batch, golden, batch.inputs, limit, 0)
        self.odd = any(kind == "odd" for kind, _ in first)
        if not self.odd and self._caught(first):
            raise Unfit("the golden solution fails a test")
        seeds = [given for given in batch.inputs if type(given) is tuple]
        self.inputs, self._golden = answered(batch, golden, seeds, count, seed)
        self.seconds = sum(took)
        self._cpu_s = patience(max(took))

    def run(self, source: str) -> Behaviour:
        """Tests first; generated inputs where they all pass."""
        found, _ = observed(self._batch, source, self._batch.inputs, self._cpu_s, RESTARTS)
        if caught := self._caught(found):
            return Behaviour(min(caught, ENOUGH))
        return Behaviour(0, share(self.outcomes(source), self._golden))

    def outcomes(self, source: str) -> list[Outcome]:
        """What a program does on each generated input."""
        return observed(self._batch, source, self.inputs, LEAST_CPU_S, RESTARTS)[0]

    def _caught(self, outcomes: Sequence[Outcome]) -> int:
        accept = self._batch.accept
        return sum(
            kind != "value" or bool(accept(index, value))
            for index, (kind, value) in enumerate(outcomes)
        )


def share(found: Sequence[Outcome], golden: Sequence[Outcome]) -> float:
    """Of the outcomes that differ; 1 where there is nothing to tell programs apart by."""
    if not golden:
        return 1.0
    return sum(not same(a, b) for a, b in zip(found, golden, strict=True)) / len(golden)


def answered(
    batch: Batch, golden: str, seeds: Sequence[Arguments], count: int, seed: int
) -> tuple[list[Arguments], list[Outcome]]:
    """Inputs like the seeds that the golden solution answers soon and twice the same."""
    drawn = like_calls(seeds, 2 * count, seed)
    first, took = observed(batch, golden, drawn, LEAST_CPU_S, GOLDEN_RESTARTS)
    second, _ = observed(batch, golden, drawn, LEAST_CPU_S, GOLDEN_RESTARTS)
    steady = [at for at in range(len(drawn)) if _is_steady(first[at], second[at], took[at])]
    return [drawn[at] for at in steady[:count]], [first[at] for at in steady[:count]]


def observed(
    batch: Batch, source: str, asked: Sequence[Any], cpu_s: float, restarts: int
) -> tuple[list[Outcome], list[float]]:
    """The outcome of each call in order, and the processor time of each."""
    if not asked:
        return [], []
    watched = source + _OBSERVER % {"name": batch.entry_point}
    outcomes: list[Outcome] = []
    took: list[float] = []
    for _ in range(restarts + 1):
        rest = replace(batch, inputs=tuple(asked[len(outcomes) :]), entry_point=_OBSERVED)
        done = default_sandbox().run(
            rest.program(watched),
            Limits(cpu_s=cpu_s, total_cpu_s=60.0, memory_mb=512, output_bytes=16 << 20),
        )
        for result in done.results:
            kind, value, seconds = _read(result)
            outcomes.append((kind, value))
            took.append(seconds)
        _refuse_infra(done)
        if len(outcomes) == len(asked):
            break
        outcomes.append(("hung", done.status))
        took.append(cpu_s)
        if len(outcomes) == len(asked) or (not done.results and done.status == "runtime"):
            break
    missing = len(asked) - len(outcomes)
    return outcomes + [HUNG] * missing, took + [cpu_s] * missing


def _read(result: Any) -> tuple[str, Any, float]:
    """What the observer reported; a program that redefines it reports nonsense."""
    match result:
        case (str(kind), value, float(seconds)):
            return kind, value, seconds
    return "odd", repr(result)[:200], 0.0


def _refuse_infra(done: Ran) -> None:
    if done.status == "infra":
        raise EvaluationError(
            f"a program could not be run: {done.reason}",
            hint="see what this machine allows:  cascade doctor",
        )


def same(found: Outcome, expected: Outcome) -> bool:
    """Whether two programs did the same on an input."""
    return found[0] == expected[0] and alike(found[1], expected[1])


# --- tests that are more than data ------------------------------------------------------------


class BlockTrial:
    """Tests run by the verifier; the generated inputs are like the calls written in them."""

    def __init__(self, problem: Problem, tests: Tests, golden: str, count: int, seed: int) -> None:
        self._problem = problem
        self._weights = [weight_of(case) for case in tests.cases]
        begun = time.monotonic()
        if self._caught(golden):
            raise Unfit("the golden solution fails a test")
        self.seconds = time.monotonic() - begun
        entry, calls = _written_calls(tests)
        self._batch = Batch(tests, "call", tuple(calls), (), lambda index, value: "", entry)
        self.inputs, self._golden = answered(self._batch, golden, calls, count, seed)
        self._problem = replace(problem, reference=replace(tests, time_limit_s=1 + self.seconds))

    def run(self, source: str) -> Behaviour:
        """Tests first; generated inputs where they all pass."""
        if caught := self._caught(source):
            return Behaviour(min(caught, ENOUGH))
        return Behaviour(0, share(self.outcomes(source), self._golden))

    def outcomes(self, source: str) -> list[Outcome]:
        """What a program does on each generated input."""
        return observed(self._batch, source, self.inputs, LEAST_CPU_S, RESTARTS)[0]

    def _caught(self, source: str) -> int:
        results = test_results(self._problem, f"~~~~~~python\n{source}\n~~~~~~")
        if any(result.status == "infra" for result in results):
            raise EvaluationError("a program could not be run", hint="see  cascade doctor")
        failed = [result.status != "right" for result in results]
        return sum(weight for weight, fails in zip(self._weights, failed, strict=True) if fails)


def weight_of(case: Any) -> int:
    """How many inputs a block of test code stands for: one an assert, many where it loops."""
    if not isinstance(case, AssertTest):
        return 1
    nodes = list(ast.walk(parsed(case.code)))
    if any(isinstance(node, ast.For | ast.While | ast.comprehension) for node in nodes):
        return ENOUGH
    return max(1, sum(isinstance(node, ast.Assert) for node in nodes))


def _written_calls(tests: Tests) -> tuple[str | None, list[Arguments]]:
    """The function that the blocks call with literal arguments, and those arguments."""
    found: dict[str, list[Arguments]] = {}
    for case in tests.cases:
        for node in ast.walk(parsed(case.code)) if isinstance(case, AssertTest) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                name = tests.entry_point or name if name == "candidate" else name
                try:
                    arguments = tuple(constant(argument) for argument in node.args)
                except NotData:
                    continue
                if arguments and not hasattr(builtins, name):
                    found.setdefault(name, []).append(arguments)
    if not found:
        return None, []
    entry = (
        tests.entry_point if tests.entry_point in found else max(found, key=lambda n: len(found[n]))
    )
    return entry, found[entry]


# --- scripts ----------------------------------------------------------------------------------


class ScriptTrial:
    """Tests by stdin and stdout; a process an input."""

    def __init__(self, batch: Batch, golden: str, count: int, seed: int) -> None:
        self._batch = batch
        self._cpu_s = batch.tests.time_limit_s or Limits().cpu_s
        own = list(batch.inputs)
        done = self._ran(golden, own)
        if done.status != "ok" or any(batch.accept(i, out) for i, out in enumerate(done.results)):
            raise Unfit("the golden solution fails a test")
        self.seconds = done.cpu_s
        self._cpu_s = patience(done.cpu_s / len(own))
        drawn = like_texts(own, 2 * count, seed)
        first = self._printed(golden, drawn, len(drawn))
        second = self._printed(golden, drawn, len(drawn))
        steady = [at for at in range(len(drawn)) if _is_steady(first[at], second[at], 0.0)][:count]
        self.inputs = [drawn[at] for at in steady]
        self._golden = [first[at] for at in steady]

    def run(self, source: str) -> Behaviour:
        """Tests first; generated inputs where they all pass."""
        if caught := self._caught(source):
            return Behaviour(caught)
        return Behaviour(0, share(self.outcomes(source), self._golden))

    def outcomes(self, source: str) -> list[Outcome]:
        """What a program prints for each generated input."""
        return self._printed(source, self.inputs, RESTARTS)

    def _ran(self, source: str, inputs: Sequence[str]) -> Ran:
        program = replace(self._batch, inputs=tuple(inputs)).program(source)
        done = default_sandbox().run(program, Limits(cpu_s=self._cpu_s, total_cpu_s=120.0))
        _refuse_infra(done)
        return done

    def _caught(self, source: str) -> int:
        """Tests that fail, up to ENOUGH; one that hangs fails all of them."""
        inputs, accept = self._batch.inputs, self._batch.accept
        first = caught = 0
        while first < len(inputs) and caught < ENOUGH:
            done = self._ran(source, inputs[first:])
            caught += sum(bool(accept(first + i, out)) for i, out in enumerate(done.results))
            if done.status == "timeout":
                return ENOUGH
            caught += done.status != "ok"
            first += len(done.results) + 1
        return min(caught, ENOUGH)

    def _printed(self, source: str, inputs: Sequence[str], restarts: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(inputs) and restarts >= 0:
            done = self._ran(source, inputs[len(outcomes) :])
            outcomes += [("value", out.decode("utf-8", "replace").strip()) for out in done.results]
            if done.status != "ok":
                outcomes.append(("raised" if done.status == "runtime" else "hung", ""))
                restarts -= done.status != "runtime"
        return outcomes + [HUNG] * (len(inputs) - len(outcomes))


def _is_steady(first: Outcome, second: Outcome, took: float) -> bool:
    """Whether the golden solution answers the input, soon and twice the same."""
    return first[0] in ("value", "odd") and took < SLOW_S and same(first, second)
