"""`cascade data tools`: the four kinds of conversations, and every way in which a call is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.chat import CALL_OPEN
from cascade_rl.cli import status_of
from cascade_rl.data.rows import read_rows
from cascade_rl.data.schema import parse_conversation
from cascade_rl.data.sft.tools import KINDS, Checked, check
from cascade_rl.data.step import report_path
from cascade_rl.types import Conversation

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "cases" / "tool_calls.jsonl").read_text().splitlines()
]
RIGHT = [case for case in CASES if "kind" in case]
WRONG = [case for case in CASES if "reason" in case]


def row(case: dict[str, Any]) -> Conversation:
    found = parse_conversation({**case, "source": "t", "id": case["why"]})
    assert isinstance(found, Conversation)
    return found


def checked(case: dict[str, Any]) -> Checked | tuple[str, str]:
    return check(row(case), allow_final_call=case.get("allow_final_call", False))


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case["why"])
def test_a_conversation_whose_calls_hold_is_kept_with_its_kind(case: dict[str, Any]) -> None:
    found = checked(case)
    assert isinstance(found, Checked), found
    assert found.kind == case["kind"]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case["why"])
def test_a_wrong_call_is_named(case: dict[str, Any]) -> None:
    found = checked(case)
    assert not isinstance(found, Checked)
    assert found[0] == case["reason"]


def test_the_table_has_every_kind_and_every_reason() -> None:
    assert {case["kind"] for case in RIGHT} == set(KINDS)
    assert {case["reason"] for case in WRONG} == {
        "bad tool signature", "unreadable call", "unknown tool", "missing argument",
        "extra argument", "wrong argument", "tool result without a call", "unanswered call",
    }  # fmt: skip


def test_a_call_in_the_text_becomes_a_call() -> None:
    [case] = [case for case in RIGHT if case["why"] == "a call in the text is read"]
    found = checked(case)
    assert isinstance(found, Checked) and found.calls == 1
    turn = found.conversation.messages[1]
    assert turn.content == "I look." and CALL_OPEN not in turn.content
    assert dict(turn.tool_calls[0].arguments) == {"city": "Rome"}


def test_a_pattern_of_the_data_is_not_run() -> None:
    slow = {"type": "string", "pattern": "^(a+)+$"}
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": slow}}}
    call = {"name": "f", "arguments": {"a": "a" * 40 + "b"}}
    turns = [{"role": "user", "content": "q"},
             {"role": "assistant", "content": "", "tool_calls": [call]},
             {"role": "tool", "content": "x"}, {"role": "assistant", "content": "a"}]  # fmt: skip
    begun = time.monotonic()
    assert isinstance(checked({"why": "x", "tools": [tool], "messages": turns}), Checked)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_file_is_split_and_its_kinds_are_counted(tmp_path: Path, ending: str) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / f"out.{ending}"
    rows = [{**case, "source": "t", "id": case["why"]} for case in CASES]
    source.write_text("\n".join(map(json.dumps, rows)) + "\n{broken\n")
    assert status_of(["data", "tools", str(source), "--out", str(out)]) == 0
    plain = [case for case in RIGHT if not case.get("allow_final_call")]
    found = [r for r in read_rows(out, "conversation") if isinstance(r, Conversation)]
    assert [r.id for r in found] == [case["why"] for case in plain]
    report = json.loads(report_path(out).read_text())
    assert report["kinds"] == {
        kind: sum(case["kind"] == kind for case in plain) for kind in KINDS
    }  # fmt: skip
    mean = sum(len(case["tools"]) for case in plain) / len(plain)
    assert report["tools_per_conversation"] == pytest.approx(mean, abs=0.01)
    assert report["dropped"]["unreadable"] == 1
    assert report["read"] == len(CASES) + 1


def test_the_mini_presets_tool_rows_hold() -> None:
    from cascade_rl import mini

    rows = [r for r in mini.rows("sft/2", 0) if isinstance(r, Conversation) and r.tools]
    assert len(rows) > 100
    assert all(isinstance(check(r), Checked) for r in rows)
