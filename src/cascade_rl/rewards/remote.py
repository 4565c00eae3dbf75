"""A reward model or judge behind HTTP: POST `{"items": [{"messages", "question", "answer"}]}`.

The server answers `{"scores": [number, ...]}`, one an item. What cannot be scored after a few
tries is nan, which the caller counts as *not judged*; it is never a zero.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from cascade_rl.chat import answer_part
from cascade_rl.types import Problem


@dataclass(frozen=True, slots=True)
class RemoteScorer:
    """A `Scorer` over HTTP; sends `batch` items a request, tries each request `tries` times.

    `messages` is the prompt without mode flags, `question` its last turn for servers that know
    one alone; the answer is what follows `</think>`, or the whole text where the thought never
    ends.
    """

    url: str
    batch: int = 64
    tries: int = 3
    timeout_s: float = 60.0

    def __call__(self, pairs: Sequence[tuple[Problem, str]]) -> list[float]:
        """One score a pair, nan where there is none."""
        scores: list[float] = []
        with httpx.Client(timeout=self.timeout_s) as client:
            for start in range(0, len(pairs), self.batch):
                scores += self._score(client, pairs[start : start + self.batch])
        return scores

    def _score(self, client: httpx.Client, pairs: Sequence[tuple[Problem, str]]) -> list[float]:
        items = [
            {
                "messages": [{"role": m.role, "content": m.content} for m in problem.prompt],
                "question": problem.prompt[-1].content,
                "answer": answer_part(text),
            }
            for problem, text in pairs
        ]
        for attempt in range(self.tries):
            try:
                reply = client.post(self.url, json={"items": items}).raise_for_status().json()
                return _scores(reply, len(items))
            except (httpx.HTTPError, ValueError, UnicodeEncodeError):
                if attempt + 1 < self.tries:
                    time.sleep(0.2 * 2**attempt)
        return [math.nan] * len(items)


def _scores(reply: object, count: int) -> list[float]:
    """The reply's scores; ValueError where it is not as many numbers as items."""
    scores = reply.get("scores") if isinstance(reply, dict) else None
    if not isinstance(scores, list) or len(scores) != count:
        raise ValueError(f"expected {count} scores")
    return [
        float(score) if isinstance(score, int | float) and not isinstance(score, bool) else math.nan
        for score in scores
    ]
