"""`cascade eval` against a server whose answers are known: the known scores, after any trouble."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.mini.model import build_model
from tests.cli.conftest import Done
from tests.data.chat_server import ChatServer, chat_server

Cascade = Callable[..., Done]

PROBLEMS, K = 12, 6


def is_right(number: int, seed: int) -> bool:
    """Every problem has a rate of its own: 0, 1/6, ... up to always."""
    sample = seed - 1
    return sample >= 0 and (sample + number) % K < number % (K + 1)


def choice(body: Mapping[str, Any]) -> dict[str, Any]:
    """An answer to `problem N: A + B`, right or wrong as `is_right` says."""
    found = re.search(r"problem (\d+): (\d+) \+ (\d+)", body["messages"][-1]["content"])
    assert found
    number, first, second = map(int, found.groups())
    value = first + second + (0 if is_right(number, body["seed"]) else 1)
    thinking = body.get("chat_template_kwargs", {}).get("enable_thinking")
    message = {"role": "assistant", "content": f"It is \\boxed{{{value}}}."}
    if thinking:
        message["reasoning_content"] = "I add."
    return {"message": message, "finish_reason": "stop"}


def flaky(body: Mapping[str, Any], seen: dict[str, int]) -> dict[str, Any]:
    """Fails the first try of one request in five."""
    key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    seen[key] = seen.get(key, 0) + 1
    if int(key, 16) % 5 == 0 and seen[key] == 1:
        raise ConnectionResetError
    return choice(body)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    lines = [
        {
            "data_source": "sums",
            "prompt": [{"role": "user", "content": f"problem {i}: {i} + {2 * i}"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": str(3 * i)},
            "extra_info": {"index": i},
        }
        for i in range(PROBLEMS)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


KNOWN = sum(is_right(i, s + 1) for i in range(PROBLEMS) for s in range(K)) / (PROBLEMS * K)
KNOWN_PASS = sum(any(is_right(i, s + 1) for s in range(K)) for i in range(PROBLEMS)) / PROBLEMS


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(choice) as found:
        yield found


def arguments(server: ChatServer, rows: Path, out: Path, *more: object) -> list[str]:
    return [
        "eval", "scripted", "--endpoint", server.url, "--benchmark", str(rows), "--out", str(out),
        "--k", str(K), "--json", "--workers", "1", *map(str, more),
    ]  # fmt: skip


def test_the_known_scores_come_out(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    done = cascade(*arguments(server, rows, tmp_path / "out"))
    assert done.status == 0, done.err
    found = json.loads(done.out)
    score = found["stages"][0]["scores"]["sums"]
    assert score["mean"] == pytest.approx(KNOWN, abs=1e-12)
    assert score["pass"] == pytest.approx(KNOWN_PASS, abs=1e-12)
    assert score["greedy"] == 0.0
    [row] = found["benchmarks"]
    assert row["low"] < KNOWN < row["high"]


def test_what_was_judged_is_not_asked_for_again(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    out = tmp_path / "out"
    first = cascade(*arguments(server, rows, out))
    asked = len(server.requests)
    next(out.glob("scripted-*.replies")).unlink()  # the judged answers alone are enough
    assert cascade(*arguments(server, rows, out)).out == first.out
    assert len(server.requests) == asked == PROBLEMS * (K + 1)


def test_more_samples_ask_for_the_new_ones_only(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    out = tmp_path / "out"
    cascade(*arguments(server, rows, out, "--k", 2, "--limit", 5))
    assert len(server.requests) == 5 * 3
    done = cascade(*arguments(server, rows, out))
    assert len(server.requests) == PROBLEMS * (K + 1)
    assert json.loads(done.out)["stages"][0]["scores"]["sums"]["mean"] == pytest.approx(KNOWN)


def test_a_budget_takes_the_samples_that_its_interval_needs(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    wide = cascade(*arguments(server, rows, tmp_path / "a", "--budget", 0.4))
    narrow = cascade(*arguments(server, rows, tmp_path / "a", "--budget", 0.06))
    rows_of = [json.loads(done.out)["benchmarks"][0] for done in (wide, narrow)]
    assert rows_of[0]["k"] == K
    assert rows_of[1]["k"] > K
    assert 1.96 * rows_of[1]["sampling_stderr"] <= 0.06 * 1.1


def test_a_mode_is_asked_for_and_its_obedience_shown(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    done = cascade(*arguments(server, rows, tmp_path / "out", "--mode", "think"))
    found = json.loads(done.out)["benchmarks"][0]
    assert found["mode_obeyed"] == 1.0
    assert found["mean"] == pytest.approx(KNOWN)


def test_two_models_are_compared_on_the_same_problems(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    better = server.answers

    def answers(body: Mapping[str, Any]) -> Mapping[str, Any]:
        if body["model"] == "scripted":
            return better(body)
        return choice({**body, "seed": 0})  # never right

    server.answers = answers
    done = cascade(*arguments(server, rows, tmp_path / "out", "--against", "worse"))
    before, after = json.loads(done.out)["stages"]
    assert (before["name"], before["scores"]["sums"]["mean"]) == ("worse", 0.0)
    assert after["scores"]["sums"]["change"] == pytest.approx(KNOWN)
    assert 0 < after["scores"]["sums"]["low"] < KNOWN < after["scores"]["sums"]["high"]


def test_a_model_is_not_compared_with_itself(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    done = cascade(*arguments(server, rows, tmp_path / "out", "--against", "scripted"))
    assert done.status == 2 and "one and the same model" in done.err and not server.requests


def test_two_models_of_one_name_stay_apart(rows: Path, tmp_path: Path, cascade: Cascade) -> None:
    paths = [tmp_path / name / "checkpoint-5" for name in "ab"]
    for seed, path in enumerate(paths):
        build_model(path, seed)
    done = cascade("eval", str(paths[1]), "--against", str(paths[0]), "--benchmark", str(rows),
                   "--out", str(tmp_path / "out"), "--max-new-tokens", "8", "--json")  # fmt: skip
    before, after = json.loads(done.out)["stages"]
    assert before["name"] == "checkpoint-5" != after["name"].partition(" ")[2]
    assert before["key"] != after["key"]
    assert after["name"].startswith("checkpoint-5 (")


def test_answers_of_another_server_are_others(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    cascade(*arguments(server, rows, tmp_path / "out"))
    with chat_server(lambda body: choice({**body, "seed": 0})) as never_right:
        done = cascade(*arguments(never_right, rows, tmp_path / "out"))
        assert never_right.requests
    assert json.loads(done.out)["stages"][0]["scores"]["sums"]["mean"] == 0.0


@pytest.mark.parametrize("finish", ["abort", "error", "content_filter"])
def test_an_answer_that_the_server_ended_is_not_the_models(
    finish: str, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    def answers(body: Mapping[str, Any]) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": ""}, "finish_reason": finish}

    with chat_server(answers) as server:
        done = cascade(*arguments(server, rows, tmp_path / "out", "--tries", 1))
    assert done.status == 1 and finish in done.err and "no answer" in done.err


def test_a_row_that_cannot_be_judged_is_said_before_anything_is_asked(
    server: ChatServer, tmp_path: Path, cascade: Cascade
) -> None:
    kwargs = {"instruction_id_list": ["no:such_thing"], "kwargs": [{}]}
    row = {
        "data_source": "if", "ability": "instruction_following",
        "prompt": [{"role": "user", "content": "problem 1: 1 + 2"}],
        "reward_model": {"style": "rule", "ground_truth": json.dumps(kwargs)},
        "extra_info": {"index": 0},
    }  # fmt: skip
    path = tmp_path / "if.jsonl"
    path.write_text(json.dumps(row) + "\n")
    done = cascade(*arguments(server, path, tmp_path / "out"))
    assert done.status != 0 and "no:such_thing" in done.err and not server.requests


@pytest.mark.parametrize("budget", ["0", "nan", "-1"])
def test_a_budget_that_is_no_width_is_refused(
    budget: str, server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    done = cascade(*arguments(server, rows, tmp_path / "out", "--budget", budget))
    assert done.status == 2 and not server.requests


def test_what_only_the_better_model_solves_is_counted_on_fresh_samples(
    server: ChatServer, rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    better = server.answers

    def answers(body: Mapping[str, Any]) -> Mapping[str, Any]:
        fresh, sample = divmod(body["seed"], 1 << 16)
        if body["model"] == "scripted":
            return better({**body, "seed": sample})
        number = int(re.findall(r"problem (\d+)", body["messages"][-1]["content"])[0])
        lucky = fresh and number == 2  # solved before after all, seen on fresh samples alone
        return choice({**body, "seed": sample if lucky else 0})

    server.answers = answers
    done = cascade(*arguments(server, rows, tmp_path / "out", "--against", "worse", "--unlocked"))
    found = json.loads(done.out)["unlocked"]["sums"]
    solved = [i for i in range(PROBLEMS) if any(is_right(i, s + 1) for s in range(K))]
    assert len(found["candidates"]) == len(solved)
    assert len(found["confirmed"]) == len(solved) - 1
    assert cascade(*arguments(server, rows, tmp_path / "out", "--unlocked")).status == 2


def test_a_benchmark_of_the_suite_brings_its_protocol(
    server: ChatServer, tmp_path: Path, cascade: Cascade, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "test.jsonl"
    lines = [{"question": f"problem {i}: {i} + {2 * i}", "answer": f"so\n#### {3 * i}"}
             for i in range(PROBLEMS)]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = cascade("eval", "scripted", "--endpoint", server.url, "--benchmark", f"gsm8k={path}",
                   "--out", tmp_path / "out", "--k", K, "--json")  # fmt: skip
    assert done.status == 0, done.err
    found = json.loads(done.out)
    score = found["stages"][0]["scores"]["gsm8k"]
    assert (score["k"], score["greedy"]) == (K, None)
    assert score["mean"] == pytest.approx(KNOWN)
    assert server.requests[0]["max_tokens"] == 32768
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": True}
    assert "12 rows; expected are 1,319" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm9k=x.jsonl", "did you mean 'gsm8k'"),
        ("gsm8k@paper=x.jsonl", "expected one of: ours"),
        ("rewardbench=x.jsonl", "cascade eval-rm MODEL PAIRS"),
        ("arenahard=x.jsonl", "cascade arena MODEL QUESTIONS"),
        ("livecodebench_v6", "it needs a file"),
    ],
)
def test_what_the_suite_does_not_have_is_said_with_what_it_has(
    server: ChatServer, tmp_path: Path, cascade: Cascade, name: str, message: str
) -> None:
    done = cascade("eval", "scripted", "--endpoint", server.url, "--benchmark", name,
                   "--out", tmp_path / "out")  # fmt: skip
    assert done.status == 2
    assert message in done.err
    assert not server.requests


def test_a_server_that_dies_is_said_and_what_it_answered_is_kept(
    rows: Path, tmp_path: Path, cascade: Cascade
) -> None:
    dead = threading.Event()

    def answers(body: Mapping[str, Any]) -> dict[str, Any]:
        if dead.is_set() or body["messages"][-1]["content"].startswith("problem 9:"):
            dead.set()
            raise ConnectionResetError
        return choice(body)

    out = tmp_path / "out"
    with chat_server(answers) as server:
        more = ("--tries", 1, "--concurrency", 2)
        done = cascade(*arguments(server, rows, out, *more))
        assert done.status == 1
        assert "no answer" in done.err
        assert "run the same command" in done.err
        server.answers = choice
        asked = len(server.requests)
        done = cascade(*arguments(server, rows, out, *more))
    assert json.loads(done.out)["stages"][0]["scores"]["sums"]["mean"] == pytest.approx(KNOWN)
    assert len(server.requests) - asked < PROBLEMS * (K + 1)


def test_killed_again_and_again_with_a_server_that_fails_one_in_five_it_ends_the_same(
    rows: Path, tmp_path: Path
) -> None:
    seen: dict[str, int] = {}
    out = tmp_path / "out"
    draw = random.Random(5)
    with chat_server(lambda body: flaky(body, seen), delay_s=0.1) as server:
        command = [sys.executable, "-m", "cascade_rl.cli", *arguments(server, rows, out,
                   "--concurrency", 4)]  # fmt: skip
        kills = 0
        while True:
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                start_new_session=True,
            ) as process:  # fmt: skip
                if kills < 4:
                    asked, more = len(server.requests), draw.randrange(1, 18)
                    while process.poll() is None and len(server.requests) < asked + more:
                        time.sleep(0.01)
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
                        kills += 1
                        continue
                said, _ = process.communicate()
            break
    assert kills >= 3
    assert process.returncode == 0
    score = json.loads(said)["stages"][0]["scores"]["sums"]
    assert (score["mean"], score["pass"]) == pytest.approx((KNOWN, KNOWN_PASS), abs=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "2 + 2", "answer": "4"}\n', "sums.jsonl"),
        ("not json\n", "sums.jsonl"),
    ],
)
def test_a_file_of_another_shape_is_said_before_anything_is_asked(
    server: ChatServer, tmp_path: Path, cascade: Cascade, text: str, message: str
) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text(text)
    done = cascade(*arguments(server, path, tmp_path / "out"))
    assert done.status == 2
    assert message in done.err
    assert not server.requests
