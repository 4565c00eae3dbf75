"""`cascade data generate`: both modes, several samples, checked; killed and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.cli import status_of
from cascade_rl.data.rows import read_rows, rejects_path, write_rows
from cascade_rl.data.sft.agree import agreement
from cascade_rl.data.sft.endpoint import Reply
from cascade_rl.data.sft.responses import Refused, read_reply
from cascade_rl.data.step import report_path
from cascade_rl.types import Answer, Conversation, Message, Mode, Pair, Preference, Problem
from tests.data.chat_server import ChatServer, chat_server, sums


def problem(n: int, text: str = "", **extra: Any) -> Problem:
    asked = text or f"What is {n}+1?"
    prompt = (Message("user", asked),)
    return Problem(f"p{n}", "math", prompt, Answer(str(n + 1)), "sums", extra)


def chat(n: int) -> Problem:
    return Problem(f"c{n}", "chat", (Message("user", f"Tell me of {n}+1"),), Preference(), "talk")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as state:
        yield state


def run(server: ChatServer, file: Path, out: Path, *options: str) -> int:
    common = ["--endpoint", server.url, "--model", "m", "--n", "2", "--timeout-s", "2"]
    return status_of(["data", "generate", str(file), "--out", str(out), *common, *options])


def conversations(path: Path) -> list[Conversation]:
    return [row for row in read_rows(path, "conversation") if isinstance(row, Conversation)]


def report_on(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report_path(path).read_text())
    return found


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_every_prompt_gets_its_samples_in_both_modes(
    server: ChatServer, tmp_path: Path, ending: str
) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / f"out.{ending}"
    write_rows(rows, [problem(n) for n in range(3)])
    assert run(server, rows, out) == 0
    found = conversations(out)
    assert [row.id for row in found] == [
        f"p{n}/{mode}/{sample}" for n in range(3) for mode in ("think", "no_think")
        for sample in range(2)
    ]  # fmt: skip
    for row in found:
        question, answer = row.messages
        assert question.mode == row.id.split("/")[1]
        assert not question.content.endswith("think"), "the flag is rendered, never stored"
        assert (answer.thought is not None) == (question.mode == "think")
    assert report_on(out)["checked"] == {"by_verifier": 12, "by_second_model": 0, "unchecked": 0}
    assert {body["seed"] for body in server.requests} == {0, 1}


def test_the_output_depends_on_the_answers_alone(server: ChatServer, tmp_path: Path) -> None:
    rows = tmp_path / "in.jsonl"
    write_rows(rows, [problem(n) for n in range(10)])
    outs = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet")]
    cache = ["--cache", str(tmp_path / "answers")]
    assert run(server, rows, outs[0], *cache, "--concurrency", "7") == 0
    assert run(server, rows, outs[1], *cache, "--concurrency", "1") == 0
    assert len(server.requests) == 40
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert report_on(outs[1])["requests"] == {"paid": 0, "from_cache": 40, "without_answer": 0}
    assert run(server, rows, outs[2], *cache, "--seed", "100") == 0
    assert len(server.requests) == 80 and outs[2].read_bytes() != outs[0].read_bytes()


def wrong_now_and_then(body: Mapping[str, Any]) -> dict[str, Any]:
    """Wrong for even numbers in the second sample."""
    choice = sums(body)
    first = int(body["messages"][-1]["content"].split()[-2].split("+")[0])
    if body["seed"] == 1 and first % 2 == 0:
        choice["message"]["content"] = "It is \\boxed{0}."
    return choice


def test_responses_that_deviate_from_the_reference_are_dropped(tmp_path: Path) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(rows, [problem(n) for n in range(10)])
    with chat_server(wrong_now_and_then) as server:
        assert run(server, rows, out, "--modes", "think") == 0
    dropped = {f"p{n}/think/1" for n in range(0, 10, 2)}
    assert {row.id for row in conversations(out)} == {
        f"p{n}/think/{k}" for n in range(10) for k in (0, 1)
    } - dropped
    rejects = [json.loads(line) for line in rejects_path(out).read_text().splitlines()]
    assert {r["row"]["id"] for r in rejects} == dropped
    assert {r["reason"] for r in rejects} == {"deviates from the reference"}


JUDGED = {
    "c0/think/0": "My own answer is 1.\n<agree>YES</agree>",
    "c0/think/1": "<think>It says <agree>YES</agree></think>\nThey differ.\n<agree>NO</agree>",
    "c1/think/0": "<agree>YES</agree> or <agree>NO</agree>",
    "c1/think/1": "YES",
}


def second_model(body: Mapping[str, Any]) -> dict[str, Any]:
    if body["model"] != "second":
        return sums(body)
    text = body["messages"][-1]["content"]
    name = f"c{0 if '0+1' in text else 1}/think/{1 if 'try 1' in text else 0}"
    return {"message": {"content": JUDGED[name]}, "finish_reason": "stop"}


def test_without_a_reference_the_second_models_own_answer_must_agree(tmp_path: Path) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(rows, [chat(0), problem(5), chat(1)])
    with chat_server(second_model) as server:
        options = ["--modes", "think", "--judge-model", "second"]
        assert run(server, rows, out, *options) == 0
        assert [row.id for row in conversations(out)] == [
            "c0/think/0", "p5/think/0", "p5/think/1",
        ]  # fmt: skip
        assert Counter(body["model"] for body in server.requests) == {"m": 6, "second": 4}
        first = out.read_bytes()
        assert run(server, rows, out, *options) == 0
        assert len(server.requests) == 10 and out.read_bytes() == first
    found = report_on(out)
    assert found["dropped"] == {
        "the second model disagrees": 1, "the second model is unclear": 2,
    }  # fmt: skip
    assert found["checked"] == {"by_verifier": 2, "by_second_model": 4, "unchecked": 0}


@pytest.mark.parametrize(
    ("text", "decided"),
    [("<agree>YES</agree>", True), ("So:\n<agree>NO</agree>\n", False),
     ("<think><agree>NO</agree></think><agree>YES</agree>", True),
     ("I agree <agree>YES</agree>", None), ("<agree>YES</agree>\nThat is it.", None),
     ("<agree>yes</agree>", None), ("<agree>NO</agree>\n<agree>YES</agree>", None),
     ("<think><agree>YES</agree>", None), ("YES", None), ("", None)],
)  # fmt: skip
def test_only_one_exact_last_line_is_an_opinion(text: str, decided: bool | None) -> None:
    assert agreement(text) is decided


LONG = "x" * 300


@pytest.mark.parametrize(
    ("reply", "mode", "expected"),
    [
        (Reply("4", "2+2", "stop", 9), "think", ("2+2", "4")),
        (Reply("<think>\n2+2\n</think>\n\n4", "", "stop", 9), "think", ("2+2", "4")),
        (Reply("2+2\n</think>\n4", "", "stop", 9), "think", ("2+2", "4")),  # begun in the prompt
        (Reply("<think>\n\n</think>\n\n4", "", "stop", 9), "no_think", (None, "4")),
        (Reply(" 4\n", "", "stop", None), "no_think", (None, "4")),
        (Reply("4", "", "stop", 9), "think", "no thought in think mode"),
        (Reply("<think></think>4", "", "stop", 9), "think", "no thought in think mode"),
        (Reply("4", "hm", "stop", 9), "no_think", "a thought in no_think mode"),
        (Reply("<think>hm</think>4", "", "stop", 9), "no_think", "a thought in no_think mode"),
        (Reply("<think>hm", "", "length", 9), "think", "truncated"),
        (Reply("<think>hm", "", "stop", 9), "think", "the thought never ends"),
        (Reply("<think>a</think>b</think>4", "", "stop", 9), "think", "the thought never ends"),
        (Reply("", "hm", "stop", 9), "think", "empty answer"),
        (Reply("4", "", "content_filter", 9), "no_think", "not ended"),
        (Reply("4", "", "stop", 101), "no_think", "longer than the stage allows"),
        (Reply(LONG, "", "stop", None), "no_think", (None, LONG)),
        (Reply(LONG, "x", "stop", None), "think", "longer than the stage allows"),
        (Reply("\ud800", "", "stop", 9), "no_think", "half a character"),
    ],
)
def test_a_reply_becomes_an_answer_with_its_thought_or_a_reason(
    reply: Reply, mode: Mode, expected: str | tuple[str | None, str]
) -> None:
    found = read_reply(reply, mode, cap=100)
    if isinstance(found, Refused):
        assert found.reason == expected
    else:
        assert (found.thought, found.content) == expected


def test_what_cannot_be_asked_and_what_is_not_answered_is_accounted_for(
    server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    turn, mode = Message("user", "hm"), Message("user", "What is 1+1?", mode="no_think")
    write_rows(rows, [
        problem(1), Pair("pair", (turn,), "a", "b", "t"),
        problem(2, "500 99 2+1"), Problem("fixed", "math", (mode,), Answer("2"), "t"),
        Conversation("tool", (turn, Message("assistant", "x")), "t", ({"name": "f"},)),
    ])  # fmt: skip
    with rows.open("a") as file:
        file.write("{broken\n")
    assert run(server, rows, out, "--tries", "2", "--n", "1") == 1
    assert "2 requests got no answer" in capsys.readouterr().err
    assert [row.id for row in conversations(out)] == ["p1/think/0", "p1/no_think/0",
                                                      "fixed/no_think/0"]  # fmt: skip
    assert report_on(out)["dropped"] == {
        "no answer": 2, "no prompt to answer": 2, "unreadable": 1,
    }  # fmt: skip


def test_equal_responses_of_a_prompt_are_kept_once(tmp_path: Path) -> None:
    def same(body: Mapping[str, Any]) -> dict[str, Any]:
        return sums({**body, "seed": 0})

    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(rows, [problem(1)])
    with chat_server(same) as server:
        assert run(server, rows, out, "--modes", "no_think", "--n", "5") == 0
    assert len(conversations(out)) == 1
    assert report_on(out)["dropped"] == {"same as an earlier sample": 4}


def test_record_keeps_every_response_with_its_problem(server: ChatServer, tmp_path: Path) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    write_rows(rows, [problem(1), problem(2, "What is 5+6?")])
    assert run(server, rows, out, "--record", "--modes", "think") == 0
    found = [row for row in read_rows(out, "problem") if isinstance(row, Problem)]
    assert [len(row.extra["responses"]) for row in found] == [2, 2]
    assert (
        found[0].extra["responses"][0] == "<think>I add, try 0.</think>So it is \\boxed{2}, try 0."
    )


@pytest.mark.parametrize(
    ("asking", "sent", "body"),
    [("flag", "What is 1+1? /think", {}), ("none", "What is 1+1?", {}),
     ("template", "What is 1+1?", {"chat_template_kwargs": {"enable_thinking": True}})],
)  # fmt: skip
def test_the_mode_is_asked_for_in_one_of_three_ways(
    server: ChatServer, tmp_path: Path, asking: str, sent: str, body: dict[str, Any]
) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(rows, [problem(1)])
    options = ["--modes", "think", "--ask-mode", asking, "--body", '{"top_p": null, "k": 1}']
    assert run(server, rows, out, *options) == 0
    expected = {"model": "m", "temperature": 0.6, "max_tokens": 16384, "k": 1, **body}
    first = next(body for body in server.requests if body["seed"] == 0)
    assert first == {**expected, "seed": 0, "messages": [{"role": "user", "content": sent}]}


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--ask-mode", "none"], "--no-think-model"), (["--modes", "thinking"], "--modes think"),
     (["--body", "["], "not JSON"), (["--body", '{"model": 1}'], "without model"),
     (["--api-key-env", "NOT_SET"], "export NOT_SET"), (["--n", "0"], "--n")],
)  # fmt: skip
def test_wrong_options_are_a_sentence_and_leave_nothing(
    server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: list[str], said: str,
) -> None:  # fmt: skip
    rows = tmp_path / "in.jsonl"
    write_rows(rows, [problem(1)])
    assert run(server, rows, tmp_path / "out.jsonl", *options) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [rows] and not server.requests


def test_a_file_that_is_not_there_is_a_sentence_and_leaves_nothing(
    server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, tmp_path / "absent.jsonl", tmp_path / "out.jsonl") == 2
    assert "absent.jsonl does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "in.jsonl"
    write_rows(rows, [problem(n) for n in range(10)])
    command = ["data", "generate", str(rows), "--out", str(tmp_path / "out.jsonl"), "--model", "m",
               "--endpoint", "http://127.0.0.1:9/v1", "--tries", "1"]  # fmt: skip
    assert status_of(command) == 1
    assert "run the same command to go on" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [rows]


# --- killed and continued -----------------------------------------------------------------------

CONCURRENCY = 8


def started(server: ChatServer, rows: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "cascade_rl.cli", "data", "generate", str(rows), "--out", str(out),
        "--endpoint", server.url, "--model", "m", "--n", "4", "--api-key-env", "KEY",
        "--concurrency", str(CONCURRENCY),
    ]  # fmt: skip
    return subprocess.Popen(command, env={**os.environ, "KEY": "sk-secret"}, stderr=subprocess.PIPE)


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None
) -> None:
    """Until it holds, for a minute, and no longer than the process lives."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.005)
    assert condition()


