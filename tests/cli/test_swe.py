"""`cascade swe` on two small repositories, against a server whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done
from tests.data.chat_server import ChatServer, chat_server
from tests.evaluation.swe.answering import QUALITIES, model_of
from tests.evaluation.swe.repositories import SPECS, make, write_rows
from tests.evaluation.swe.test_embeddings import Embedder, serving

Cascade = Callable[..., Done]
USED = [spec for spec in SPECS if spec.name in ("spans", "wrap")]
TASKS = {
    "Answer with the full": "localize",
    "SEARCH/REPLACE": "repair",
    "Python script": "reproduce",
}


def choice(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the scripted model answers to that prompt; `seed` is the answer's number and one."""
    text = body["messages"][-1]["content"]
    spec = next(spec for spec in USED if spec.issue in text)
    task = next(task for words, task in TASKS.items() if words in text)
    answer = model_of({s.id: QUALITIES[s.name] for s in USED})
    said = answer(spec.id, task, body["seed"] - 1)
    return {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(choice) as found:
        yield found


@pytest.fixture
def issues(tmp_path: Path) -> Path:
    rows = [make(spec, tmp_path / "repos") for spec in USED]
    return write_rows(tmp_path / "issues.jsonl", rows)


def arguments(server: ChatServer, issues: Path, *more: object) -> list[str]:
    return [
        "swe", "scripted", str(issues), "--repos", str(issues.parent / "repos"),
        "--out", str(issues.parent / "out"), "--endpoint", server.url, "--reproductions", "3",
        "--seconds", "4", *map(str, more),
    ]  # fmt: skip


def test_known_scores_come_out_and_nothing_is_asked_twice(
    server: ChatServer, issues: Path, cascade: Cascade
) -> None:
    done = cascade(*arguments(server, issues, "--json"))
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found["resolved"] == 1.0 and found["curves"]["avg"] == pytest.approx(3 / 8)
    assert found["model"] == "scripted"
    assert "2 of 2 issues to be looked at\n2 of 2 issues to be repaired" in done.err
    asked = len(server.requests)
    assert asked == 2 * (16 + 4 + 3)
    next((issues.parent / "out").glob("responses-*.jsonl")).unlink()
    again = cascade(*arguments(server, issues))
    assert len(server.requests) == asked
    assert "resolved 100.0 % of 2 issues" in again.out
    assert "predictions.jsonl" in again.out and "best@k" in again.out


def test_an_issue_that_cannot_be_judged_is_named_with_what_to_type(
    server: ChatServer, issues: Path, cascade: Cascade
) -> None:
    rows = [json.loads(line) for line in issues.read_text().splitlines()]
    rows[0]["PASS_TO_PASS"] = ["tests/test_gone.py::test_x"]
    write_rows(issues, rows)
    done = cascade(*arguments(server, issues))
    assert done.status == 1
    assert "error: 1 of 2 issues cannot be judged here:" in done.err
    assert "small__spans-1: tests that should pass" in done.err and "--leave-unfit" in done.err
    assert server.requests == []
    left = cascade(*arguments(server, issues, "--leave-unfit"))
    assert left.status == 0 and "not judged: small__spans-1" in left.out
    voted = cascade(*arguments(server, issues, "--vote-only", "--json"))
    assert "resolved" not in json.loads(voted.out)


def test_a_model_directory_answers_too_with_its_context_stretched(
    issues: Path, finished: Path, cascade: Cascade
) -> None:
    model, out = next((finished / "stages").glob("sft*")) / "model", issues.parent / "out"
    done = cascade(
        "swe", model, issues, "--repos", issues.parent / "repos", "--out", out, "-k", 1,
        "--rollouts", 1, "--prompt-tokens", 1500, "--max-new-tokens", 4, "--vote-only", "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found["answers"]["candidates"] == 2 == found["answers"]["no_patch"]
    assert found["yarn_factor"] == 2  # 1504 tokens, and the model has 1024
    assert len((out / "predictions.jsonl").read_text().splitlines()) == 2


def keys(issues: Path) -> set[str]:
    text = (issues.parent / "out" / "results.jsonl").read_text()
    return {json.loads(line)["key"] for line in text.splitlines()}


def test_another_count_of_tokens_makes_other_rows(
    server: ChatServer, issues: Path, finished: Path, cascade: Cascade
) -> None:
    quick = ["--vote-only", "-k", 1, "--rollouts", 0, "--limit", 1, "--json"]
    model = next((finished / "stages").glob("sft*")) / "model"
    names = []
    for more in ([], ["--tokenizer", model], ["--tokenizer", model]):
        done = cascade(*arguments(server, issues, *quick, *more))
        assert done.status == 0, done.err
        names.append(json.loads(done.out)["settings"]["counted_by"])
    assert names[0] == "estimate" and names[1] == names[2] and len(names[1]) == 16
    assert len(keys(issues)) == 2


def test_another_input_type_of_embeddings_makes_other_rows(
    server: ChatServer, issues: Path, cascade: Cascade
) -> None:
    quick = ["--vote-only", "-k", 1, "--rollouts", 0, "--limit", 1, "--retrieval", "embeddings"]
    embedder = Embedder()
    with serving(embedder) as embeddings:
        served = ["--embedding-endpoint", embeddings.url, "--embedding-model", "words"]
        for more in ([], ["--embedding-input-type"]):
            done = cascade(*arguments(server, issues, *quick, *served, *more))
            assert done.status == 0, done.err
    assert {"input_type" in body for body in embedder.requests} == {True, False}
    assert len(keys(issues)) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--retrieval", "embeddings"], "name both, or neither"),
        (["--embedding-endpoint", "http://x/v1"], "name both, or neither"),
        (["--rollouts", "0", "--retrieval", "none"], "nothing would be localized"),
        (["--library", "nowhere"], "nowhere is no folder"),
        (["--tokenizer", "nowhere"], "holds no tokenizer.json"),
        (["--repos", "nowhere"], "no repository of small__spans-1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    server: ChatServer, issues: Path, cascade: Cascade, more: list[str], said: str
) -> None:
    quiet = [] if "--library" in more else ["--vote-only"]
    done = cascade(*arguments(server, issues, *quiet, *more))
    assert done.status == 2
    assert said in done.err
    assert server.requests == []
