"""Published rows, one of each shape, become problems that their own verifier judges."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import zlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.rows import write_rows
from cascade_rl.errors import DataError
from cascade_rl.evaluation.benchmarks import verifier_of
from cascade_rl.evaluation.suite import SUITE
from cascade_rl.evaluation.suite.rows import Window
from cascade_rl.types import Answer, CallTest, Preference, Problem, Tests
from cascade_rl.verifiers import verify
from tests.evaluation.suite.published import (
    ANSWER,
    AREA,
    CALL,
    CONFIG,
    PRO,
    RIGHT,
    ROWS,
    TESTS,
    contest,
    lines,
    live,
    packed,
    place,
)

READ = [name for name, entry in SUITE.items() if entry.scored_by in ("verifier", "arena")]


def one(name: str, folder: Path) -> Problem:
    [found] = SUITE[name].read(place(name, folder))
    return found


@pytest.mark.parametrize("name", READ)
def test_a_row_of_the_published_shape_is_a_problem(name: str, tmp_path: Path) -> None:
    found = one(name, tmp_path)
    assert found.source == (SUITE[name].rows.source or "code-contests")
    assert found.prompt[-1].role == "user" and found.prompt[-1].content.strip()


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_answer_is_right_and_another_is_wrong(name: str, tmp_path: Path) -> None:
    found = one(name, tmp_path)
    judge = verifier_of(SUITE[name].benchmark("rows.jsonl"))
    right = judge(found, RIGHT[name])
    assert right.outcome is True, right
    assert judge(found, "no, never, not at all, I am sorry, but I do not know, friend").score == 0


@pytest.mark.parametrize("name", READ)
def test_a_file_of_another_shape_says_what_was_found_expected_and_where_to_get_it(
    name: str, tmp_path: Path
) -> None:
    path = lines(tmp_path / "BFCL_v3_simple.json", [{"a": 1, "b": 2}])
    lines(tmp_path / "possible_answer" / "BFCL_v3_simple.json", [])
    (tmp_path / "testcases").mkdir()
    entry = SUITE[name]
    with pytest.raises(DataError) as caught:
        entry.read(str(tmp_path if name == "bfcl" else path))
    assert "row 0 has the keys a, b; expected those of" in caught.value.message
    assert entry.title in caught.value.message and entry.rows.shapes[0][0] in caught.value.message
    assert caught.value.hint == entry.rows.get


def test_a_file_without_rows_and_a_line_that_is_no_json_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no rows; expected MMLU"):
        SUITE["mmlu"].read(str(lines(tmp_path / "none.jsonl", [])))
    path = lines(tmp_path / "torn.jsonl", [ROWS["mmlu"]])
    path.write_text(path.read_text() + '{"question": ', encoding="utf-8")
    with pytest.raises(DataError, match="row 1: not JSON"):
        SUITE["mmlu"].read(str(path))


def test_a_row_that_cannot_be_read_stops_the_benchmark_by_its_place(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", [ROWS["mmlu"], {**ROWS["mmlu"], "answer": 7}])
    with pytest.raises(DataError, match="row 1: answer is int 7; expected A to D"):
        SUITE["mmlu"].read(str(path))


def test_rows_of_our_own_format_are_taken_too(tmp_path: Path) -> None:
    found = one("aime25", tmp_path)
    write_rows(tmp_path / "ours.parquet", [found])
    [again] = SUITE["aime25"].read(str(tmp_path / "ours.parquet"))
    assert (again.id, again.prompt, again.reference) == (found.id, found.prompt, found.reference)


def test_two_rows_alike_have_two_ids(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", [ROWS["mmlu"]] * 2)
    first, second = SUITE["mmlu"].read(str(path))
    assert second.id == f"{first.id}#2"


def test_a_count_that_is_not_published_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        one("mmlu", tmp_path)
    assert "1 rows; expected are 14,079" in caplog.text


def test_without_the_hub_a_name_asks_for_a_file() -> None:
    with pytest.raises(DataError, match="is no file here") as caught:
        SUITE["mmlu"].read()
    assert "hf download" in caught.value.hint


def test_an_answer_s_form_is_asked_for_once(tmp_path: Path) -> None:
    words = {"math500": "within \\boxed{}", "humaneval": "```python", "mmlu": "The answer is (X)"}
    for name in words:
        (tmp_path / name).mkdir()
        prompt = one(name, tmp_path / name).prompt[-1].content
        assert [word in prompt for word in words.values()] == [other == name for other in words]


# --- options ----------------------------------------------------------------------------------


def test_gpqa_s_order_is_the_row_s_own_and_every_place_is_used(tmp_path: Path) -> None:
    rows = [{**ROWS["gpqa"], "Record ID": f"rec{n}"} for n in range(200)]
    path = str(lines(tmp_path / "rows.jsonl", rows))
    first, again = SUITE["gpqa"].read(path), SUITE["gpqa"].read(path)
    assert [p.prompt for p in first] == [p.prompt for p in again]
    letters = [p.reference.text for p in first if isinstance(p.reference, Answer)]
    assert {letter: 30 < letters.count(letter) < 70 for letter in "ABCD"} == dict.fromkeys(
        "ABCD", True
    )
    for found, letter in zip(first, letters, strict=True):
        assert f"\n{letter}. Oslo\n" in found.prompt[0].content
        assert found.extra["options"]["ABCD".index(letter)] == "Oslo"


# --- LiveCodeBench ----------------------------------------------------------------------------

DAYS = {
    "2024-07-31T23:59:59": "before", "2024-08-01T00:00:00": "first", "2025-02-01": "last",
    "2025-02-01T14:30:00": "last, later", "2025-02-02T00:00:00": "after",
    "2025-05-01T00:00:00": "last of v6", "2025-05-02T00:00:00": "after v6",
}  # fmt: skip


def test_a_window_holds_its_first_day_and_its_last(tmp_path: Path) -> None:
    rows = [live(name, day) for day, name in DAYS.items()]
    path = str(lines(tmp_path / "test.jsonl", rows))
    v5 = [p.extra["source_id"] for p in SUITE["livecodebench_v5"].read(path)]
    v6 = [p.extra["source_id"] for p in SUITE["livecodebench_v6"].read(path)]
    assert v5 == ["first", "last", "last, later"]
    assert v6 == [*v5, "after", "last of v6"]
    window = Window(date(2024, 8, 1), date(2024, 8, 1))
    assert date(2024, 8, 1) in window and date(2024, 8, 2) not in window


@pytest.mark.parametrize("day", [None, "soon", "2024-13-01"])
def test_a_problem_without_a_date_is_an_error(day: Any, tmp_path: Path) -> None:
    path = lines(tmp_path / "test.jsonl", [live("x", "2024-09-01") | {"contest_date": day}])
    with pytest.raises(DataError, match="contest_date"):
        SUITE["livecodebench_v5"].read(str(path))


def test_of_a_directory_a_version_reads_its_own_files(tmp_path: Path) -> None:
    lines(tmp_path / "test5.jsonl", [live("old", "2025-01-10")])
    lines(tmp_path / "test6.jsonl", [live("new", "2025-01-10")])
    lines(tmp_path / "notes.jsonl", [{"a": 1}])
    names = {
        name: [p.extra["source_id"] for p in SUITE[name].read(str(tmp_path))]
        for name in ("livecodebench_v5", "livecodebench_v6")
    }
    assert names == {"livecodebench_v5": ["old"], "livecodebench_v6": ["old", "new"]}
    (tmp_path / "test5.jsonl").unlink()
    with pytest.raises(DataError, match=r"expected test\.jsonl, test2\.jsonl"):
        SUITE["livecodebench_v5"].read(str(tmp_path))


def test_difficulty_and_date_are_kept(tmp_path: Path) -> None:
    found = one("livecodebench_v5", tmp_path)
    assert found.extra["difficulty"] == "easy"
    assert found.extra["released"] == "2024-11-16T00:00:00"


def test_public_and_packed_private_tests_count_on_stdin_and_in_calls(tmp_path: Path) -> None:
    starter = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
    call = live(
        "f", "2024-09-01", starter_code=starter, metadata='{"func_name": "add"}',
        public_test_cases='[{"input": "1\\n2", "output": "3", "testtype": "functional"}]',
        private_test_cases=packed([{"input": "2\n2", "output": "4", "testtype": "functional"}]),
    )  # fmt: skip
    plain = live("g", "2024-09-01", private_test_cases="[]")
    path = lines(tmp_path / "test.jsonl", [live("e", "2024-09-01"), call, plain])
    stdin, function, public = SUITE["livecodebench_v5"].read(str(path))
    assert isinstance(stdin.reference, Tests) and len(stdin.reference.cases) == 2
    assert isinstance(function.reference, Tests) and function.reference.entry_point == "add"
    assert [c.args for c in function.reference.cases if isinstance(c, CallTest)] == [(1, 2), (2, 2)]
    assert isinstance(public.reference, Tests) and len(public.reference.cases) == 1
    assert starter.strip() in function.prompt[0].content


def test_packed_tests_that_name_code_are_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(mark),)

    evil = base64.b64encode(zlib.compress(pickle.dumps(Touch()))).decode()
    path = lines(tmp_path / "test.jsonl", [live("x", "2024-09-01", private_test_cases=evil)])
    with pytest.raises(DataError, match="row 0: packed tests use the pickle opcode"):
        SUITE["livecodebench_v5"].read(str(path))
    assert not mark.exists()


# --- LiveCodeBench Pro ------------------------------------------------------------------------


def pro(folder: Path, *archives: bytes) -> Any:
    (folder / "testcases").mkdir()
    for n, data in enumerate(archives):
        (folder / "testcases" / f"{n}A.zip").write_bytes(data)
    rows = [{**PRO, "problem_id": f"{n}A"} for n in range(len(archives))]
    return SUITE["livecodebench_pro_25q2"].read(str(lines(folder / "rows.jsonl", rows)))


def test_pro_s_tests_come_from_the_problem_s_archive(tmp_path: Path) -> None:
    [found] = pro(tmp_path, contest({**TESTS, "3.in": "sample\n", "3.ans": "sample\n"}))
    tests = found.reference
    assert [(c.input, c.output) for c in tests.cases] == [("1 2\n", "3\n"), ("2 2\n", "4\n")]
    assert (tests.language, tests.time_limit_s, tests.memory_limit_mb) == ("cpp", 2.0, 256)
    assert found.extra["difficulty"] == "easy"
    assert "C++17" in found.prompt[0].content and "Python" not in found.prompt[0].content


def test_pro_leaves_out_what_a_program_of_its_own_judges_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def checked(says: str, more: str = "") -> bytes:
        source = f'#include "testlib.h"\n{more}\nint main() {{ setName("{says}"); }}\n'
        return contest({**TESTS, "chk.cc": source}, CONFIG + "checker: chk.cc\n")

    found = pro(
        tmp_path,
        checked("compare sequences of tokens"),
        checked("compare two sequences of doubles, max absolute or relative error = %.7f",
                "const double EPS = 1E-6;"),
        checked("any valid tree"),
        contest(TESTS, CONFIG + "interactor: interactor.cc\n"),
    )  # fmt: skip
    assert [p.reference.tolerance for p in found] == [None, 1e-6]
    assert "2 rows are left out: special judge" in caplog.text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (contest({"1.in": "1\n", "1.ans": "1\n"}), "1 of 2 tests are whole; the first that is"),
        (contest({"1.in": "1", "2.in": "1", "2.ans": "1"}, None), "1 of 2 tests are whole"),
        (contest({}, None), "0 of 0 tests are whole"),
        (contest(TESTS, "- a"), "config.yaml is list"),
        (contest(TESTS, "a: ["), "config.yaml is no YAML"),
        (contest(TESTS, CONFIG.replace("2s", "soon")), "the limit str 'soon'"),
        (contest(TESTS, CONFIG + "checker: chk.cc\n"), "names the checker chk.cc, which is not"),
        (b"PK no zip", "cannot be read as a zip of tests"),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_whole_is_an_error(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        pro(tmp_path, data)
    assert said in caught.value.message


def test_a_problem_without_an_archive_is_left_out_and_no_archives_at_all_are_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = lines(tmp_path / "rows.jsonl", [PRO])
    with pytest.raises(DataError, match="testcases is no directory"):
        SUITE["livecodebench_pro_25q1"].read(str(path))
    (tmp_path / "testcases").mkdir()
    assert SUITE["livecodebench_pro_25q1"].read(str(path)) == []
    assert "1 rows are left out: no tests published" in caplog.text


# --- BFCL, ArenaHard, RewardBench -------------------------------------------------------------


def test_bfcl_s_questions_and_answers_are_joined_and_functions_are_in_the_prompt(
    tmp_path: Path,
) -> None:
    found = one("bfcl", tmp_path)
    assert verify(found, "[area(base=10, height=5)]").outcome is True
    assert verify(found, "[area(base=10, height=6)]").outcome is False
    system = found.prompt[0]
    assert system.role == "system" and '"type": "object"' in system.content
    assert '"name": "area"' in system.content and "<tools>" in system.content


def test_bfcl_s_other_categories_are_not_read_and_rows_nobody_can_answer_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place("bfcl", tmp_path)
    (tmp_path / "BFCL_v3_multi_turn_base.json").write_text("no JSON\n", encoding="utf-8")
    (tmp_path / "BFCL_v3_java.json").write_text("no JSON\n", encoding="utf-8")
    none = {"id": "irrelevance_0", "question": [[{"role": "user", "content": "Hi"}]]}
    lines(tmp_path / "BFCL_v3_irrelevance.json", [{**none, "function": [AREA]}])
    bad = [{"id": "parallel_0", "ground_truth": [{"volume": {"height": [5]}}]}]
    lines(tmp_path / "BFCL_v3_parallel.json", [{**CALL[0], "id": "parallel_0"}])
    lines(tmp_path / "possible_answer" / "BFCL_v3_parallel.json", bad)
    found = SUITE["bfcl"].read(str(tmp_path))
    assert [p.extra["category"] for p in found] == ["irrelevance", "simple"]
    assert verify(found[0], "I cannot do that.").outcome is True
    assert "1 rows are left out: no answer is right" in caplog.text


def test_bfcl_without_its_answers_says_what_is_missing(tmp_path: Path) -> None:
    lines(tmp_path / "BFCL_v3_simple.json", CALL)
    with pytest.raises(DataError, match="possible_answer holds no BFCL_v"):
        SUITE["bfcl"].read(str(tmp_path))
    lines(tmp_path / "possible_answer" / "BFCL_v3_simple.json", [{**ANSWER[0], "id": "simple_9"}])
    with pytest.raises(DataError, match="row 0: ground_truth is missing"):
        SUITE["bfcl"].read(str(tmp_path))


def test_arenahard_has_no_reference(tmp_path: Path) -> None:
    assert one("arenahard", tmp_path).reference == Preference()


def test_rewardbench_s_rows_are_pairs_with_their_subset(tmp_path: Path) -> None:
    [pair] = SUITE["rewardbench"].pairs(place("rewardbench", tmp_path))
    assert (pair.chosen, pair.rejected, pair.category) == ("Hello!", "No.", "alpacaeval-easy")


def test_json_lines_may_hold_any_line_separator_of_unicode(tmp_path: Path) -> None:
    place("bfcl", tmp_path)
    row = {**CALL[0], "question": [[{"role": "user", "content": "Area\u2028of 10 by 5?"}]]}
    (tmp_path / "BFCL_v3_simple.json").write_text(
        json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    assert len(SUITE["bfcl"].read(str(tmp_path))) == 1