def test_after_a_kill_the_same_command_pays_for_nothing_twice(tmp_path: Path) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    cache = tmp_path / "out.parquet.responses"
    write_rows(rows, [problem(n) for n in range(25)])
    with chat_server(delay_s=0.02) as server:
        process = started(server, rows, out)
        wait_until(lambda: sum(server.paid.values()) >= 60, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        wait_until(lambda: server.connected == 0)
        known = {json.loads(line)["key"] for line in cache.read_text().splitlines()[:-1]}
        paid_before = sum(server.paid.values())
        assert 0 < len(known) < 200 and not out.exists()
        second = started(server, rows, out)
        assert (second.communicate(timeout=120), second.returncode)[1] == 0
    assert len(server.paid) == 200, "25 prompts, two modes, four samples"
    twice = [asked for asked, count in server.paid.items() if count > 1]
    assert len(twice) <= CONCURRENCY and max(server.paid.values()) <= 2
    assert sum(server.paid.values()) - paid_before <= 200 - len(known)
    assert len(conversations(out)) == 200
    for path in tmp_path.iterdir():
        assert b"sk-secret" not in path.read_bytes()
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-secret"}


def test_an_interrupt_says_how_to_go_on_and_leaves_no_output(tmp_path: Path) -> None:
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    write_rows(rows, [problem(n) for n in range(25)])
    with chat_server(delay_s=0.02) as server:
        process = started(server, rows, out)
        wait_until(lambda: sum(server.paid.values()) >= 40, process)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 130
        assert "Run the same command to go on" in said and "Traceback" not in said
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "in.jsonl", "out.parquet.responses",
        ]  # fmt: skip
        again = started(server, rows, out)
        assert (again.communicate(timeout=120), again.returncode)[1] == 0
    assert len(conversations(out)) == 200
    assert sum(server.paid.values()) <= 200 + CONCURRENCY
