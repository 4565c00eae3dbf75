"""What `data.stats` counts equals what a person counts by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl import mini
from cascade_rl.data.pass_rate import pass_rates
from cascade_rl.data.rows import read_rows, write_rows
from cascade_rl.data.stats import RATE_NAMES, collect, rate_bin
from cascade_rl.data.step import Step
from cascade_rl.errors import DataError
from cascade_rl.types import (
    Answer,
    Constraints,
    Conversation,
    Message,
    Pair,
    Patch,
    Preference,
    Problem,
    Row,
    StdioTest,
    Tests,
    ToolCall,
)


def user(text: str, mode: Any = None) -> Message:
    return Message("user", text, mode=mode)


ROWS: list[Row] = [
    Problem("m1", "math", (user("one two three"),), Answer("1234"), "gsm",
            {"split": "train", "pass_rate": {"correct": 3, "total": 16}}),
    Problem("m2", "math", (user("one two three"),), Answer("5"), "gsm",
            {"split": "val", "pass_rate": {"correct": 16, "total": 16}}),
    Problem("m3", "math", (user("four"),), Answer("56"), "aime",
            {"split": "train", "passrate": 0.5}),
    Problem("c1", "code", (Message("system", "be brief"), user("add")),
            Tests((StdioTest("1", "2"), StdioTest("2", "3"))), "taco", {}),
    Problem("i1", "instruction_following", (user("no commas", "think"),),
            Constraints(("punctuation:no_comma", "a:b", "c:d"), ({}, {}, {})), "ifeval", {}),
    Problem("s1", "swe", (user("fix"),),
            Patch({"a.py": "x\n", "b.py": "y\n"}, "", ("a.py",), "either", "bug"), "swe", {}),
    Problem("h1", "chat", (user("hi"),), Preference(), "lmsys", {}),
    Conversation("t1", (user("hi", "think"), Message("assistant", "yes sir", thought="a b c"),
                        user("more", "no_think"), Message("assistant", "ok")), "sft"),
    Conversation("t2", (user("hi"), Message("assistant", "<think>x y</think>z")), "sft",
                 ({"type": "function", "function": {"name": "f"}},)),
    Conversation("t3", (user("call"),
                        Message("assistant", "", tool_calls=(ToolCall("f", {}),))), "sft"),
    Pair("p1", (user("which"),), "longer answer", "no", "helpsteer"),
]  # fmt: skip


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Any]:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return collect([tmp_path / "rows.jsonl"]).as_dict()


def test_names_are_counted_as_by_hand(found: dict[str, Any]) -> None:
    assert (found["rows"], found["unreadable"]) == (11, 0)
    assert found["counts"] == {
        "kind": {"problem": 7, "conversation": 3, "pair": 1},
        "domain": {"(none)": 4, "math": 3, "chat": 1, "code": 1, "instruction_following": 1,
                   "swe": 1},
        "source": {"sft": 3, "gsm": 2, "aime": 1, "helpsteer": 1, "ifeval": 1, "lmsys": 1,
                   "swe": 1, "taco": 1},
        "mode": {"(none)": 9, "no_think and think": 1, "think": 1},
        "split": {"(none)": 8, "train": 2, "val": 1},
    }  # fmt: skip


LENGTHS = [
    ("prompt", "math", "characters", [13, 13, 4]),
    ("prompt", "math", "words", [3, 3, 1]),
    ("prompt", "code", "characters", [12]),
    ("prompt", "conversation", "characters", [7, 2, 4]),
    ("response", "conversation", "words", [2, 1, 1, 0]),
    ("response", "conversation", "characters", [7, 2, 1, 0]),
    ("thought", "conversation", "words", [3, 2]),
    ("chosen", "pair", "characters", [13]),
    ("rejected", "pair", "words", [1]),
    ("answer", "math", "characters", [4, 1, 2]),
    ("tests", "code", "tests", [2]),
    ("constraints", "instruction_following", "constraints", [3]),
    ("files", "swe", "files", [2]),
    ("turns", "conversation", "turns", [4, 2, 2]),
    ("tools", "conversation", "tools", [0, 1, 0]),
]


@pytest.mark.parametrize(("what", "of", "unit", "values"), LENGTHS, ids=lambda v: str(v)[:20])
def test_lengths_are_measured_as_by_hand(
    what: str, of: str, unit: str, values: list[int], found: dict[str, Any]
) -> None:
    [line] = [x for x in found["lengths"] if (x["what"], x["of"], x["unit"]) == (what, of, unit)]
    ordered = sorted(values)
    assert line["count"] == len(values)
    assert line["mean"] == pytest.approx(sum(values) / len(values))
    assert line["median"] == ordered[(len(values) + 1) // 2 - 1]
    assert line["p95"] == line["max"] == max(values)


def test_equal_prompts_are_repeats_whatever_row_they_are_in(found: dict[str, Any]) -> None:
    # "one two three" twice, and "hi" as a problem's and as a conversation's
    assert found["prompts"] == {"different": 9, "repeated": 2}


def test_pass_rates_are_read_in_both_forms(found: dict[str, Any]) -> None:
    rates = found["pass_rate"]
    assert rates["rows"] == 3 and rates["mean"] == pytest.approx((3 / 16 + 1 + 0.5) / 3)
    assert {k: v for k, v in rates["histogram"].items() if v} == {
        "0.1 to 0.2": 1, "0.5 to 0.6": 1, "1": 1,
    }  # fmt: skip


RATES: list[tuple[dict[str, Any], float | None]] = [
    ({"pass_rate": {"correct": 0, "total": 16}}, 0.0),
    ({"pass_rate": 0.25}, 0.25),
    ({"pass_rate": {"correct": 5, "total": 4}}, None),
    ({"pass_rate": {"correct": 0, "total": 0}}, None),
    ({"pass_rate": {"correct": "1", "total": 2}}, None),
    ({"total_correct_rollouts": 2, "total_rollouts": 8, "passrate": 0.9}, 0.25),
    ({"passrate": 1.5}, None),
    ({"passrate": True}, None),
    ({"passrate": "0.5"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("extra", "rate"), RATES, ids=str)
def test_only_a_usable_pass_rate_is_read(extra: dict[str, Any], rate: float | None) -> None:
    assert [float(found.share) for found in pass_rates(extra)] == ([] if rate is None else [rate])


def test_none_right_and_all_right_have_bins_of_their_own() -> None:
    names = [RATE_NAMES[rate_bin(c / 10)] for c in range(11)]
    assert names == [*RATE_NAMES[:1], *RATE_NAMES[2:11], "1"]
    assert RATE_NAMES[rate_bin(1 / 16)] == "0 to 0.1"


def test_every_generated_row_is_counted(tmp_path: Path) -> None:
    total = 0
    for name in mini.NAMES:
        rows = mini.rows(name, 0)
        total += len(rows)
        path = tmp_path / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        write_rows(path, rows)
    found = collect([tmp_path]).as_dict()
    assert (found["rows"], found["unreadable"], len(found["files"])) == (total, 0, len(mini.NAMES))
    for counts in found["counts"].values():
        assert sum(counts.values()) == total
    assert sum(found["prompts"].values()) == total


def test_parquet_and_json_lines_of_equal_rows_give_equal_counts(tmp_path: Path) -> None:
    found = []
    for ending in ("jsonl", "parquet"):
        write_rows(tmp_path / f"rows.{ending}", ROWS)
        found.append(collect([tmp_path / f"rows.{ending}"]).as_dict())
        found[-1].pop("files")
    assert found[0] == found[1]


def test_what_is_no_row_is_counted_as_unreadable_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, ROWS)
    with path.open("ab") as file:
        file.write(b'{broken\n[1]\n{"question": "2+2?", "answer": "4"}\n\xff\xfe\n"text"\n')
    found = collect([path]).as_dict()
    assert (found["rows"], found["unreadable"]) == (11, 5)
    assert len(found["files"][0]["reasons"]) == 5
    assert "not JSON" in found["files"][0]["reasons"][0]


def test_no_rows_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    found = collect([tmp_path / "rows.jsonl"]).as_dict()
    assert found["rows"] == 0 and found["lengths"] == [] and found["pass_rate"]["mean"] is None


def test_drops_are_read_from_the_reports_beside_the_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", ROWS)
    with Step("curate", tmp_path / "new" / "out.jsonl", {}) as step:
        for n, row in enumerate(step.rows(tmp_path / "in.jsonl")):
            step.drop(row, "too short" if n < 5 else "a proof") if n < 7 else step.keep(row)
    (tmp_path / "new" / "x.report.json").write_text("{torn")
    (tmp_path / "new" / "y.report.json").write_text("[1, 2]")
    found = collect([tmp_path / "new"]).as_dict()
    assert found["rows"] == 4, "rejects and reports are no rows"
    drops, torn, other = found["drops"]
    assert (drops["command"], drops["read"], drops["kept"]) == ("curate", 11, 4)
    assert drops["dropped"] == {"a proof": 2, "too short": 5}
    assert "not JSON" in torn["problem"] and "no report" in other["problem"]


def test_a_file_named_twice_is_counted_once(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    assert collect([tmp_path, tmp_path / "rows.jsonl"]).rows == 11


def test_a_path_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        collect([tmp_path / "rows.jsonl"])


def test_tokens_are_counted_where_a_tokenizer_is_given(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS[:1])
    found = collect([tmp_path / "rows.jsonl"], lambda text: 7 * len(text.split())).as_dict()
    [line] = [x for x in found["lengths"] if x["unit"] == "tokens"]
    assert (line["what"], line["of"], line["max"]) == ("prompt", "math", 21)


def test_real_problems_are_measured_as_a_second_count_measures_them(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    lines = shared_data("math/gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    raw = [json.loads(line) for line in lines]
    answers = [row["answer"].rpartition("####")[2].strip() for row in raw]
    rows = [
        Problem(f"g{i}", "math", (user(row["question"]),), Answer(answer), "gsm8k")
        for i, (row, answer) in enumerate(zip(raw, answers, strict=True))
    ]
    write_rows(tmp_path / "gsm8k.parquet", rows)
    assert len(read_rows(tmp_path / "gsm8k.parquet", "problem")) == 1319
    found = collect([tmp_path / "gsm8k.parquet"]).as_dict()
    lengths = {(x["what"], x["unit"]): x for x in found["lengths"]}
    words = sorted(len(row["question"].split()) for row in raw)
    assert lengths["prompt", "words"]["median"] == words[659]
    assert lengths["prompt", "words"]["p95"] == words[1253]
    assert lengths["answer", "characters"]["mean"] == pytest.approx(
        sum(map(len, answers)) / len(answers)
    )
    assert found["prompts"]["different"] == len({row["question"] for row in raw})
