"""A scorer behind HTTP: its scores, and nan for what it does not score."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from cascade_rl.rewards.remote import RemoteScorer
from cascade_rl.types import Message, Preference, Problem

PROBLEM = Problem("p", "chat", (Message("user", "hello"),), Preference(), "t")


class Handler(BaseHTTPRequestHandler):
    """Scores by length; the answers `fail`, `once`, `odd` and `short` are served badly."""

    failures = 0

    def do_POST(self) -> None:
        items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["items"]
        answers = [item["answer"] for item in items]
        scores: list[Any] = [len(answer) for answer in answers]
        status = 200
        if "fail" in answers or ("once" in answers and Handler.failures == 0):
            status, Handler.failures = 500, Handler.failures + 1
        if "odd" in answers:
            scores[answers.index("odd")] = "high"
        if "short" in answers:
            scores.pop()
        body = json.dumps({"scores": scores}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Handler.failures = 0
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/score"
        server.shutdown()
        thread.join()


def scores(url: str, *texts: str) -> list[float]:
    return RemoteScorer(url, batch=2, tries=2)([(PROBLEM, text) for text in texts])


def test_the_answer_after_the_thought_is_scored_in_order(url: str) -> None:
    assert scores(url, "<think>long thought</think>ab", "abc", "a", "") == [2.0, 3.0, 1.0, 0.0]


def test_a_failed_request_is_tried_again(url: str) -> None:
    assert scores(url, "once") == [4.0]
    assert Handler.failures == 1


def test_what_fails_every_time_is_nan_and_only_that(url: str) -> None:
    found = scores(url, "a", "b", "fail", "c", "abcd")
    assert [math.isnan(score) for score in found] == [False, False, True, True, False]


def test_a_reply_of_the_wrong_shape_is_nan(url: str) -> None:
    assert math.isnan(scores(url, "odd")[0])
    assert math.isnan(scores(url, "short")[0])


def test_a_server_that_is_not_there_gives_nan() -> None:
    scorer = RemoteScorer("http://127.0.0.1:9/score", tries=1, timeout_s=1)
    assert math.isnan(scorer([(PROBLEM, "x")])[0])
