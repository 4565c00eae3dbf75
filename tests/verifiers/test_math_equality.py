"""`equal` on expressions: pairs of ours, Math-Verify's own cases, and a parser as an oracle."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import math_verify
import mpmath
import pytest
import sympy

from cascade_rl.verifiers.math import algebra, equal, final_answer, latex
from cascade_rl.verifiers.math.algebra import Undefined, Unreadable, Value
from cascade_rl.verifiers.math.equality import decide
from cascade_rl.verifiers.math.normalise import normalise

CASES = Path(__file__).resolve().parents[1] / "cases"
PAIRS = [json.loads(line) for line in (CASES / "math_pairs.jsonl").read_text().splitlines()]
POLICY = [json.loads(line) for line in (CASES / "math_policy.jsonl").read_text().splitlines()]


def short(row: dict[str, Any]) -> str:
    return f"{row['found'][:30]} {'is' if row['equal'] else 'is not'} {row['reference'][:30]}"


@pytest.mark.parametrize("row", PAIRS, ids=short)
def test_of_a_pair(row: dict[str, Any]) -> None:
    assert equal(row["found"], row["reference"]) is row["equal"]


def test_there_are_hundreds_of_pairs_both_ways() -> None:
    assert sum(row["equal"] for row in PAIRS) >= 200
    assert sum(not row["equal"] for row in PAIRS) >= 200


def test_a_right_answer_is_right_in_dollars_and_boxes() -> None:
    for row in PAIRS:
        if row["equal"] and "$" not in row["found"]:
            assert equal(f"${row['found']}$", f"${row['reference']}$"), row
            if "\n" not in row["found"]:
                assert equal(f"\\boxed{{{row['found']}}}", row["reference"]), row


# --- Math-Verify's own cases ------------------------------------------------------------------

PROSE = re.compile(r"(?:[A-Za-z']{2,} +){2}[A-Za-z']{2,}|\b(?:[Aa]nswer|matrix|Therefore)\b")
FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$((?:\\\$|[^$\n])+)(?<!\\)\$", re.DOTALL
)


def expression(text: str, percent: bool = False) -> str | None:
    """The expression that a case is about: its boxes, the whole of a bare one, or the last
    formula, or number, of the last sentence. Not under test; equality is."""
    text = re.sub(r"\\\\(?=boxed|\(|\))", r"\\", text)
    if (found := final_answer(text, percent=percent)) is not None:
        return found
    if "\n" not in text and not PROSE.search(text):
        return text
    text = text.split("I hope it is correct")[0]
    sentence = re.split(r"(?<=[a-z$)\d])\. +(?=[A-Z])", text.strip())[-1]
    if formulas := [next(filter(None, groups)) for groups in FORMULA.findall(sentence)]:
        return formulas[-1]
    return None if "$" in sentence else final_answer(sentence, "last_number")


@pytest.fixture(scope="module")
def mathverify_rows(shared_data: Callable[[str], Path]) -> list[dict[str, Any]]:
    lines = shared_data("math/mathverify_cases.jsonl").read_text().splitlines()
    listed = {(row["gold"], row["pred"]) for row in POLICY}
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if (row["gold"], row["pred"]) not in listed]


def test_of_math_verifys_cases_we_accept_no_wrong_one_and_as_many_right_ones(
    mathverify_rows: list[dict[str, Any]],
) -> None:
    ours, theirs, wrongly = 0, 0, []
    for row in mathverify_rows:
        gold = expression(row["gold"])
        found = expression(row["pred"], percent="%" in row["gold"])
        accepted = bool(gold and found and equal(found, gold))
        if row["expected"]:
            ours += accepted
            parsed = (math_verify.parse(row["gold"]), math_verify.parse(row["pred"]))
            theirs += bool(math_verify.verify(*parsed))
        elif accepted:
            wrongly.append(row)
    assert wrongly == []
    assert ours >= theirs >= 90


def test_at_most_fifteen_cases_are_left_out_and_each_says_why(
    shared_data: Callable[[str], Path],
) -> None:
    lines = shared_data("math/mathverify_cases.jsonl").read_text().splitlines()
    known = {(row["gold"], row["pred"]) for row in map(json.loads, lines)}
    assert len(POLICY) <= 15
    for row in POLICY:
        assert (row["gold"], row["pred"]) in known
        assert row["why"]
        assert not equal(row["found"], row["reference"])


# --- the exact arithmetic against sympy -------------------------------------------------------


def as_sympy(value: Value) -> Any:
    def polynomial(terms: algebra.Polynomial) -> Any:
        total = sympy.Integer(0)
        for monomial, factor in terms.items():
            product = sympy.Integer(factor)
            for name, power in monomial:
                product *= as_symbol(name) ** power
            total += product
        return total

    return polynomial(value.above) / polynomial(value.below)


def as_symbol(name: str) -> Any:
    if name.startswith(algebra.ROOT):
        return sympy.sqrt(int(name[1:]))
    constants = {"pi": sympy.pi, "i": sympy.I, "e": sympy.E}
    return constants.get(name, sympy.Symbol(name, real=True))


def test_what_is_read_exactly_is_what_a_latex_parser_reads(
    shared_data: Callable[[str], Path],
) -> None:
    """Symbols I and E are the parser's constants and our letters: such rows are left out."""
    lines = shared_data("math/latex2sympy2_cases.jsonl").read_text().splitlines()
    compared = 0
    for row in map(json.loads, lines):
        try:
            value = latex.read(normalise(row["latex"]))
        except (Unreadable, Undefined):
            continue
        if algebra.opaque(value) or not row["passed_upstream"] or re.search("[IE]", row["latex"]):
            continue
        wanted = sympy.sympify(row["srepr"]).doit()
        names = {s: as_symbol(re.sub(r"[{}]", "", s.name)) for s in wanted.free_symbols}
        difference = as_sympy(value) - wanted.subs(names)
        draw = random.Random(0)
        point = {s: sympy.Rational(draw.randint(2, 50), 7) for s in difference.free_symbols}
        assert abs(sympy.N(difference.subs(point))) < 1e-9, row["latex"]
        compared += 1
    assert compared >= 80


