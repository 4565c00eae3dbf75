"""A server as a `Generator`: what is asked, what comes of it, and what where nothing does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.sft.endpoint import Endpoint, Reply, Settings
from cascade_rl.data.sft.journal import Journal
from cascade_rl.engines.endpoint import EndpointGenerator, response_of
from cascade_rl.engines.generate import GREEDY, Prompt, Response, Sampling
from cascade_rl.errors import EndpointError
from cascade_rl.types import Message, Mode
from tests.data.chat_server import ChatServer, chat_server

SAMPLING = Sampling(temperature=0.6, top_p=0.95, max_new_tokens=64)


def sum_prompt(first: int, second: int, mode: Mode | None = None, samples: int = 2) -> Prompt:
    text = f"What is {first} + {second}?"
    wanted = (GREEDY, *range(samples))
    return Prompt(f"{first}+{second}", (Message("user", text),), mode, wanted)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as found:
        yield found


def generator(
    server: ChatServer, journal: Journal, tries: int = 3, **values: Any
) -> EndpointGenerator:
    settings = Settings(server.url, concurrency=4, tries=tries, backoff_s=0.01, timeout_s=5.0)
    return EndpointGenerator(Endpoint(settings, journal), "teacher", **values)


def test_every_wanted_answer_comes_once(server: ChatServer, tmp_path: Path) -> None:
    prompts = [sum_prompt(i, i + 1) for i in range(5)]
    with Journal(tmp_path / "answers") as journal:
        found = list(generator(server, journal).generate(prompts, SAMPLING))
    assert sorted((r.prompt, r.sample) for r in found) == [
        (i, sample) for i in range(5) for sample in (GREEDY, 0, 1)
    ]
    assert all(f"\\boxed{{{2 * r.prompt + 1}}}" in r.text for r in found)


def test_the_greedy_answer_is_asked_for_at_temperature_zero(
    server: ChatServer, tmp_path: Path
) -> None:
    with Journal(tmp_path / "answers") as journal:
        list(generator(server, journal).generate([sum_prompt(1, 2, samples=1)], SAMPLING))
    asked = sorted((r["temperature"], r["top_p"], r["max_tokens"]) for r in server.requests)
    assert asked == [(0.0, 1.0, 64), (0.6, 0.95, 64)]
    assert len({r["seed"] for r in server.requests}) == 2


@pytest.mark.parametrize(
    ("ask_mode", "text", "switch"),
    [
        ("flag", "What is 1 + 2? /think", None),
        ("template", "What is 1 + 2?", {"enable_thinking": True}),
        ("none", "What is 1 + 2?", None),
    ],
)
def test_the_mode_goes_where_the_server_reads_it(
    server: ChatServer, tmp_path: Path, ask_mode: str, text: str, switch: Mapping[str, Any] | None
) -> None:
    prompt = sum_prompt(1, 2, "think", samples=0)
    with Journal(tmp_path / "answers") as journal:
        list(generator(server, journal, ask_mode=ask_mode).generate([prompt], SAMPLING))
    [asked] = server.requests
    assert asked["messages"][-1]["content"] == text
    assert asked.get("chat_template_kwargs") == switch


def test_what_is_answered_is_not_asked_for_again(server: ChatServer, tmp_path: Path) -> None:
    prompts = [sum_prompt(i, 1) for i in range(4)]
    for _ in range(2):
        with Journal(tmp_path / "answers") as journal:
            found = list(generator(server, journal).generate(prompts, SAMPLING))
        assert len(found) == 12
    assert len(server.requests) == 12


def test_equal_prompts_share_their_answers(server: ChatServer, tmp_path: Path) -> None:
    prompts = [sum_prompt(1, 1, samples=1), sum_prompt(1, 1, samples=1)]
    with Journal(tmp_path / "answers") as journal:
        found = list(generator(server, journal).generate(prompts, SAMPLING))
    assert len(server.requests) == 2
    assert sorted((r.prompt, r.sample) for r in found) == [(0, -1), (0, 0), (1, -1), (1, 0)]


def test_a_request_without_an_answer_ends_the_call_after_all_others(
    server: ChatServer, tmp_path: Path
) -> None:
    lost = Prompt("lost", (Message("user", "500 9"),))
    found: list[Response] = []
    with (
        Journal(tmp_path / "answers") as journal,
        pytest.raises(EndpointError, match="1 of 4 requests got no answer; the last of them: no"),
    ):
        for response in generator(server, journal).generate([lost, sum_prompt(1, 2)], SAMPLING):
            found.append(response)
    assert sorted(r.sample for r in found) == [GREEDY, 0, 1]


def test_who_stops_reading_stops_the_asking(tmp_path: Path) -> None:
    with chat_server(delay_s=0.3) as server, Journal(tmp_path / "answers") as journal:
        answers = generator(server, journal).generate(
            [sum_prompt(i, 1) for i in range(40)], SAMPLING
        )
        next(answers)
        began = time.monotonic()
        answers.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 2.0
        assert not [t for t in threading.enumerate() if t.name.startswith("endpoint")]
        assert len(server.requests) < 40


def test_reasoning_that_comes_apart_is_the_thought() -> None:
    assert response_of(Reply("4", "2 + 2", "stop", 5), 0, 0).text == "<think>2 + 2</think>4"
    cut = response_of(Reply("", "2 + 2 is", "length", 5), 0, 0)
    assert (cut.text, cut.finish) == ("<think>2 + 2 is", "length")


def test_tail_confidence_is_that_of_the_last_tenth(tmp_path: Path) -> None:
    def step(*logprobs: float) -> dict[str, Any]:
        return {"token": "x", "logprob": 0.0, "top_logprobs": [{"token": "x", "logprob": p}
                                                               for p in logprobs]}  # fmt: skip

    def answers(body: Mapping[str, Any]) -> dict[str, Any]:
        assert body["logprobs"] is True
        steps = [step(-9.0, -9.0)] * 18 + [step(-1.0, -3.0), step(-0.5, -0.5)]
        return {
            "message": {"role": "assistant", "content": "x" * 20},
            "finish_reason": "stop",
            "logprobs": {"content": steps},
        }

    with chat_server(answers) as server, Journal(tmp_path / "answers") as journal:
        [found] = generator(server, journal, confidence=True).generate(
            [Prompt("p", (Message("user", "?"),))], SAMPLING
        )
        assert found.tail_confidence == pytest.approx((2.0 + 0.5) / 2)
        [again] = generator(server, journal, confidence=True).generate(
            [Prompt("p", (Message("user", "?"),))], SAMPLING
        )
        assert again.tail_confidence == found.tail_confidence
