"""Mutants, generated inputs, and what they say of a problem's tests."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import strength as benchmark
from cascade_rl.data.strength.inputs import like_calls, like_texts
from cascade_rl.data.strength.measure import THRESHOLD, strength_of
from cascade_rl.data.strength.mutants import mutants_of
from cascade_rl.data.strength.prompts import unfit_text
from cascade_rl.data.strength.trials import Unfit, trial_of
from cascade_rl.types import AssertTest, CallTest, Problem, StdioTest, Tests

CASES = Path(__file__).resolve().parents[1] / "cases"
CLAMP = """\
def clamp(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x
"""
WEAK = ["assert clamp(5, 0, 9) == 5"]
STRONG = [*WEAK, "assert clamp(-3, 0, 9) == 0", "assert clamp(12, 0, 9) == 9"]


def asserts(*blocks: str) -> Problem:
    return Problem("p", "code", (), Tests(tuple(map(AssertTest, blocks))), "t")


# --- mutants ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "mutant"),
    [
        ("x = a < b", "x = a <= b"),
        ("x = a + b", "x = a - b"),
        ("x = 3", "x = 4"),
        ("x = True", "x = False"),
        ("x = not a", "x = a"),
        ("x = a and b", "x = a or b"),
        ("x = a[1:n]", "x = a[:n]"),
        ("x = a[i]", "x = a[i + 1]"),
        ("x = max(a, b)", "x = min(a, b)"),
        ("x = f(a, b)", "x = f(b, a)"),
        ("x = sorted(a)", "x = a"),
        ("x = sorted(a, reverse=True)", "x = sorted(a)"),
        ("x = range(n)", "x = range(n - 1)"),
        ("x = [a for a in b if a]", "x = [a for a in b]"),
        ("x += 1", "x -= 1"),
        ("x.append(1)", "pass"),
        ("if a:\n    x = y", "x = y"),
        ("if a:\n    x = y", "pass"),
        ("while a:\n    x = y", "if a:\n    x = y"),
        ("for a in b:\n    x = a", "for a in list(b)[1:]:\n    x = a"),
        ("def f():\n    return x", "def f():\n    return None"),
        ("def f():\n    return x", "def f():\n    x"),
    ],
)
def test_every_kind_of_slip_is_made(program: str, mutant: str) -> None:
    assert mutant in {found.source for found in mutants_of(program)}


def test_mutants_are_programs_other_than_the_original_and_than_each_other() -> None:
    found = mutants_of(CLAMP)
    assert len(found) > 15
    assert len({mutant.source for mutant in found}) == len(found)
    assert ast.unparse(ast.parse(CLAMP)) not in {mutant.source for mutant in found}
    for mutant in found:
        ast.parse(mutant.source)


def test_docstrings_imports_and_annotations_are_left_alone() -> None:
    source = (
        '"""Say."""\nimport os\ndef f(x: int = 0) -> "list[int]":\n    """Do."""\n    return x\n'
    )
    for mutant in mutants_of(source):
        for kept in ('"""Say."""', "import os", '"""Do."""'):
            assert kept in mutant.source
        assert "x: int" in mutant.source or "def f" not in mutant.source


def test_few_mutants_are_spread_over_the_program_and_reproducible() -> None:
    few = mutants_of(CLAMP, 8, seed=3)
    assert few == mutants_of(CLAMP, 8, seed=3) != mutants_of(CLAMP, 8, seed=4)
    assert len(few) == 8 and len({mutant.line for mutant in few}) >= 4


# --- inputs -----------------------------------------------------------------------------------


def test_generated_arguments_keep_types_and_what_the_seeds_share() -> None:
    seeds = [([1, 4, 9], 3, "ab", (1.5, 2)), ([2, 3], 2, "ba", (0.5, 7))]
    found = like_calls(seeds, 200)
    assert len({repr(given) for given in found}) == 200
    for items, count, text, point in found:
        assert items == sorted(items) and count == len(items) and min(items, default=0) >= 0
        assert set(text) <= set("abAB") and len(point) == 2
        assert type(point[0]) is float and type(point[1]) is int and point[1] >= 0


def test_generated_texts_change_numbers_and_keep_the_rest() -> None:
    for text in like_texts(["3\n1 2 3\n"], 50):
        assert [len(line.split()) for line in text.split("\n")] == [1, 3, 0]


def test_functions_without_arguments_get_no_inputs() -> None:
    assert like_calls([()], 10) == [] and like_texts([], 10) == []


# --- strength ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strong",
    [
        Tests(tuple(map(AssertTest, STRONG))),
        Tests(
            tuple(CallTest(a, e) for a, e in (((5, 0, 9), 5), ((-3, 0, 9), 0), ((12, 0, 9), 9))),
            entry_point="clamp",
        ),
    ],
    ids=["asserts", "calls"],
)
def test_tests_that_miss_a_branch_are_weaker(strong: Tests) -> None:
    weak = Tests(strong.cases[:1], strong.entry_point)
    found = [
        strength_of(Problem("p", "code", (), tests, "t"), CLAMP, mutants=40)
        for tests in (strong, weak)
    ]
    assert found[0].strength > 0.5 > 0.4 > found[1].strength
    assert found[1].survivors and all(not tried.caught for tried in found[1].survivors)
    assert found[0] == strength_of(Problem("p", "code", (), strong, "t"), CLAMP, mutants=40)


def test_a_script_is_measured_by_what_it_prints() -> None:
    script = "n = int(input())\nif n > 10:\n    n = 10\nprint(n + 1)\n"

    def strength(*pairs: tuple[str, str]) -> float:
        tests = Tests(tuple(StdioTest(*pair) for pair in pairs))
        return strength_of(Problem("p", "code", (), tests, "t"), script, mutants=20).strength

    strong = strength(("3\n", "4\n"), ("12\n", "11\n"), ("10\n", "11\n"), ("11\n", "11\n"))
    assert strong > 0.8 > 0.6 > strength(("3\n", "4\n"))


def test_tests_that_are_more_than_data_are_run_by_the_verifier() -> None:
    block = (
        "for x in range(-3, 13):\n    assert clamp(x, 0, 9) == min(max(x, 0), 9)\nclamp(1, 2, 3)"
    )
    found = strength_of(asserts(block), CLAMP, mutants=20)
    assert found.strength > 0.8 and found.inputs > 50


def test_equivalent_mutants_are_left_out() -> None:
    source = "def f(x):\n    y = 7\n    return x * 2\n"
    found = strength_of(asserts("assert f(3) == 6", "assert f(5) == 10"), source)
    assert found.equivalent >= 3, "the constant that is never used"
    assert all(tried.mutant.line == 3 for tried in found.tried if "y" not in tried.mutant.change)


def test_a_mutant_that_never_ends_fails_where_it_hangs_and_only_there() -> None:
    source = "def f(n):\n    while n > 3:\n        n -= 1\n    return n\n"
    trial = trial_of(
        asserts("assert f(2) == 2", "assert f(9) == 3", "assert f(1) == 1"), source, 9, 0
    )
    behaviour = trial.run(source.replace("n -= 1", "pass"))
    assert behaviour.caught == 1


def test_a_golden_solution_that_fails_is_none() -> None:
    with pytest.raises(Unfit, match="fails a test"):
        trial_of(asserts("assert clamp(1, 2, 3) == 1"), CLAMP, 10, 0)
    with pytest.raises(Unfit, match="cpp"):
        tests = Tests((StdioTest("", ""),), language="cpp")
        trial_of(Problem("p", "code", (), tests, "t"), "", 10, 0)


# --- what the text says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [json.loads(line) for line in (CASES / "code_prompts.jsonl").read_text().splitlines()],
    ids=lambda case: case["text"][:40],
)
def test_problems_that_fixed_outputs_cannot_judge_are_known_by_their_text(
    case: dict[str, str],
) -> None:
    assert unfit_text(case["text"])[0] == case["reason"]


# --- real problems ----------------------------------------------------------------------------

REAL = ("mbpp/247", "mbpp/396", "mbpp/431", "mbpp/758", "HumanEval/137", "HumanEval/21")


def test_weakened_tests_of_real_problems_are_weaker_and_most_are_flagged(
    shared_data: Callable[[str], Path],
) -> None:
    data = shared_data("code/mbpp_sanitized.json").parents[1]
    found = [item for item in benchmark.items(data) if item.problem.id in REAL]
    results = [benchmark.measured(item, mutants=25) for item in found]
    measured = [result for result in results if result is not None]
    assert len(measured) == len(REAL)
    for result in measured:
        weakened = result.harder or result.drawn
        assert weakened.left < result.tests
        assert not weakened.strength or weakened.strength.strength < result.original.strength
    flagged, passed, _ = benchmark.shares(measured, lambda s: s.strength, THRESHOLD)
    assert flagged == 1.0 and passed >= 0.6
