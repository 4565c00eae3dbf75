"""A judge behind an OpenAI-compatible server: P(YES) from the log-probabilities it returns.

The rule: what the server does not say clearly is nan, *not judged*, after a few tries with
growing pauses; it is never a zero. Every text that is sent is made harmless first: a server
reads template tokens such as `<|im_end|>` wherever they stand, also inside a quoted patch.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from cascade_rl.chat import THINK_CLOSE, answer_part, harmless
from cascade_rl.types import Message, Problem
from cascade_rl.verifiers.judge_prompt import expert_messages

JUDGEMENT = "<judgement>"
LEAST_MASS = 0.01
"""Probability of YES and NO together below which the judge has not answered the question."""

Step = tuple[str, Mapping[str, float]]
"""A token of the reply, and the log-probabilities of it and its alternatives."""


@dataclass(frozen=True, slots=True)
class JudgeEndpoint:
    """A `Scorer`: one P(YES) from 0 to 1 a (problem, completion), nan where there is none.

    `url` is the base that ends in `/v1`. `chat` asks `/chat/completions` with `logprobs` and
    `top_logprobs`; `completions` asks `/completions` with the reply begun at `<judgement>`, so
    that one token decides. An answer over `max_answer` characters is its own fault and gets 0.
    """

    url: str
    model: str
    api: Literal["chat", "completions"] = "chat"
    concurrency: int = 16
    tries: int = 4
    backoff_s: float = 0.5
    timeout_s: float = 120.0
    max_tokens: int = 64
    alternatives: int = 20
    max_answer: int = 200_000
    api_key: str = field(default="", repr=False)
    messages: Callable[[Problem, str], tuple[Message, ...]] = expert_messages

    def __call__(self, pairs: Sequence[tuple[Problem, str]]) -> list[float]:
        """One P(YES) a pair, in order; at most `concurrency` requests at a time."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        with (
            httpx.Client(timeout=self.timeout_s, headers=headers) as client,
            ThreadPoolExecutor(max(self.concurrency, 1)) as threads,
        ):
            return list(threads.map(lambda pair: self._score(client, *pair), pairs))

    def _score(self, client: httpx.Client, problem: Problem, text: str) -> float:
        answer = answer_part(text)
        if len(answer) > self.max_answer:
            return 0.0
        messages = self.messages(problem, answer)
        path, body = self._request(messages)
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.backoff_s * 2 ** (attempt - 1))
            try:
                reply = client.post(self.url.rstrip("/") + path, json=body)
                if reply.is_success:
                    return self._read(reply.json())
                if reply.status_code not in (408, 409, 425, 429) and reply.status_code < 500:
                    return math.nan  # the same request would be refused again
            except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
                continue
        return math.nan

    def _request(self, messages: Sequence[Message]) -> tuple[str, dict[str, Any]]:
        common = {"model": self.model, "temperature": 0.0}
        turns = [{"role": m.role, "content": harmless(m.content)} for m in messages]
        if self.api == "chat":
            asked = {"logprobs": True, "top_logprobs": self.alternatives}
            found = {"messages": turns, "max_tokens": self.max_tokens, **asked}
            return "/chat/completions", common | found
        prompt = "\n\n".join(turn["content"] for turn in turns) + f"\n\n{JUDGEMENT}"
        found = {"prompt": prompt, "max_tokens": 4, "logprobs": self.alternatives}
        return "/completions", common | found

    def _read(self, reply: Any) -> float:
        """P(YES) of a reply; a reply of another shape raises one of the errors caught above."""
        logprobs = reply["choices"][0]["logprobs"]
        if self.api == "chat":
            steps = [
                (str(step["token"]), {str(t["token"]): t["logprob"] for t in step["top_logprobs"]})
                for step in logprobs["content"]
            ]
            return p_yes(steps)
        steps = list(zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True))
        return p_yes(steps, begun=JUDGEMENT)


def p_yes(steps: Sequence[Step], begun: str = "") -> float:
    """p(YES) / (p(YES) + p(NO)) at the token that decides; nan where none does.

    That is the first one, after the thinking, that writes a letter after `<judgement>`. A word
    that is not among the alternatives counts 0, unless neither is.
    """
    before, close, _ = "".join(token for token, _ in steps).rpartition(THINK_CLOSE)
    written, position = begun, 0
    for token, alternatives in steps:
        if position >= len(before + close) and _word(written + token):
            return _share(written, alternatives)
        position += len(token)
        written += token
        if THINK_CLOSE in written:
            written = written.rpartition(THINK_CLOSE)[2]
    return math.nan


def _word(text: str) -> str:
    """The letters that follow the first `<judgement>`."""
    found = re.search(rf"{JUDGEMENT}\s*([A-Za-z]+)", text)
    return found[1].upper() if found else ""


def _share(written: str, alternatives: Mapping[str, float]) -> float:
    totals = {"YES": 0.0, "NO": 0.0}
    for token, logprob in alternatives.items():
        if not isinstance(logprob, int | float) or math.isnan(logprob) or logprob > 1e-3:
            return math.nan
        word = _word(written + token)
        for answer in totals:
            if word and answer.startswith(word):  # Y, YE, YES: tokens cut words as they like
                totals[answer] += math.exp(logprob)
    both = totals["YES"] + totals["NO"]
    if both < LEAST_MASS or len(alternatives) < 2:
        return math.nan
    return totals["YES"] / both
