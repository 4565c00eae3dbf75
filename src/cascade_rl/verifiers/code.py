"""Code: run the answer's program against every test; 1 when all pass, else 0.

The program is the last complete fenced block after the thinking, or the whole answer where it
has no fence. Expected values never enter the sandbox: outputs are compared here. Call tests ask
for equal types (True is not 1); `assert f(x) == literal` is turned into such a call and compared
by Python's `==` on plain values, which is what the assert says; any other assert runs in a
second sandboxed process that reaches the program's functions over a pipe of plain values.
"""

from __future__ import annotations

import ast
import functools
import pickle
from collections.abc import Callable
from typing import Any

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.sandbox.base import Limits, Outcome, Program
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.sandbox.values import NotPlain, encode, same
from cascade_rl.types import (
    AssertTest,
    CallTest,
    Problem,
    StdioTest,
    Tests,
    Verdict,
    failed,
    right,
    unjudged,
    wrong,
)

VERSION = "code-1"
MAX_SOURCE = 200_000
MAX_KEPT = 40_000
"""Characters of program and tests up to which a verdict is remembered."""
FIRST_CASES = 4
"""Of many scripts' tests these run first: most wrong programs fail early."""
_FENCE_LABELS = ("", "python", "py", "python3")


def verify_code(problem: Problem, text: str, *, stop_at_first_failure: bool = True) -> Verdict:
    """Score 1 when the answer's program passes every test, else 0 with what it did."""
    tests = problem.reference
    if not isinstance(tests, Tests) or not tests.cases:
        return unjudged("invalid", "a code problem needs tests")
    if has_open_thought(text):
        return wrong("the thought never ends")
    source = extract_program(answer_part(text))
    if source is None:
        return wrong("no complete code block in the answer")
    if len(source) > MAX_SOURCE:
        return wrong(f"the program has {len(source)} characters; at most {MAX_SOURCE} are run")
    try:
        return _judged(source, pickle.dumps(tests))
    except _NotKept as verdict:
        return verdict.args[0]  # type: ignore[no-any-return]


class _NotKept(Exception):
    """Carries a verdict past the cache: one of ours, or one that took time to reach."""


@functools.lru_cache(maxsize=2048)
def _judged(source: str, pickled: bytes) -> Verdict:
    """The verdict on a program; samples of one prompt often hold the same one."""
    tests = pickle.loads(pickled)
    try:
        batches = _batches(tests)
    except (NotPlain, SyntaxError, ValueError) as error:
        return unjudged("invalid", f"unreadable test: {error}")
    for program_of, accept in batches:
        verdict = judge(default_sandbox().run(program_of(source), _limits(tests)), accept)
        if verdict is not None and verdict.status in ("right", "wrong", "runtime"):
            return verdict
        if verdict is not None:
            raise _NotKept(verdict)
    if len(source) + len(pickled) > MAX_KEPT:
        raise _NotKept(right(source))
    return right(source)


def extract_program(answer: str) -> str | None:
    """The last complete Python block; all of an answer without fences; None if unclosed."""
    if "```" not in answer:
        return answer if answer.strip() else None
    found: str | None = None
    block: list[str] | None = None
    wanted = False
    for line in answer.splitlines(keepends=True):
        mark = line.strip()
        if block is None and mark.startswith("```"):
            block, wanted = [], mark[3:].strip().lower() in _FENCE_LABELS
        elif block is not None and mark == "```":
            found = "".join(block) if wanted else found
            block = None
        elif block is not None:
            block.append(line)
    return found


Accept = Callable[[int, Any], str]
"""(index of the input, its result) -> why it is wrong, or an empty string."""


def judge(outcome: Outcome, accept: Accept) -> Verdict | None:
    """The verdict an outcome settles; None when every input ended well and was accepted."""
    for index, result in enumerate(outcome.results):
        if reason := accept(index, result):
            return wrong(reason)
    if outcome.status == "ok":
        return None
    reason = outcome.reason
    if outcome.status == "infra":
        return unjudged("infra", outcome.reason)
    if outcome.status == "runtime" and outcome.reason.startswith("AssertionError"):
        return wrong(reason)
    return failed(outcome.status, reason)


def _limits(tests: Tests) -> Limits:
    default = Limits()
    return Limits(
        cpu_s=tests.time_limit_s or default.cpu_s,
        memory_mb=tests.memory_limit_mb or default.memory_mb,
    )


Batch = tuple[Callable[[str], Program], Accept]


