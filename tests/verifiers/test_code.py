"""Programs against tests: what passes, what fails, and what nothing can fake."""

from __future__ import annotations

import functools
import pickle

import pytest

from cascade_rl.sandbox import Limits, Program
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import AssertTest, CallTest, Preference, Problem, StdioTest, Tests
from cascade_rl.verifiers import code
from cascade_rl.verifiers.code import extract_program, verify_code
from cascade_rl.verifiers.code.asserts import checks_of

ADD = Problem(
    "add",
    "code",
    (),
    Tests((CallTest((1, 2), 3), CallTest((-5, 5), 0)), entry_point="add", time_limit_s=0.5),
    "test",
)
ECHO = Problem("echo", "code", (), Tests((StdioTest("17\n", "17\n"),), time_limit_s=0.5), "test")


def asserts(*blocks: str, entry_point: str | None = None, setup: str = "") -> Problem:
    cases = tuple(AssertTest(block) for block in blocks)
    return Problem("a", "code", (), Tests(cases, entry_point, setup, time_limit_s=0.5), "test")


def fenced(source: str) -> str:
    return f"Here:\n```python\n{source}\n```\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("def add(a, b): return a + b", "right"),
        ("class Solution:\n    def add(self, a, b): return a + b", "right"),
        ("# import os\ndef add(a, b): return a + b", "right"),
        ("print('noise')\ndef add(a, b):\n    print(a)\n    return a + b", "right"),
        ("def add(a, b): return a - b", "wrong"),
        ("def add(a, b): return float(a + b)", "wrong"),
        ("def add(a, b): return str(a + b)", "wrong"),
        ("def add(a, b): return True", "wrong"),
        ("def add(a, b): yield a + b", "runtime"),
        ("def sub(a, b): return a - b", "runtime"),
        ("def add(a, b) return", "runtime"),
        ("class Y(int):\n    __eq__ = lambda *a: True\ndef add(a, b): return Y()", "runtime"),
        ("import os\ndef add(a, b): os._exit(0)", "runtime"),
        ("def add(a, b):\n    while True: pass", "timeout"),
        ("def add(a, b): return bytearray(4 << 30)", "memory"),
        ("\ud800\0", "runtime"),
    ],
)
def test_a_function_is_judged_by_value_and_type(source: str, status: str) -> None:
    assert verify_code(ADD, fenced(source)).status == status


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("print(input())", "right"),
        ("print(input(), end='  \\r\\n\\n')", "right"),
        ("import sys, atexit\natexit.register(lambda: print(17))", "right"),
        ("import threading\nthreading.Thread(target=print, args=(17,)).start()", "right"),
        ("print(float(input()))", "wrong"),
        ("print('All tests passed')", "wrong"),
        ("print(17, 17)", "wrong"),
        ("", "wrong"),
        ("print(17)\nraise ValueError('after')", "runtime"),
        ("print(input()); print(input())", "runtime"),
    ],
)
def test_a_script_is_judged_by_what_it_prints(source: str, status: str) -> None:
    text = fenced(source) if source else fenced("pass")
    assert verify_code(ECHO, text).status == status


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("```python\na\n```\nor\n```python\nb\n```", "b\n"),
        ("```python\na\n```\nas in\n```text\nb\n```", "a\n"),
        ("```\na\n```", "a\n"),
        ("```py\na\n```\n```python\nb", "a\n"),
        ("```\n17\n```\n```python\na\n```\nprints\n```\n17\n```", "a\n"),
        ("~~~python\na\n~~~", "a\n"),
        ("````python\nx\n```\ny\n````", "x\n```\ny\n"),
        ("1. so:\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b\n"),
        ("```Python title=x.py\r\na\r\n```\r\n", "a\r\n"),
        ("```{.python}\na\n```", "a\n"),
        ("```python\na\u2028```\nb\n```", "a\u2028```\nb\n"),
        ("use ```inline``` and\n```a``` too", "use ```inline``` and\n```a``` too"),
        ("```java\na\n```", None),
        ("```python\n```", ""),
        ("```python\na\n```\n```python\nb\n", "a\n"),
        ("```python\nb", None),
        ("def f(): pass", "def f(): pass"),
        ("  \n", None),
        ("", None),
    ],
)
def test_the_program_is_the_last_complete_block(answer: str, program: str | None) -> None:
    assert extract_program(answer) == program


def test_every_test_has_a_result_and_failures_stop_none_of_them() -> None:
    cases = tuple(StdioTest(f"{n}\n", f"{n}\n") for n in range(1, 13))
    problem = Problem("p", "code", (), Tests(cases, time_limit_s=0.3), "t")
    program = (
        "n = int(input())\n"
        "if n == 2: n = 3\n"
        "if n == 5: raise ValueError\n"
        "if n == 7:\n    while True: pass\n"
        "if n == 11: n = bytearray(4 << 30)\n"
        "print(n)\n"
    )
    found = [result.status for result in code.test_results(problem, fenced(program))]
    assert found == [
        *("right", "wrong", "right", "right", "runtime", "right"),
        *("timeout", "right", "right", "right", "memory", "right"),
    ]
    stopped = verify_code(problem, fenced(program))
    whole = verify_code(problem, fenced(program), stop_at_first_failure=False)
    assert (stopped.score, whole.score) == (0.0, 0.0)
    assert stopped.status == whole.status == "wrong"
    assert whole.reason.startswith("8 of 12 tests passed; for input '2")
    good = verify_code(problem, fenced("print(input())"), stop_at_first_failure=False)
    assert (good.score, good.reason) == (1.0, "12 of 12 tests passed")