# --- random formulas against numbers of 40 digits ---------------------------------------------


def formula(draw: random.Random, depth: int) -> tuple[str, Any]:
    """A formula in x, pi and roots, and its value at x = 1.2345..."""
    kind = draw.randrange(8) if depth else 7
    if kind == 7:
        n = draw.randint(0, 20)
        leaves = [(str(n), mpmath.mpf(n)), ("\\pi ", +mpmath.pi), ("x", mpmath.mpf(POINT))]
        return draw.choice([*leaves, (f"\\sqrt{{{n}}}", mpmath.sqrt(n))])
    (left, a), (right, b) = formula(draw, depth - 1), formula(draw, depth - 1)
    forms = [(f"({left}+{right})", a + b), (f"({left}-{right})", a - b), (f"({left})^2", a * a)]
    forms += [(f"({left})({right})", a * b), (f"({left}) \\cdot ({right})", a * b)]
    if abs(b) > 1e-20:
        forms += [(f"\\frac{{{left}}}{{{right}}}", a / b), (f"({left})/({right})", a / b)]
    return forms[kind % len(forms)]


POINT = "1.2345678901234567"


def test_exact_arithmetic_agrees_with_numbers_of_40_digits() -> None:
    draw = random.Random(0)
    told = {True: 0, False: 0, None: 0}
    with mpmath.workdps(40):
        for _ in range(1500):
            (left, a), (right, b) = formula(draw, 3), formula(draw, draw.randint(0, 3))
            pairs = [(left, right, a, b)]
            pairs += [(f"({left}+{right})^2", f"({left})^2+2({left})({right})+({right})^2", 0, 0)]
            for found, reference, x, y in pairs:
                verdict = decide(found, reference)
                told[verdict] += 1
                same = abs(x - y) < mpmath.mpf(10) ** -25 * (1 + abs(x))
                assert verdict is None or verdict is bool(same), (found, reference)
    assert min(told[True], told[False]) > 1000
