"""`cascade ioi` against a scripted server: known scores, resumed after faults, errors in words."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done
from tests.data.chat_server import ChatServer, chat_server
from tests.evaluation.ioi.scripted import write_problem

ADD = "a, b = map(int, input().split())\nprint(a + b{})\n"
SUBTASKS = [
    {"name": "1", "points": 40, "constraints": "A and B are at least 0", "tests": ["tests/1"]},
    {"name": "2", "points": 60, "constraints": "no further constraints", "tests": ["tests/2"]},
]
FILES = {
    "statement.md": "Add A and B.",
    "samples/1.in": "1 2\n",
    "samples/1.out": "3\n",
    "tests/1.in": "5 7\n",
    "tests/1.out": "12\n",
    "tests/2.in": "-5 7\n",
    "tests/2.out": "2\n",
}


def program(body: Mapping[str, Any]) -> dict[str, Any]:
    """Wrong where a number is negative, until a verdict says so; every third answer has no code."""
    learnt = "wrong answer" in body["messages"][-1]["content"]
    code = ADD.format("" if learnt else " if a >= 0 else 0")
    text = f"```python\n{code}```" if body["seed"] % 3 else "I do not know."
    message = {"role": "assistant", "content": text, "reasoning_content": "I think."}
    return {"message": message, "finish_reason": "stop"}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(program) as found:
        yield found


@pytest.fixture
def problem(tmp_path: Path) -> Path:
    return write_problem(
        tmp_path / "add", FILES, name="add", languages=["python"], subtasks=SUBTASKS
    )


Cascade = Callable[..., Done]


def play(cascade: Cascade, server: ChatServer, problem: Path, *more: str) -> Done:
    out = str(problem.parent / "out")
    options = ("--endpoint", server.url, "--language", "python", "--candidates", "4")
    return cascade("ioi", "model", problem, "--out", out, *options, *more)


def test_a_server_that_learns_from_verdicts_gets_the_full_score(
    cascade: Cascade, server: ChatServer, problem: Path
) -> None:
    done = play(cascade, server, problem, "--json", "--thresholds", "40,50,100")
    assert (done.status, done.err.count("\n")) == (0, 2)
    assert "add  round 1/50  1 submissions  subtask 1: right, 100%  score 40 of 100" in done.err
    found = json.loads(done.out)
    assert (found["score"], found["medal"]) == (100, "gold")
    (part,) = found["problems"]
    assert (part["rounds"], part["submissions"], part["generations"]) == (2, 2, 8)
    assert part["selected_by"] == {"shortest": 2}
    assert found == json.loads((problem.parent / "out" / "ioi.json").read_text())
    assert sum(server.paid.values()) == 8


def test_a_finished_contest_is_shown_again_for_nothing(
    cascade: Cascade, server: ChatServer, problem: Path
) -> None:
    assert play(cascade, server, problem).status == 0
    paid = sum(server.paid.values())
    again = play(cascade, server, problem)
    assert (again.status, sum(server.paid.values())) == (0, paid)
    assert "100.00 of 100: no medal" in again.out
    assert "selected by shortest: not all answers had a tail confidence" in again.out


def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on(
    cascade: Cascade, problem: Path
) -> None:
    asked: list[int] = []

    def interrupting(body: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(body["seed"])
        if len(asked) == 6:  # in the second round
            os.kill(os.getpid(), signal.SIGINT)
        return program(body)

    with chat_server(interrupting) as server:
        done = play(cascade, server, problem, "--concurrency", "1")
        assert (done.status, "Run the same command to go on" in done.err) == (130, True)
        assert "round 1/50" in done.err
        again = play(cascade, server, problem, "--concurrency", "1", "--json")
    assert (again.status, json.loads(again.out)["score"]) == (0, 100)
    assert "round 1/50" not in again.err
    assert len(asked) <= 9  # one that was in flight is asked for again


def test_a_checker_that_fails_ends_the_command_and_scores_nothing(
    cascade: Cascade, server: ChatServer, problem: Path
) -> None:
    checker = "print(float(open('output.txt').read() == open('answer.txt').read() or 1 / 0))"
    shape = json.loads((problem / "problem.json").read_text())
    (problem / "check.py").write_text(checker)
    (problem / "problem.json").write_text(json.dumps({**shape, "checker": {"program": "check.py"}}))
    for _ in range(2):
        done = play(cascade, server, problem)
        assert done.status == 1
        assert "checker check.py of add failed on test tests/2: runtime: ZeroDivision" in done.err
    lines = (problem.parent / "out" / "add.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert (events.count("begun"), events.count("judged"), len(lines)) == (1, 0, 6)


def test_wrong_input_is_a_sentence(cascade: Cascade, server: ChatServer, problem: Path) -> None:
    def said(*more: str, path: Path = problem) -> str:
        done = play(cascade, server, path, *more)
        assert done.status == 2
        return done.err

    assert "problem.json cannot be read" in said(path=problem.parent / "none")
    assert "--rounds is 0; expected at least 1" in said("--rounds", "0")
    assert "add is not solved in cpp" in said("--language", "cpp")
    assert "expected three numbers" in said("--thresholds", "1,2")
    assert "--mode is 'maybe'" in said("--mode", "maybe")
    assert not server.requests
    assert play(cascade, server, problem).status == 0
    assert "begun with candidates 4, now 5" in said("--candidates", "5")
