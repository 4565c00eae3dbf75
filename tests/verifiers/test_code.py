"""Programs against tests: what passes, what fails, and what nothing can fake."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.types import AssertTest, CallTest, Preference, Problem, StdioTest, Tests
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


def asserts(*code: str, entry_point: str | None = None, setup: str = "") -> Problem:
    cases = tuple(AssertTest(block) for block in code)
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
        ("```python\nb", None),
        ("def f(): pass", "def f(): pass"),
        ("  \n", None),
        ("", None),
    ],
)
def test_the_program_is_the_last_complete_block(answer: str, program: str | None) -> None:
    assert extract_program(answer) == program


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
    ("code", "source", "status"),
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
def test_assert_tests_are_judged(code: str, source: str, status: str) -> None:
    assert verify_code(asserts(code), fenced(source)).status == status


def test_humaneval_solutions_pass_and_empty_ones_fail(shared_data: Callable[[str], Path]) -> None:
    with gzip.open(shared_data("code/HumanEval.jsonl.gz")) as file:
        rows = [json.loads(line) for line in file][::4]
    for row in rows:
        problem = asserts(row["test"], entry_point=row["entry_point"])
        good = verify_code(problem, fenced(row["prompt"] + row["canonical_solution"]))
        assert good.outcome, (row["task_id"], good)
        bad = verify_code(problem, fenced(row["prompt"] + "    return None\n"))
        assert bad.outcome is False, row["task_id"]


def test_mbpp_solutions_pass(shared_data: Callable[[str], Path]) -> None:
    for row in json.loads(shared_data("code/mbpp_sanitized.json").read_text())[::5]:
        problem = asserts(*row["test_list"], setup="\n".join(row["test_imports"]))
        verdict = verify_code(problem, fenced(row["code"]))
        assert verdict.outcome, (row["task_id"], verdict)


def test_recorded_verdicts_of_model_solutions_are_reproduced(
    shared_data: Callable[[str], Path],
) -> None:
    lines = shared_data("code/reflexion_gpt4_verdicts.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines][::4]
    agree = 0
    for row in rows:
        problem = asserts(row["test"], entry_point=row["entry_point"])
        agree += verify_code(problem, fenced(row["solution"])).outcome is row["is_solved"]
    # Some of the labels are wrong: programs marked unsolved that pass every test.
    assert agree >= 0.97 * len(rows)
