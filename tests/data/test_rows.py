"""Row files: what is written reads back, and nothing unreadable disappears in silence."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cascade_rl import mini
from cascade_rl.data import rows
from cascade_rl.data.schema import kind_of, parse_row, row_dict
from cascade_rl.errors import DataError, OutputError
from cascade_rl.types import (
    Answer,
    AssertTest,
    CallTest,
    Constraints,
    Conversation,
    Message,
    Pair,
    Patch,
    Preference,
    Problem,
    StdioTest,
    Tests,
    ToolCall,
)

USER = (Message("user", "héllo\nworld \U0001f600"),)
REFERENCES: dict[str, Any] = {
    "math": Answer(r"\frac{3}{2}"),
    "code stdio": Tests((StdioTest("1 2\n", "3\n"),), time_limit_s=2.5, memory_limit_mb=64),
    "code call": Tests((CallTest((1, [2.0, None]), {"a": True}),), entry_point="f", setup="x = 1"),
    "code assert": Tests((AssertTest("assert f(1) == (1, 2)"),)),
    "instruction_following": Constraints(("a:b", "c:d"), ({"n": 2, "words": ["x"]}, {})),
    "swe": Patch({"a.py": "x\n", "b.py": ""}, "--- a/a.py\n", ("a.py",), "either", "broken"),
    "chat": Preference(),
}
PROBLEMS = [
    Problem(
        f"p/{i}",
        name.split()[0],
        USER,
        reference,
        "made",
        {"index": i, "split": "val", "id": f"p/{i}"},
    )
    for i, (name, reference) in enumerate(REFERENCES.items())
]
CONVERSATIONS = [
    Conversation(
        f"c/{i}",
        (
            Message("system", "s"),
            Message("user", "q", mode="think"),
            Message("assistant", "", thought="t", tool_calls=(ToolCall("f", arguments),)),
            Message("tool", "r", name="f"),
            Message("assistant", "a"),
        ),
        "made",
        ({"type": "function", "function": {"name": "f", "parameters": {f"p{i}": {}}}},),
    )
    for i, arguments in enumerate(({"x": 1}, {"y": [None, "z"]}, {}))
]
PAIRS = [
    Pair("r/0", USER, "good", "bad", "made", "chat"),
    Pair("r/1", (*USER, Message("assistant", "a"), *USER), "", "worse", "made"),
]
ALL = {"problem": PROBLEMS, "conversation": CONVERSATIONS, "pair": PAIRS}
GOOD = row_dict(PROBLEMS[0], 0)


def write_jsonl(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize("kind", ALL)
def test_rows_read_back_equal(tmp_path: Path, suffix: str, kind: Any) -> None:
    path = tmp_path / f"rows{suffix}"
    rows.write_rows(path, ALL[kind])
    assert rows.read_rows(path, kind) == ALL[kind]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", [n for n in mini.NAMES if not n.endswith("train")])
def test_generated_rows_survive_parquet(tmp_path: Path, name: str) -> None:
    written = mini.rows(name, 0)[:200]
    path = tmp_path / "rows.parquet"
    rows.write_rows(path, written)
    read = rows.read_rows(path, kind_of(row_dict(written[0], 0)))
    for before, after in zip(written, read, strict=True):
        if isinstance(before, Problem) and isinstance(after, Problem):
            assert before.extra.items() <= after.extra.items()
            after = replace(after, extra=before.extra)
        assert replace(after, id=before.id) == before


def test_equal_ids_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows.write_rows(path, [PAIRS[0], PAIRS[1], PAIRS[0]])
    assert [row.id for row in rows.read_rows(path, "pair")] == ["r/0", "r/1", "r/0#2"]


def test_a_row_without_an_id_has_the_same_one_wherever_it_stands(tmp_path: Path) -> None:
    row = {"prompt": "hi", "chosen": "a", "rejected": "b", "source": "s"}
    first = rows.read_rows(write_jsonl(tmp_path / "a.jsonl", [row]), "pair")
    pq.write_table(pa.Table.from_pylist([GOOD_PAIR, row]), tmp_path / "b.parquet")
    assert rows.read_rows(tmp_path / "b.parquet", "pair")[1].id == first[0].id


GOOD_PAIR = {"prompt": "yo", "chosen": "c", "rejected": "d", "source": "s", "category": "chat"}


def test_the_digest_is_of_the_rows_not_of_the_file(tmp_path: Path) -> None:
    for kind, values in ALL.items():
        digests = set()
        for name in ("a.parquet", "b.jsonl"):
            rows.write_rows(tmp_path / name, values)
            digests.add(rows.content_digest(tmp_path / name))
        assert len(digests) == 1, kind


def test_the_digest_sees_any_change(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    seen = set()
    changed = [
        PROBLEMS[:2],
        PROBLEMS[1::-1],
        PROBLEMS[:1],
        [replace(PROBLEMS[0], reference=Answer("1")), PROBLEMS[1]],
        [replace(PROBLEMS[0], extra={**PROBLEMS[0].extra, "level": 1}), PROBLEMS[1]],
    ]
    for time, values in enumerate(changed):
        rows.write_rows(path, values)
        os.utime(path, ns=(time, time))
        seen.add(rows.content_digest(path))
    assert len(seen) == len(changed)


def test_the_row_s_mode_goes_to_its_user_turns(tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": c} for c in "ab"]
    row = {**GOOD, "prompt": prompt, "extra_info": {"mode": "no_think"}}
    (problem,) = rows.read_problems(write_jsonl(tmp_path / "r.jsonl", [row]))
    assert [m.mode for m in problem.prompt] == ["no_think", "no_think"]


def test_a_verl_file_written_by_others_reads(tmp_path: Path) -> None:
    row = {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": "2+2?"}],
        "ability": "math",
        "reward_model": {"ground_truth": "4", "style": "rule"},
        "extra_info": {"answer": "#### 4", "index": 0, "split": "train"},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "train.parquet")
    (problem,) = rows.read_problems(tmp_path / "train.parquet")
    assert problem.reference == Answer("4")
    assert problem.extra == row["extra_info"]


BAD: list[tuple[Any, str]] = [
    ("not json", "the row is str 'not json'; expected an object"),
    ([1], "the row is list"),
    (row_dict(CONVERSATIONS[0], 0), "expected those of a problem: data_source, prompt"),
    ({**GOOD, "ability": "poetry"}, "ability is str 'poetry'; expected one of math, code"),
    ({**GOOD, "ability": None}, "ability is missing"),
    ({**GOOD, "prompt": []}, "prompt is list []; expected a list of turns"),
    ({**GOOD, "prompt": [{"role": "bot", "content": ""}]}, "prompt[0].role is str 'bot'"),
    ({**GOOD, "prompt": [{"role": "user"}]}, "prompt[0].content is missing; expected text"),
    ({**GOOD, "reward_model": {"ground_truth": 4}}, "reward_model.ground_truth is int 4"),
    ({**GOOD, "reward_model": {"ground_truth": " "}}, "ground_truth is empty"),
    ({**GOOD, "reward_model": "4"}, "reward_model is str '4'; expected an object"),
    ({**GOOD, "extra_info": {"mode": "deep"}}, "extra_info.mode is str 'deep'"),
    ({**GOOD, "data_source": None}, "data_source is missing"),
]  # fmt: skip
BAD_TRUTHS = [
    ("code", "x", "ground_truth is not JSON"),
    ("code", "[]", "ground_truth holds list []; expected a JSON object"),
    ("code", "{}", "ground_truth has no tests"),
    ("code", '{"tests": []}', "has no tests"),
    ("code", '{"tests": [{"input": "1"}]}', "tests are unreadable (KeyError: 'output')"),
    ("code", '{"entry_point": "f", "tests": [{"args": 1, "expected": 1}]}', "expected a list"),
    ("code", '{"asserts": [1]}', "expected text, found int 1"),
    ("code", '{"asserts": ["x"], "time_limit_s": -1}', "time_limit_s is int -1"),
    ("instruction_following", "{}", "lacks lists"),
    ("instruction_following", '{"instruction_id_list": ["a"], "kwargs": []}', "1 entries and"),
    ("instruction_following", '{"instruction_id_list": ["a"], "kwargs": [1]}', "not an object"),
    ("swe", '{"files": {"a": 1}, "patch": ""}', "maps a path to what is not text"),
    ("swe", '{"files": {}, "patch": "", "shown": ["a"]}', "shown names 'a'"),
    ("swe", '{"files": {}, "patch": "", "format": "zip"}', "ground_truth.format is str 'zip'"),
    ("swe", '{"files": {}}', "ground_truth.patch is missing"),
]
BAD += [
    ({**GOOD, "ability": domain, "reward_model": {"ground_truth": truth}}, reason)
    for domain, truth, reason in BAD_TRUTHS
]


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_an_unreadable_row_says_why(row: Any, reason: str) -> None:
    with pytest.raises(DataError) as error:
        parse_row(row, "problem")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("pair", {**GOOD_PAIR, "rejected": "c"}, "the same text"),
        ("pair", {**GOOD_PAIR, "category": 3}, "category is int 3"),
        ("conversation", {"messages": [{"role": "user", "content": ""}], "source": "s"}, "no assi"),
        ("conversation", {"messages": [1], "source": "s"}, "messages[0] is int 1"),
        ("conversation", {**row_dict(CONVERSATIONS[0], 0), "tools": [1]}, "tools holds int 1"),
    ],
)
def test_other_kinds_say_why_too(kind: Any, row: Any, reason: str) -> None:
    with pytest.raises(DataError) as error:
        parse_row(row, kind)
    assert reason in str(error.value)


def test_few_rejects_are_kept_beside_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = [{**GOOD, "extra_info": {"index": i}} for i in range(199)]
    path = write_jsonl(tmp_path / "r.jsonl", [*values, {**GOOD, "ability": "poetry"}])
    assert len(rows.read_rows(path, "problem")) == 199
    (line,) = map(json.loads, rows.rejects_path(path).read_text().splitlines())
    assert line["index"] == 199
    assert line["row"]["ability"] == "poetry"
    assert "1 of 200 rows cannot be read; row 199" in caplog.text


def test_more_than_one_percent_of_rejects_is_an_error(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [GOOD, "junk"])
    with pytest.raises(DataError, match=r"1 of 2 rows cannot be read; row 1.*\n.*--allow-rejects"):
        rows.read_rows(path, "problem")
    assert len(rows.read_rows(path, "problem", allow_rejects=True)) == 1


def test_lines_that_are_not_json_are_rejects(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    good = json.dumps(GOOD).encode()
    path.write_bytes(good + b"\n\n{torn\n" + b"[" * 100_000 + b"\n\xff\xfe\n" + good)
    loaded = rows.load_rows(path, "problem")
    assert [r.index for r in loaded.rejects] == [1, 2, 3]
    assert len(loaded.rows) == 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.parquet", None, "does not exist"),
        ("rows.csv", "a", r"ends in '.csv'; expected .parquet or .jsonl"),
        ("rows.parquet", "PAR1 junk", "not readable as Parquet"),
        ("rows.jsonl", "\n", "holds no problem rows"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, name: str, content: Any, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=reason) as error:
        rows.read_rows(tmp_path / name, "problem")
    assert name in str(error.value)


def test_half_a_surrogate_pair_survives_json_lines(tmp_path: Path) -> None:
    row = replace(PAIRS[0], chosen="\ud800")
    rows.write_rows(tmp_path / "r.jsonl", [row])
    assert rows.read_rows(tmp_path / "r.jsonl", "pair") == [row]
    with pytest.raises(DataError, match="Parquet cannot hold these rows"):
        rows.write_rows(tmp_path / "r.parquet", [row])


def test_parquet_refuses_columns_of_two_types_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    rows.write_rows(path, PROBLEMS)
    mixed = [replace(PROBLEMS[0], extra={"level": level}) for level in (1, "hard")]
    with pytest.raises(DataError, match=r"(?s)Parquet cannot hold.*r\.jsonl"):
        rows.write_rows(path, mixed)
    assert rows.read_rows(path, "problem") == PROBLEMS
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("expected", [(1, 2), {1}, {1: 2}, float("nan")])
def test_a_value_that_json_would_change_is_refused(expected: Any) -> None:
    reference = Tests((CallTest((1,), expected),), entry_point="f")
    with pytest.raises(DataError, match="that JSON changes"):
        row_dict(replace(PROBLEMS[0], domain="code", reference=reference), 0)


def test_a_directory_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        rows.write_rows(tmp_path / "none" / "r.jsonl", PAIRS)
