"""Counts of right answers from what evaluations leave, and what is refused."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from cascade_rl.config import ChatConfig
from cascade_rl.errors import CascadeError, DataError, EvaluationError
from cascade_rl.evaluation.answers import answers_file
from cascade_rl.evaluation.benchmarks import sample_to_json
from cascade_rl.evaluation.codeforces.attempts import Attempts, read_attempts
from cascade_rl.evaluation.suite import SUITE
from cascade_rl.types import Sample, Signals, failed, unjudged
from tests.evaluation.helpers import samples

ROOT = Path(__file__).resolve().parents[3]


def lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_evaluation_of_a_run_is_read_and_its_greedy_answer_is_no_attempt(tmp_path: Path) -> None:
    found = samples([[1, 0, 1, 1], [0, 0, 0, 0]], greedy_P=[0, 1])
    header = json.dumps({"benchmark": {"name": "lcb_pro", "k": 4}, "weights_digest": "0"})
    path = tmp_path / "lcb-0123456789ab.jsonl"
    path.write_text("\n".join([header, *map(sample_to_json, found)]) + "\n")
    attempts = read_attempts([path])
    assert (attempts.attempts, attempts.right) == (4, {"p000": 3, "p001": 0})


def test_what_cascade_eval_keeps_is_read(tmp_path: Path) -> None:
    first, second = samples([[1, 1, 0]], greedy_P=[0]), samples([[0], [0, 1, 1]])[1:]
    problems = [
        {"key": key, "samples": [json.loads(sample_to_json(one)) for one in found]}
        for key, found in (("k1", first), ("k2", second))
    ]
    found = read_attempts([lines(tmp_path / "lcb-0123-4567.jsonl", problems)])
    assert (found.attempts, found.right) == (3, {"p000": 2, "p001": 2})


def test_a_problem_is_found_behind_the_name_of_its_source() -> None:
    found = Attempts(8, {"livecodebench-pro/2085A": 3, "2085B": 1, "x/2085B": 2})
    assert found.name_of("2085A") == "livecodebench-pro/2085A"
    assert found.name_of("2085B") == "2085B"
    assert found.name_of("085A") is None
    twice = Attempts(8, {"a/2085A": 3, "b/2085A": 2})
    with pytest.raises(DataError, match=r"problem 2085A may be a/2085A or b/2085A"):
        twice.name_of("2085A")


def test_plain_lines_are_read_and_partly_right_is_not_solved(tmp_path: Path) -> None:
    scores = [("2085A", 1), ("2085A", 0.9), ("2085A", True), ("2085B", 0.0)] + [("2085B", 1.0)] * 2
    path = lines(tmp_path / "s.jsonl", [{"problem_id": p, "score": s} for p, s in scores])
    assert read_attempts([path], 3).right == {"2085A": 2, "2085B": 2}


def test_a_partial_verdict_and_a_timeout_are_attempts_that_did_not_solve(tmp_path: Path) -> None:
    [partly] = samples([[0.5]])
    slow = Sample("p000", 1, "...", "stop", 3, Signals(failed("timeout", "2 s")))
    path = tmp_path / "s.jsonl"
    path.write_text(sample_to_json(partly) + "\n" + sample_to_json(slow) + "\n")
    found = read_attempts([path])
    assert (found.attempts, found.right) == (2, {"p000": 0})


def test_several_evaluations_are_read_as_one(tmp_path: Path) -> None:
    one = lines(tmp_path / "1.jsonl", [{"problem_id": "a", "sample": 0, "score": 1}])
    two = lines(tmp_path / "2.jsonl", [{"problem_id": "b", "sample": 0, "score": 0}])
    assert read_attempts([one, two]).right == {"a": 1, "b": 0}


def row(problem: str = "a", score: object = 1, sample: object = None) -> dict[str, object]:
    return {"problem_id": problem, "score": score, "sample": sample}


BAD: list[tuple[list[object], type[CascadeError], str, str]] = [
    ([row(), row(), row("b")], DataError, "problem b has 1 attempts; expected 2", "same command"),
    ([row(sample=0), row(sample=0)], DataError, "sample 0 of problem a is there twice", "once"),
    ([row(sample=-1)], DataError, "no sampled answer", "problem_id"),
    ([], DataError, "no sampled answer", "problem_id"),
    ([row(), {"problem": "a", "score": 1}], DataError, "line 2 has no problem_id", "2085A"),
    ([{"problem_id": "a"}], DataError, "line 1 has no score", "2085A"),
    ([[1, 2]], DataError, "line 1 is no object", "evaluations"),
    ([row(score="AC")], DataError, "score is 'AC'", ""),
    ([row(), row(score=None)], EvaluationError, "line 2: .* problem a was not judged", "not wrong"),
    ([row(score=float("nan"))], EvaluationError, "was not judged", "not wrong"),
    ([{"problem_id": "a", "signals": {}}], DataError, "line 1 is no sample", "evaluations"),
    ([{"key": "k", "samples": [7]}], DataError, "line 1 is no sample", "evaluations"),
]


@pytest.mark.parametrize(("rows", "error", "message", "hint"), BAD)
def test_what_is_no_complete_evaluation_is_refused(
    tmp_path: Path, rows: list[object], error: type[CascadeError], message: str, hint: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        read_attempts([lines(tmp_path / "s.jsonl", rows)])
    assert hint in caught.value.hint


def test_a_sample_that_was_not_judged_is_never_a_wrong_answer(tmp_path: Path) -> None:
    sample = Sample("p000", 0, "...", "stop", 3, Signals(unjudged("infra", "worker lost")))
    path = tmp_path / "s.jsonl"
    path.write_text(sample_to_json(sample) + "\n")
    with pytest.raises(EvaluationError, match="sample 0 of problem p000 is infra: worker lost"):
        read_attempts([path])


def test_another_number_of_attempts_than_was_asked_for_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "s.jsonl", [row()] * 4)
    assert read_attempts([path], 4).attempts == 4
    with pytest.raises(DataError, match="problem a has 4 attempts; expected 8"):
        read_attempts([path], 8)


def test_a_torn_line_and_a_missing_file_are_said(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"problem_id": "a", "score": 1}\n{"problem_id": "a", "sc')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        read_attempts([path])
    with pytest.raises(DataError, match=r"absent\.jsonl cannot be read"):
        read_attempts([tmp_path / "absent.jsonl"])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_attempts([path])


@pytest.mark.parametrize("page", ["README.md", "docs/evaluation.md", "docs/codeforces.md"])
def test_the_command_that_is_documented_takes_answers_to_contests_and_no_others(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    [pattern] = re.findall(r"^cascade codeforces \S+ (evaluations/\S+)", text, re.MULTILINE)
    folder, chat = Path("evaluations"), ChatConfig()
    files = {
        entry.name: answers_file(folder, entry.benchmark("f"), chat, "0" * 16)
        for entry in SUITE.values()
        if entry.scored_by not in ("pairs", "swe")
    }
    taken = {name for name, file in files.items() if fnmatch.fnmatch(str(file), pattern)}
    assert taken == {"livecodebench_pro_25q1"}
    assert "evaluations/*.jsonl" not in text
