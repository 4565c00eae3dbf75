"""A reward model behind HTTP: what `rewards.remote.RemoteScorer` asks.

    POST /score   {"items": [{"messages": [...], "answer": "..."}]}  ->  {"scores": [number, ...]}
    GET  /health  {"model": "..."}

`question` may stand in place of `messages`: one user turn. One rule: requests that arrive while
the model is busy are scored together, in one batch, by one thread. What does not fit the model's
context has the score null.
"""

from __future__ import annotations

import json
import math
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cascade_rl.data.fields import mappings_at, parse_json, shown, text_at
from cascade_rl.data.schema import messages_at
from cascade_rl.digests import digest_json
from cascade_rl.errors import CascadeError, DataError
from cascade_rl.types import Preference, Problem, Scorer

MOST_BYTES = 64 << 20
"""Of a request's body."""
MOST_ITEMS = 1024
"""Scored together; further requests wait for the next round."""

Item = tuple[Problem, str]


@dataclass
class _Request:
    items: Sequence[Item]
    done: threading.Event = field(default_factory=threading.Event)
    scores: list[float] = field(default_factory=list)
    failure: Exception | None = None


class ScorerServer:
    """Serves a scorer on `host`:`port` (0: a free one) from `start` to `close`."""

    def __init__(self, scorer: Scorer, name: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self._scorer = scorer
        self._waiting: queue.Queue[_Request | None] = queue.Queue()
        self._http = ThreadingHTTPServer((host, port), _handler(self, name))
        self._http.daemon_threads = True
        self._threads = [
            threading.Thread(target=self._http.serve_forever, daemon=True),
            threading.Thread(target=self._work, daemon=True),
        ]

    @property
    def url(self) -> str:
        """Where scores are asked for."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}/score"

    def start(self) -> None:
        """Begin to answer; returns at once."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; requests in flight are answered first."""
        self._http.shutdown()
        self._http.server_close()
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def score(self, items: Sequence[Item]) -> list[float]:
        """Scores of a request, once its round is over."""
        request = _Request(items)
        self._waiting.put(request)
        request.done.wait()
        if request.failure is not None:
            raise request.failure
        return request.scores

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            together = [first]
            count = len(first.items)
            while count < MOST_ITEMS and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    self._waiting.put(None)  # for the next look
                    break
                together.append(following)
                count += len(following.items)
            self._round(together)

    def _round(self, together: Sequence[_Request]) -> None:
        try:
            scores = iter(self._scorer([item for request in together for item in request.items]))
            for request in together:
                request.scores = [next(scores) for _ in request.items]
        except (CascadeError, RuntimeError, ValueError) as error:  # the others go on being served
            for request in together:
                request.failure = error
        for request in together:
            request.done.set()


def read_items(body: bytes) -> list[Item]:
    """The items of a request. Raises DataError with what was found and what was expected."""
    values = parse_json(body.decode("utf-8", "replace"), "the body")
    if not isinstance(values, dict):
        raise DataError(f"the body is {shown(values)}; expected an object with items")
    found = mappings_at(values, "items")
    if not found:
        raise DataError("items is missing or empty; expected one question and answer at least")
    return [_item(item, f"items[{i}].") for i, item in enumerate(found)]


def _item(item: Mapping[str, Any], where: str) -> Item:
    try:
        prompt = messages_at(item, "messages" if "messages" in item else "question")
        answer = text_at(item, "answer")
    except DataError as error:
        raise DataError(where + error.message) from None
    name = digest_json([[message.role, message.content] for message in prompt])
    return Problem(name, "chat", prompt, Preference(), "request"), answer


def _handler(server: ScorerServer, name: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.path == "/health"
            self._answer(200 if known else 404, {"model": name} if known else _unknown(self.path))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if self.path != "/score":
                self.close_connection = True
                self._answer(404, _unknown(self.path))
            elif not 0 < size <= MOST_BYTES:
                self.close_connection = True
                self._answer(413, {"error": f"a body of {size} bytes; 1 to {MOST_BYTES} are read"})
            else:
                self._score(self.rfile.read(size))

        def _score(self, body: bytes) -> None:
            try:
                scores = server.score(read_items(body))
            except DataError as error:
                self._answer(400, {"error": error.message})
            except (CascadeError, RuntimeError, ValueError) as error:
                self._answer(500, {"error": str(error)})
            else:
                found = [score if math.isfinite(score) else None for score in scores]
                self._answer(200, {"scores": found})

        def _answer(self, status: int, values: dict[str, Any]) -> None:
            body = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A line a request would drown what is worth reading."""

    return Handler


def _unknown(path: str) -> dict[str, Any]:
    return {"error": f"nothing at {path}; POST /score or GET /health"}