def _batches(tests: Tests) -> list[Batch]:
    """Tests of one kind as programs to run, cheapest first to fail."""
    cases, entry = tests.cases, tests.entry_point
    if all(isinstance(case, StdioTest) for case in cases):
        stdio = [case for case in cases if isinstance(case, StdioTest)]
        return [_stdio_batch(part) for part in _parts(stdio)]
    if all(isinstance(case, CallTest) for case in cases):
        if entry is None:
            raise ValueError("call tests without an entry_point")
        calls = [(case.args, case.expected) for case in cases if isinstance(case, CallTest)]
        return [_call_batch(entry, calls, same)]
    blocks = [case.code for case in cases if isinstance(case, AssertTest)]
    if len(blocks) != len(cases):
        raise ValueError("tests of different kinds in one problem")
    return [_assert_batch(blocks, tests)]


def _parts(cases: list[StdioTest]) -> list[list[StdioTest]]:
    if len(cases) <= 2 * FIRST_CASES:
        return [cases]
    return [cases[:FIRST_CASES], cases[FIRST_CASES:]]


def _stdio_batch(cases: list[StdioTest]) -> Batch:
    inputs = tuple(case.input for case in cases)

    def accept(index: int, stdout: bytes) -> str:
        expected = _lines(cases[index].output)
        found = _lines(stdout.decode("utf-8", "surrogateescape"))
        if found == expected:
            return ""
        return f"for input {_short(cases[index].input)} printed {_short(found)}"

    return lambda source: Program(source, "stdio", inputs), accept


def _lines(text: str) -> list[str]:
    """Lines without trailing blanks, and no blank lines at the end."""
    return [line.rstrip() for line in text.rstrip().replace("\r\n", "\n").split("\n")]


def _call_batch(
    entry: str, calls: list[tuple[tuple[Any, ...], Any]], equal: Callable[[Any, Any], bool]
) -> Batch:
    inputs = tuple(args for args, _ in calls)
    encode([list(args) for args in inputs])  # NotPlain here is the row's fault

    def accept(index: int, value: Any) -> str:
        if equal(value, calls[index][1]):
            return ""
        return f"{entry}{_short(calls[index][0])} returned {_short(value)}"

    return lambda source: Program(source, "call", inputs, entry_point=entry), accept


def _assert_batch(blocks: list[str], tests: Tests) -> Batch:
    entry, setup = tests.entry_point, tests.setup
    rewritten = [calls_of_asserts(block, entry) for block in blocks]
    found = [block for block in rewritten if block is not None]
    names = {name for name, _ in found}
    if not setup.strip() and len(found) == len(blocks) and len(names) == 1:
        calls = [call for _, block in found for call in block]
        return _call_batch(names.pop(), calls, lambda value, expected: bool(value == expected))
    return (
        lambda source: Program(source, "assert", tuple(blocks), entry_point=entry, setup=setup),
        lambda index, value: "",
    )


def calls_of_asserts(
    code: str, entry_point: str | None
) -> tuple[str, list[tuple[tuple[Any, ...], Any]]] | None:
    """`assert f(literals) == literal` lines as (f, [(args, expected)]); None for anything else.

    HumanEval's `def check(candidate)` with such a body counts, `candidate` being the entry point.
    """
    body: list[ast.stmt] = []
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "check":
            body += statement.body
        elif not _is_inert(statement):
            body.append(statement)
    calls = [_call_of(statement, entry_point) for statement in body if not _is_inert(statement)]
    found = [call for call in calls if call is not None]
    if not found or len(found) != len(calls) or len({name for name, *_ in found}) != 1:
        return None
    return found[0][0], [(args, expected) for _, args, expected in found]


def _is_inert(statement: ast.stmt) -> bool:
    """A METADATA assignment, a doc string, `assert True`, or the call of check itself."""
    match statement:
        case ast.Assign(targets=[ast.Name(id="METADATA")]) | ast.Pass():
            return True
        case ast.Expr(value=ast.Constant()) | ast.Assert(test=ast.Constant(value=True)):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="check"))):
            return True
    return False


def _call_of(
    statement: ast.stmt, entry_point: str | None
) -> tuple[str, tuple[Any, ...], Any] | None:
    match statement:
        case ast.Assert(
            test=ast.Compare(
                left=ast.Call(func=ast.Name(id=name), args=args, keywords=[]),
                ops=[ast.Eq()],
                comparators=[expected],
            )
        ):
            try:
                values = tuple(ast.literal_eval(argument) for argument in args)
                wanted = ast.literal_eval(expected)
            except ValueError:
                return None
            return (entry_point or name if name == "candidate" else name), values, wanted
    return None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer beyond the digits Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else text[:200] + "..."
