"""What counts as the same output, and as the same value."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.types import CallTest
from cascade_rl.verifiers.code.compare import right_value, same_output, short

CASES = Path(__file__).resolve().parents[1] / "cases"


def cases(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf-8").splitlines()]


def value(text: str) -> Any:
    """Only literals, but for the floats and integers that have none."""
    words = {"nan": float("nan"), "inf": float("inf"), "huge": 10**400}
    text = text.replace("10**400", "float('huge')")
    return _value(ast.parse(text, mode="eval").body, words)


def _value(node: ast.expr, words: dict[str, Any]) -> Any:
    match node:
        case ast.Call(args=[ast.Constant(value=name)]):
            return words[name]
        case ast.List(elts=items):
            return [_value(item, words) for item in items]
    return ast.literal_eval(node)


@pytest.mark.parametrize("case", cases("code_outputs.jsonl"), ids=lambda case: repr(case["found"]))
def test_printed_text_is_compared_as_contest_sites_do(case: dict[str, Any]) -> None:
    found = same_output(case["found"], case["expected"], case.get("tolerance"))
    assert found is case["same"]


@pytest.mark.parametrize("case", cases("code_values.jsonl"), ids=lambda case: case["found"])
def test_a_value_is_right_by_type_and_value(case: dict[str, Any]) -> None:
    also = (value(case["also"]),) if "also" in case else ()
    test = CallTest((), value(case["expected"]), also)
    assert right_value(value(case["found"]), test, case.get("tolerance")) is case["right"]


def test_a_reason_shows_a_little_of_a_large_value() -> None:
    assert len(short("x" * 10_000)) < 250
    assert short(10**100_000) == "a int"
