from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.scorer import RewardModelScorer
from cascade_rl.engines.scorer_server import ScorerServer
from cascade_rl.rewards.remote import RemoteScorer
from cascade_rl.types import Checkpoint, Message, Preference, Problem
from tests.engines.helpers import job_of, pairs, reward_model_stage


@pytest.fixture(scope="module")
def scorer(start: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> RewardModelScorer:
    from tests.engines.helpers import Recording

    engine = LocalEngine()
    folder = tmp_path_factory.mktemp("rm")
    found = engine.train(job_of(start, reward_model_stage(), pairs(8)), Recording(folder))
    engine.close()
    return RewardModelScorer(found.path)


@pytest.fixture
def server(scorer: RewardModelScorer) -> Iterator[ScorerServer]:
    server = ScorerServer(scorer, "rm")
    server.start()
    yield server
    server.close()


def items(count: int) -> list[tuple[Problem, str]]:
    found = []
    for i in range(count):
        turns = (Message("user", f"hi {i}"), Message("assistant", "yes?"), Message("user", "so"))
        prompt = turns if i % 2 else turns[:1]
        found.append((Problem(f"p{i}", "chat", prompt, Preference(), "t"), f"<think>x</think>a{i}"))
    return found


def test_the_server_has_the_scores_of_the_scorer(
    server: ScorerServer, scorer: RewardModelScorer
) -> None:
    asked = items(20)
    remote = RemoteScorer(server.url, batch=7)(asked)
    assert remote == pytest.approx(scorer(asked), abs=1e-5)
    assert len({round(score, 6) for score in remote}) > 10


def test_requests_that_arrive_together_are_scored_together() -> None:
    rounds: list[int] = []
    busy, go = threading.Event(), threading.Event()

    def slow(found: Sequence[tuple[Problem, str]]) -> list[float]:
        rounds.append(len(found))
        busy.set()
        go.wait(10)
        return [float(text[1:]) for _, text in found]

    server = ScorerServer(slow, "slow")
    server.start()
    answers: dict[int, list[float]] = {}

    def ask(i: int) -> None:
        answers[i] = server.score([(items(1)[0][0], f"a{i}"), (items(1)[0][0], f"a{i + 100}")])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    threads[0].start()
    busy.wait(10)
    for thread in threads[1:]:
        thread.start()
    while server._waiting.qsize() < 5:
        pass
    go.set()
    for thread in threads:
        thread.join()
    server.close()
    assert rounds == [2, 10]
    assert answers == {i: [float(i), float(i + 100)] for i in range(6)}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/score", b"{", 400, "the body"),
        ("/score", b"[]", 400, "expected an object"),
        ("/score", b'{"items": []}', 400, "one question and answer at least"),
        ("/score", b'{"items": [{"answer": "x"}]}', 400, "items[0].question"),
        ("/score", b'{"items": [{"question": "x"}]}', 400, "items[0].answer"),
        ("/score", b'{"items": [{"messages": [], "answer": "x"}]}', 400, "list of turns"),
        ("/other", b"{}", 404, "POST /score"),
        ("/score", b"", 413, "bytes"),
    ],
)
def test_a_bad_request_is_answered_with_what_was_expected(
    server: ScorerServer, path: str, body: bytes, status: int, says: str
) -> None:
    reply = httpx.post(server.url.replace("/score", path), content=body)
    assert reply.status_code == status and says in reply.json()["error"]
    assert httpx.get(server.url.replace("/score", "/health")).json() == {"model": "rm"}


def test_what_does_not_fit_has_no_score_and_the_rest_has(server: ScorerServer) -> None:
    body = {"items": [{"question": "q", "answer": "x" * 5000}, {"question": "q", "answer": "y"}]}
    scores = httpx.post(server.url, json=body).json()["scores"]
    assert scores[0] is None and isinstance(scores[1], float)


def test_a_scorer_that_fails_fails_its_requests_alone() -> None:
    def odd(found: Sequence[tuple[Problem, str]]) -> list[float]:
        if any("bad" in text for _, text in found):
            raise ValueError("cannot")
        return [1.0 for _ in found]

    server = ScorerServer(odd, "odd")
    server.start()
    body = {"items": [{"question": "q", "answer": "bad"}]}
    assert httpx.post(server.url, json=body).status_code == 500
    body["items"][0]["answer"] = "good"
    assert httpx.post(server.url, json=body).json() == {"scores": [1.0]}
    server.close()


def test_a_directory_that_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    from cascade_rl.cli import status_of

    assert status_of(["serve-rm", str(tmp_path)]) == 2
