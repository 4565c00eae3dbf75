"""Asserts read as data: what is rewritten, what is not, and that both say what Python says."""

from __future__ import annotations

import ast
import gzip
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.code_formats import helpers_of
from cascade_rl.types import AssertTest, Problem, Tests
from cascade_rl.verifiers.code import verify_code
from cascade_rl.verifiers.code.asserts import builtin_under_test, checks_of
from cascade_rl.verifiers.code.expressions import constant, expression

CASES = Path(__file__).resolve().parents[1] / "cases"
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (CASES / "code_asserts.jsonl").read_text().splitlines()
]
DATA = [row for row in ROWS if row["data"]]


def name(row: dict[str, Any]) -> str:
    return repr(row["code"])[1:60]


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_an_assert_is_data_where_that_means_the_same(row: dict[str, Any]) -> None:
    checks = checks_of(row["code"], row.get("entry"), row.get("setup", ""))
    assert (checks is not None) is row["data"]


@pytest.mark.parametrize("row", DATA, ids=name)
def test_a_check_passes_for_the_right_value_alone(row: dict[str, Any]) -> None:
    (check,) = checks_of(row["code"], row.get("entry")) or ()
    assert check.name == "f"
    started = time.perf_counter()
    assert check.fault(constant(ast.parse(row["good"], mode="eval").body)) == ""
    assert check.fault(eval(row["bad"])) != ""
    assert time.perf_counter() - started < 1, "whatever the value"


def passes_in_python(row: dict[str, Any], value: str) -> bool:
    call = "\ncheck(f)" if row.get("entry") else ""
    code = f"import math\ndef f(*args, **kwargs): return {value}\n{row['code']}{call}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(code, {})
        except Exception:
            return False
    return True


@pytest.mark.parametrize("row", DATA, ids=name)
def test_the_interpreter_says_the_same(row: dict[str, Any]) -> None:
    assert passes_in_python(row, row["good"])
    if "10 ** 9" not in row["bad"] and "99d" not in row["bad"]:  # Python would not end
        assert not passes_in_python(row, row["bad"])


def test_an_expression_does_not_know_names_or_attributes() -> None:
    for text in ("x", "x.y", "[].append", "math.factorial(9)", "int.__bases__", "lambda: 1"):
        with pytest.raises(ValueError):
            expression(ast.parse(text, mode="eval").body)


def test_a_block_that_calls_nothing_is_unreadable() -> None:
    for block in ("def check(candidate):\n    assert candidate(1) == 2", "import math", "x = 1"):
        with pytest.raises(ValueError, match="never calls"):
            checks_of(block, None)


def test_a_builtin_is_under_test_only_where_nothing_else_is_called() -> None:
    assert builtin_under_test(["assert sum(10, 15) == 6", "assert sum(4, 6) == 3"]) == "sum"
    assert builtin_under_test(["assert sum(f(10)) == 6"]) is None
    assert builtin_under_test(["assert set(f(1)) == set([1])"]) is None
    assert builtin_under_test(["assert f(1)"]) is None


def test_enough_of_the_public_tests_are_data(shared_data: Callable[[str], Path]) -> None:
    with gzip.open(shared_data("code/HumanEval.jsonl.gz")) as file:
        rows = [json.loads(line) for line in file]
    data = [
        checks_of(r["test"], r["entry_point"], helpers_of(r["prompt"], r["entry_point"]))
        for r in rows
    ]
    assert sum(checks is not None for checks in data) >= 0.695 * len(rows)  # 157 of 164
    rows = json.loads(shared_data("code/mbpp_sanitized.json").read_text())
    whole = [
        all(
            checks_of(block, builtin_under_test(r["test_list"]), "\n".join(r["test_imports"]))
            for block in r["test_list"]
        )
        for r in rows
    ]
    assert sum(whole) >= 0.945 * len(rows)  # 398 of 399


def asserts(*code: str, setup: str = "", entry: str | None = None) -> Problem:
    cases = tuple(AssertTest(block) for block in code)
    return Problem("p", "code", (), Tests(cases, entry, setup), "t")


@pytest.mark.parametrize(
    ("problem", "program", "status"),
    [
        (asserts("assert f(1) == g(1)"), "f = g = abs", "right"),
        (asserts("assert f(1) == g(1)"), "f = abs\ndef g(x): return 2", "wrong"),
        (asserts("assert f(1)"), "import re\ndef f(x): return re.match('a', 'a')", "right"),
        (asserts("assert not f(1)"), "import re\ndef f(x): return re.match('a', 'a')", "wrong"),
        (asserts("assert set(f(1)) == {1}"), "def f(x): return {1: 2}.keys()", "right"),
        (asserts("assert f(1) == [1]"), "def f(x): yield x", "wrong"),
        (asserts("assert len(f(1)) == 2"), "def f(x): return {1: 2, 3: 4}.keys()", "right"),
        (asserts("assert sum(1, 2) == 5"), "def sum(a, b): return 5", "right"),
        (asserts("assert sum(f(1)) == 5"), "def sum(a): return 5\ndef f(x): return []", "wrong"),
        (
            asserts("assert helper(f(1)) == 0", setup="def helper(x): return x"),
            "def helper(x): return 0\ndef f(x): return 1",
            "wrong",
        ),
        (
            asserts("assert f(1) == 1", "for i in (1, 2):\n    assert f(i) == i"),
            "def f(x): return 1",
            "wrong",
        ),
        (
            asserts("assert f(nums=[1, 2]) == 3", entry="Solution().f"),
            "class Solution:\n    def f(self, nums): return sum(nums)",
            "right",
        ),
    ],
)
def test_asserts_of_every_kind_are_judged(problem: Problem, program: str, status: str) -> None:
    assert verify_code(problem, f"```python\n{program}\n```").status == status


def test_tests_that_ask_nothing_of_the_program_are_invalid() -> None:
    for block in ("assert True", "pass", "def test_f():\n    assert f(1) == 1"):
        assert verify_code(asserts(block), "```\nx = 1\n```").status == "invalid"