def test_calls_and_asserts_have_a_result_each() -> None:
    calls = tuple(CallTest((n,), n) for n in range(4))
    problem = Problem("p", "code", (), Tests(calls, entry_point="f"), "t")
    text = fenced("def f(n): return [0, 9, 1 // 0 if n == 2 else 1, 3][n] if n != 1 else 9")
    found = [result.status for result in code.test_results(problem, text)]
    assert found == ["right", "wrong", "runtime", "right"]
    blocks = ("assert f(1) == 1", "assert f(2) == f(1)", "for i in (3,):\n    assert f(i) == 3")
    found = [result.status for result in code.test_results(asserts(*blocks), text)]
    assert found == ["wrong", "runtime", "right"]


def test_all_tests_together_have_a_time_limit() -> None:
    cases = tuple(StdioTest(f"{n}\n", "") for n in range(40))
    problem = Problem("p", "code", (), Tests(cases, time_limit_s=2.0), "t")
    program = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    for stop in (True, False):
        verdict = verify_code(
            problem, fenced(program), answer_time_limit_s=0.5, stop_at_first_failure=stop
        )
        assert verdict.status == "timeout", verdict
    results = code.test_results(problem, fenced(program), answer_time_limit_s=0.5)
    assert results[0].status == "right"
    assert results[-1].status == "timeout"
    assert sum(result.status == "right" for result in results) <= 5


def test_time_slept_counts_too() -> None:
    cases = tuple(StdioTest(f"{n}\n", "") for n in range(40))
    problem = Problem("p", "code", (), Tests(cases, time_limit_s=0.2), "t")
    results = code.test_results(
        problem, fenced("import time\ntime.sleep(1000)"), answer_time_limit_s=3.0
    )
    assert {result.status for result in results} == {"timeout"}
    assert results[-1].reason == "the time for all tests is used up"


def test_a_verdict_names_the_tier_its_program_ran_in() -> None:
    tier = default_sandbox().run(Program("", "stdio", ("",)), Limits()).tier
    assert tier
    for program in ("def add(a, b): return a + b", "def add(a, b): return 1", "1 / 0"):
        for stop in (True, False):
            verdict = verify_code(ADD, fenced(program), stop_at_first_failure=stop)
            assert verdict.tier == tier
    assert verify_code(ADD, "```").tier == "", "nothing ran"


def test_a_prelude_runs_before_the_program_but_never_before_a_future_import() -> None:
    tests = Tests((CallTest((), 3),), entry_point="f", prelude="from math import floor")
    problem = Problem("p", "code", (), tests, "t")
    assert verify_code(problem, fenced("def f(): return floor(3.5)")).outcome
    future = "from __future__ import annotations\ndef f(): return 3"
    assert verify_code(problem, fenced(future)).outcome


def test_options_make_another_verifier() -> None:
    verifier = functools.partial(verify_code, stop_at_first_failure=False)
    again = pickle.loads(pickle.dumps(verifier))
    assert again(ADD, fenced("def add(a, b): return a + b")).outcome


def test_what_was_judged_is_remembered_but_not_what_may_end_otherwise() -> None:
    code._verdicts.clear()
    first = verify_code(ADD, fenced("def add(a, b): return a + b"))
    assert len(code._verdicts) == 1
    assert verify_code(ADD, "so\n" + fenced("def add(a, b): return a + b")) == first
    verify_code(ADD, fenced("def add(a, b):\n    while True: pass"))
    assert len(code._verdicts) == 1, "the next time may be in time"


def test_a_block_in_the_thought_does_not_count() -> None:
    good = fenced("def add(a, b): return a + b")
    assert verify_code(ADD, f"<think>{good}</think>no idea").outcome is False
    assert verify_code(ADD, f"<think>{good}").reason == "the thought never ends"
    assert verify_code(ADD, f"<think>{fenced('x')}</think>{good}").outcome is True


def test_a_row_that_cannot_be_read_is_invalid() -> None:
    assert verify_code(Problem("p", "code", (), Preference(), "t"), "x").status == "invalid"
    assert verify_code(asserts("assert ("), fenced("x = 1")).status == "invalid"
    no_entry = Problem("p", "code", (), Tests((CallTest((1,), 1),)), "t")
    assert verify_code(no_entry, fenced("x = 1")).status == "invalid"


def test_asserts_become_calls() -> None:
    check = "METADATA = {}\n\ndef check(candidate):\n    assert candidate(1, [2]) == (3,)\n"
    (found,) = checks_of(check, "f") or ()
    assert (found.name, found.arguments) == ("f", (1, [2]))
    assert not found.fault((3,))
    assert found.fault([3])


@pytest.mark.parametrize(
    ("block", "source", "status"),
    [
        ("assert f(3) == 6", "def f(x): return 2.0 * x", "right"),  # what Python's == says
        ("assert f(3) == 6", "def f(x): return x", "wrong"),
        ("assert set(f([1, 1])) == {1}", "def f(x): return x", "right"),
        ("assert abs(f(2) - 1.41421) < 1e-4", "def f(x): return x ** 0.5", "right"),
        ("assert abs(f(2) - 1.41421) < 1e-4", "def f(x): return x", "wrong"),
        ("for i in range(9):\n    assert f(i) == i * i", "def f(x): return x * x", "right"),
        ("for i in range(9):\n    assert f(i) == i * i", "def f(x): return x", "wrong"),
        ("assert f(1) is None", "def f(x): pass", "right"),
    ],
)
def test_assert_tests_are_judged(block: str, source: str, status: str) -> None:
    assert verify_code(asserts(block), fenced(source)).status == status
