"""Tool calls: what is read as a call, and BFCL's rules of types, values and order as a table."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.chat import assistant_text
from cascade_rl.data.references import ground_truth
from cascade_rl.data.schema import parse_row, row_dict
from cascade_rl.types import Answer, Calls, Message, Problem, ToolCall, Verdict, WantedCall
from cascade_rl.verifiers import verify
from cascade_rl.verifiers.tool_calls import verify_tool_calls

TABLE = Path(__file__).resolve().parents[1] / "cases" / "bfcl.jsonl"
CASES = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


def function(name: str, required: str, **types: Any) -> dict[str, Any]:
    properties = {k: t if isinstance(t, dict) else {"type": t} for k, t in types.items()}
    schema = {"type": "dict", "properties": properties, "required": required.split()}
    return {"name": name, "description": "", "parameters": schema}


def listed(of: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": of}}


FUNCTIONS = (
    function("area", "base height", base="integer", height="integer", unit="string"),
    function("volume", "base height", base="integer", height="integer"),
    function("math.hypot", "x y", x="float", y="float"),
    function("book", "city", city="string", date="string", guests="integer", window="boolean"),
    function("mean", "values", values=listed("float"), labels=listed("string")),
    function("move", "to", to={"type": "tuple", "items": {"type": "integer"}}),
    function("find", "where", where="dict"),
    function("order", "items", items=listed("dict")),
    function("play", "artist minutes", artist="string", minutes="integer"),
)


def problem(wanted: list[dict[str, Any]], functions: Any = FUNCTIONS) -> Problem:
    calls = [
        WantedCall(w["name"], {k: tuple(v) for k, v in w["arguments"].items()}) for w in wanted
    ]
    prompt = (Message("user", "Do it."),)
    return Problem("p", "tool_calls", prompt, Calls(tuple(functions), tuple(calls)), "t")


def verdict(row: dict[str, Any]) -> Verdict:
    return verify_tool_calls(problem(row["wanted"]), row["text"])


@pytest.mark.parametrize("row", CASES, ids=lambda row: row["why"])
def test_a_call_is_right_by_the_published_rules_and_wrong_with_a_reason(
    row: dict[str, Any],
) -> None:
    found = verdict(row)
    assert found.status == ("wrong" if row["reason"] else "right"), found.reason
    assert row["reason"] in found.reason and bool(row["reason"]) == bool(found.reason)


def test_what_our_template_renders_is_read_back_and_right() -> None:
    wanted = [{"name": "area", "arguments": {"base": [10], "height": [5], "unit": [""]}}]
    turn = Message("assistant", "", tool_calls=(ToolCall("area", {"base": 10, "height": 5}),))
    assert verify(problem(wanted), assistant_text(turn)).outcome is True


def test_a_row_of_calls_is_written_and_read_back_equal() -> None:
    row = problem(CASES[0]["wanted"])
    again = parse_row(json.loads(json.dumps(row_dict(row, 0))), "problem")
    assert isinstance(again, Problem)
    assert again.reference == row.reference and ground_truth(again.reference).startswith("{")


@pytest.mark.parametrize(
    ("functions", "wanted", "said"),
    [
        ([{"name": "f"}], [], "needs name and parameters"),
        ([function("f", "", x="colour")], [{"name": "f", "arguments": {"x": [1]}}], "has no type"),
        ([{"name": "f", "parameters": {"required": 3}}], [], "f: parameters need"),
        (FUNCTIONS, [{"name": "fly", "arguments": {}}], "is of no function on offer"),
        (FUNCTIONS, [{"name": "area", "arguments": {"x": [1]}}], "which it cannot have"),
    ],
)
def test_a_row_that_cannot_be_judged_is_invalid_and_says_why(
    functions: Any, wanted: list[dict[str, Any]], said: str
) -> None:
    found = verify_tool_calls(problem(wanted, functions), "f(x=1)")
    assert (found.status, said in found.reason) == ("invalid", True)
    other = Problem("p", "tool_calls", (), Answer("f(x=1)"), "t")
    assert verify_tool_calls(other, "f(x=1)").status == "invalid"


@pytest.mark.parametrize(
    "text",
    ["(" * 49_000, "[" * 49_000, '{"a":' * 9_000, "-" * 49_000 + "1", "f(x=" * 9_000, "a." * 24_000,
     "<tool_call>" * 4_000, "<tool_call>{" + '"a":{' * 9_000, "f(x='\\d')", "x" * 60_000,
     "[" + "f(x=1)," * 6_000 + "]", f"f(x=1{'0' * 400})", f"f(x=0x{'f' * 5_000})",
     f'{{"name": "f", "arguments": {{"x": [[1{"0" * 400}]]}}}}'],
    ids=lambda text: f"{text[:12]!r}",
)  # fmt: skip
def test_a_hostile_answer_is_wrong_in_bounded_time(text: str) -> None:
    began = time.process_time()
    found = verify_tool_calls(problem(CASES[0]["wanted"]), text)
    assert found.status == "wrong" and len(found.reason) < 1_000
    assert time.process_time() - began < 3.0
