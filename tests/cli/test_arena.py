"""`cascade arena` against scripted servers: known answers, and a judge that likes long ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done
from tests.data.chat_server import chat_server

Cascade = Callable[..., Done]
QUESTIONS = 12
SHOWN = re.compile(r"BEGIN ANSWER OF A\n(.*?)\n--- END.*BEGIN ANSWER OF B\n(.*?)\n--- END", re.S)


def answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """To question n an answer of n + 1 words, after a thought."""
    number = int(re.findall(r"question (\d+)", body["messages"][-1]["content"])[0])
    message = {"content": " ".join(["word"] * (number + 1)), "reasoning_content": "hm " * 50}
    return {"message": message, "finish_reason": "stop"}


def judge(body: Mapping[str, Any]) -> dict[str, Any]:
    """The longer answer wins."""
    found = SHOWN.search(body["messages"][-1]["content"])
    assert found
    gap = len(found[1].split()) - len(found[2].split())
    verdict = "A=B" if not gap else "A>B" if gap > 0 else "B>A"
    return {"message": {"content": f"I compared them. [[{verdict}]]"}, "finish_reason": "stop"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Questions, and a baseline whose answers have four words each."""
    questions, baseline = tmp_path / "question.jsonl", tmp_path / "gpt.jsonl"
    turns = [{"question_id": f"q{n}", "turns": [{"content": f"question {n}"}]}
             for n in range(QUESTIONS)]  # fmt: skip
    answers = [{"question_id": f"q{n}", "choices": [{"turns": [{"content": "one two three four"}]}]}
               for n in range(QUESTIONS)]  # fmt: skip
    questions.write_text("".join(json.dumps(row) + "\n" for row in turns))
    baseline.write_text("".join(json.dumps(row) + "\n" for row in answers))
    return questions, baseline


def test_the_known_win_rate_comes_out_and_nothing_is_paid_for_twice(
    files: tuple[Path, Path], tmp_path: Path, cascade: Cascade
) -> None:
    questions, baseline = files
    with chat_server(answer) as model, chat_server(judge) as judging:
        command = ["arena", "m", questions, "--baseline", baseline, "--judge", judging.url,
                   "--judge-model", "j", "--endpoint", model.url, "--out", tmp_path / "out",
                   "--style-control", "--json"]  # fmt: skip
        first = cascade(*command)
        assert first.status == 0, first.err
        asked = len(model.requests), len(judging.requests)
        assert asked == (QUESTIONS, 2 * QUESTIONS)
        assert cascade(*command).out == first.out
        assert (len(model.requests), len(judging.requests)) == asked
    found = json.loads(first.out)
    assert found["rate"]["mean"] == pytest.approx((8 + 0.5) / 12)  # 5 to 12 words win, 4 tie
    assert (found["unjudged"], found["place_a"]) == (0, 0.5)
    assert found["styled"]["mean"] != found["rate"]["mean"]


def test_a_baseline_without_an_answer_is_said(
    files: tuple[Path, Path], tmp_path: Path, cascade: Cascade
) -> None:
    questions, baseline = files
    lines = baseline.read_text().splitlines(keepends=True)
    baseline.write_text("".join(lines[:-1]))
    with chat_server(answer) as model, chat_server(judge) as judging:
        done = cascade("arena", "m", questions, "--baseline", baseline, "--judge", judging.url,
                       "--judge-model", "j", "--endpoint", model.url,
                       "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 2
    assert not model.requests
    assert "question q11 has no answer of the baseline" in done.err


def test_rows_without_a_published_id_are_refused_with_what_to_do(
    files: tuple[Path, Path], tmp_path: Path, cascade: Cascade
) -> None:
    _, baseline = files
    row = {
        "data_source": "arena",
        "prompt": [{"role": "user", "content": "question 0"}],
        "ability": "chat",
        "reward_model": {"style": "rule", "ground_truth": "{}"},
        "extra_info": {"index": 0},
    }
    own = tmp_path / "rows.jsonl"
    own.write_text(json.dumps(row) + "\n")
    done = cascade("arena", "m", own, "--baseline", baseline, "--judge", "http://127.0.0.1:9/v1",
                   "--judge-model", "j", "--endpoint", "http://127.0.0.1:9/v1",
                   "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 2
    assert "has no id of its source; expected the question_id or uid" in done.err
    assert "add source_id to each row's extra_info" in done.err


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_below_one_question_is_refused(
    limit: str, files: tuple[Path, Path], tmp_path: Path, cascade: Cascade
) -> None:
    questions, baseline = files
    with chat_server(answer) as model, chat_server(judge) as judging:
        done = cascade("arena", "m", questions, "--baseline", baseline, "--judge", judging.url,
                       "--judge-model", "j", "--endpoint", model.url, "--limit", limit,
                       "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 2 and not model.requests
    assert "--limit" in done.err
