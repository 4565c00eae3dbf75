"""Answers that try to pass without being right, judged end to end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.types import AssertTest, CallTest, Problem, StdioTest, Tests
from cascade_rl.verifiers import code
from cascade_rl.verifiers.code import MAX_SOURCE, verify_code

CASES = Path(__file__).resolve().parents[1] / "cases"
ATTACKS: list[dict[str, Any]] = [
    json.loads(line) for line in (CASES / "code_attacks.jsonl").read_text().splitlines()
]


def calls(*cases: CallTest) -> Tests:
    return Tests(cases, entry_point="f", time_limit_s=1.0)


TESTS = {
    "call": calls(CallTest((1,), 3), CallTest((2, [3]), 3)),
    "call one": calls(CallTest((1,), 1)),
    "call list": calls(CallTest((1,), [1, 2])),
    "call nan": calls(CallTest((1,), float("nan"))),
    "assert": Tests((AssertTest("assert f(1) == 3"), AssertTest("assert set([f(2)]) == {3}"))),
    "assert, two processes": Tests((AssertTest("for i in (1, 2):\n    assert f(i) == 3"),)),
    "stdio": Tests((StdioTest("17\n", "17\n"), StdioTest("18\n", "18\n"))),
}


def problem(kind: str) -> Problem:
    return Problem("p", "code", (), TESTS[kind], "t")


@pytest.mark.parametrize("case", ATTACKS, ids=lambda case: f"{case['kind']}: {case['name']}")
def test_an_answer_is_judged_by_what_it_computes(case: dict[str, Any]) -> None:
    verdict = verify_code(problem(case["kind"]), f"```python\n{case['source']}\n```")
    assert verdict.status in case["status"], verdict
    assert verdict.outcome is (verdict.status == "right")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "```",
        "`" * 10_000_000,
        "```python\n" * 500_000,
        "```python\n" + "x = 1\n" * 1_700_000 + "```",
        "\n" * 10_000_000,
        " " * 10_000_000,
        "\0\x80\ud800" * 3_000_000,
        "<think>" * 1_000_000,
        "```python\n" + "(" * (MAX_SOURCE - 1) + "\n```",
        "```python\n" + "-" * (MAX_SOURCE - 2) + "1\n```",
        "```python\n\0\ud800\n```",
    ],
    ids=range(12),
)
def test_any_text_is_judged_in_bounded_time(text: str) -> None:
    started = time.perf_counter()
    assert verify_code(problem("call"), text).outcome is False
    assert time.perf_counter() - started < 10


def test_values_that_are_slow_to_compare_are_refused_or_compared_quickly() -> None:
    source = (
        "import os\n"
        "alike = ', '.join('[\"i\", \"%x\"]' % (n * (2**61 - 1)) for n in range(30_000))\n"
        "os.write(3, ('V[\"%s\", [%s]]\\n' % ('S', alike)).encode())\n"
        "os._exit(0)\n"
    )
    started = time.perf_counter()
    verdict = verify_code(problem("call list"), f"```python\n{source}\n```")
    assert verdict.outcome is False
    listed = source.replace("'S'", "'l'")
    sets = Problem("p", "code", (), Tests((AssertTest("assert set(f(1)) == {1}"),)), "t")
    assert verify_code(sets, f"```python\n{listed}\n```").outcome is False
    assert time.perf_counter() - started < 10


def test_results_of_every_test_agree_with_the_verdict() -> None:
    for case in ATTACKS:
        results = code.test_results(problem(case["kind"]), f"```python\n{case['source']}\n```")
        assert len(results) == len(TESTS[case["kind"]].cases)
        passed = all(result.status == "right" for result in results)
        assert passed is (case["status"] == ["right"]), case["name"]
