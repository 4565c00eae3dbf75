"""Chat completions from any OpenAI-compatible server; every answer is journaled and paid once.

Two rules. An answer is in the journal before anybody sees it, so the same command goes on where
it was killed and asks for the rest only. What is not answered has a name: it is never an empty
text. (`rewards.judge_endpoint` is another thing: it scores a few answers in training, reads
log-probabilities, keeps nothing, and takes every failure for *not judged*.)
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from cascade_rl.chat import harmless
from cascade_rl.data.lengths import estimated_tokens
from cascade_rl.data.sft.journal import Journal
from cascade_rl.data.sft.pace import Pace, retry_after
from cascade_rl.digests import digest_json
from cascade_rl.errors import EndpointError, InputError
from cascade_rl.types import Message

LONGEST_BACKOFF_S = 60.0
LONGEST_PAUSE_S = 600.0
"""A server that asks for a longer pause than this ends the command; its answers are kept."""
GIVE_UP = 20
"""Requests in a row that are not answered, each after all its tries, before all is stopped."""
AGAIN = frozenset((408, 409, 425, 429))
STOP = {
    401: "check the key in the variable named by  --api-key-env",
    402: "the account behind the key has no means left; what is answered is kept",
    403: "check the key in the variable named by  --api-key-env",
    404: "check  --endpoint  (it usually ends in /v1) and  --model",
    405: "check  --endpoint  (it usually ends in /v1)",
}
UNANSWERED = "no answer"
REFUSED = "refused by the endpoint"
NOT_THE_MODELS_END = ("abort", "error", "cancelled", "canceled")
"""Reasons of a server for an end that is a failure of its own, with status 200."""

Report = Callable[[int, int], None]
Brought = Callable[["Ask", "Reply | Failure"], None]
"""Called with each request once it is answered, from the journal or by the server, or is not."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `sampling` are further fields of its body; `sample` makes equal ones differ."""

    model: str
    messages: tuple[Message, ...]
    sampling: Mapping[str, Any]
    sample: int = 0

    def body(self) -> dict[str, Any]:
        """The request's JSON; texts cannot be taken for template tokens. None leaves a key out."""
        turns = [{"role": m.role, "content": harmless(m.content)} for m in self.messages]
        found = {"model": self.model, "messages": turns, "seed": self.sample, **self.sampling}
        return {key: value for key, value in found.items() if value is not None}

    def key(self) -> str:
        """Digest of model, messages, sampling and sample index: the journal's key."""
        return digest_json([self.body(), self.sample])


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as the server gave it. `tokens` counts the completion; None where it did not.

    `tail_confidence` is there where log-probabilities were asked for and came.
    """

    content: str
    reasoning: str
    finish: str
    tokens: int | None
    tail_confidence: float | None = None

    @property
    def length(self) -> int:
        """Tokens of the completion, estimated where nobody counted."""
        if self.tokens is not None:
            return self.tokens
        return estimated_tokens(self.content + self.reasoning)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer: one of UNANSWERED and REFUSED, and what the server said."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How an endpoint is asked. `url` is the base that usually ends in `/v1`.

    `timeout_s` is for a whole answer; `backoff_s` is the first pause, which then doubles.
    """

    url: str
    api_key: str = field(default="", repr=False)
    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    tries: int = 6
    backoff_s: float = 0.5
    timeout_s: float = 900.0

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InputError(f"--endpoint {self.url!r} is not a URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError(
                f"--endpoint {self.url!r} is not a web address",
                hint="for example:  --endpoint http://127.0.0.1:8000/v1",
            )
        if url.userinfo or url.query:
            raise InputError(
                "--endpoint has a name, a password or a query in it; expected a plain address",
                hint="put the key into a variable and name it:  --api-key-env NAME",
            )


def api_key(variable: str) -> str:
    """The key in an environment variable; empty for no name. Raises InputError where unset."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise InputError(
            f"the environment variable {variable} holds no key",
            hint=f"set it:  export {variable}=...",
        )
    return key


class Endpoint:
    """One server and its journal. `asked` counts answers paid for by this object, `kept` those
    that the journal had already."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self.settings, self.journal = settings, journal
        self.failures: dict[str, Failure] = {}
        self.asked = self.kept = 0
        self._in_flight: set[str] = set()
        self._failed_in_row = 0
        self._completion = 0.0  # mean tokens of an answer so far
        self._cancelled = False
        self._fetching: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    def answer(self, ask: Ask) -> Reply | Failure:
        """What `fetch` brought for this request."""
        key = ask.key()
        found = self.journal.get(key)
        if found is None:
            return self.failures.get(key, Failure(UNANSWERED, "never asked"))
        return Reply(
            found["content"],
            found["reasoning"],
            found["finish"],
            found.get("tokens"),
            found.get("tail_confidence"),
        )

    def fetch(
        self,
        asks: Iterable[Ask],
        report: Report = lambda rows, end: None,
        brought: Brought = lambda ask, found: None,
    ) -> None:
        """Put the answer to every request into the journal, `concurrency` at a time.

        Reads the requests as it goes. Raises EndpointError where the server stops answering,
        InputError where it refuses the key, the model or the address, and what `brought` raises.
        """
        asyncio.run(self._fetch(iter(asks), report, brought))

    def cancel(self) -> None:
        """From another thread: `fetch` leaves what is under way and raises CancelledError."""
        self._cancelled = True
        if self._fetching is not None:
            loop, task = self._fetching
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(task.cancel)

    async def _fetch(self, asks: Iterator[Ask], report: Report, brought: Brought) -> None:
        settings, task = self.settings, asyncio.current_task()
        assert task is not None
        self._fetching = asyncio.get_running_loop(), task
        if self._cancelled:
            raise asyncio.CancelledError
        pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        timeout = httpx.Timeout(settings.timeout_s, connect=min(settings.timeout_s, 10.0))
        limits = httpx.Limits(max_connections=settings.concurrency)
        async with httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits) as client:
            workers = [
                asyncio.create_task(self._work(client, pace, asks, report, brought))
                for _ in range(settings.concurrency)
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(
        self,
        client: httpx.AsyncClient,
        pace: Pace,
        asks: Iterator[Ask],
        report: Report,
        brought: Brought,
    ) -> None:
        for ask in asks:
            await asyncio.sleep(0)
            key = ask.key()
            if key in self._in_flight:
                continue
            if key in self.journal:
                self.kept += 1
            else:
                self._in_flight.add(key)
                await self._bring(client, pace, ask, key)
                self._in_flight.discard(key)
            report(self.asked + self.kept + len(self.failures), 0)
            brought(ask, self.answer(ask))

    async def _bring(self, client: httpx.AsyncClient, pace: Pace, ask: Ask, key: str) -> None:
        """The answer into the journal, or the reason why there is none into `failures`."""
        found = await self._ask(client, pace, ask)
        if isinstance(found, Reply):
            self.journal.put(key, _values(ask, found))
            self.failures.pop(key, None)
            self.asked += 1
            self._failed_in_row = 0
            self._completion += (found.length - self._completion) / self.asked
            return
        self.failures[key] = found
        if found.reason == UNANSWERED or not (self.asked or self.kept):
            self._failed_in_row += 1
        if self._failed_in_row >= GIVE_UP:
            raise EndpointError(
                f"{self.settings.url}: the last {GIVE_UP} requests got no answer; "
                f"the last of them: {found.detail}",
                hint="what is answered is kept: run the same command to go on",
            )

    async def _ask(self, client: httpx.AsyncClient, pace: Pace, ask: Ask) -> Reply | Failure:
        """One request with its tries."""
        url = f"{self.settings.url.rstrip('/')}/chat/completions"
        body = ask.body()
        estimate = _estimate(body, self._completion)
        why = ""
        for attempt in range(self.settings.tries):
            if attempt:
                await asyncio.sleep(self._backoff(attempt))
            await pace.turn(estimate)
            try:
                async with asyncio.timeout(self.settings.timeout_s):
                    response = await client.post(url, json=body)
                if response.is_success:
                    reply, used = _read(response.json())
                    pace.correct(used - estimate if used else 0.0)
                    return reply
            except (httpx.RequestError, TimeoutError) as error:  # torn connections among them
                why = f"{type(error).__name__} {error}".strip()
                continue
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                why = f"what came is no chat completion: {type(error).__name__} {error}"
                continue
            why = self._said(response)
            if response.status_code in STOP or response.is_redirect:
                raise InputError(why, hint=STOP.get(response.status_code, STOP[404]))
            if response.status_code not in AGAIN and response.status_code < 500:
                return Failure(REFUSED, why)
            self._heed(pace, response)
        return Failure(UNANSWERED, why)

    def _backoff(self, attempt: int) -> float:
        longest = min(self.settings.backoff_s * 2.0 ** (attempt - 1), LONGEST_BACKOFF_S)
        return longest * random.uniform(0.5, 1.0)  # apart, so that not all come back at once

    def _heed(self, pace: Pace, response: httpx.Response) -> None:
        """Wait as long as the server asks, all requests of them."""
        seconds = retry_after(response.headers.get("Retry-After"))
        if seconds is None:
            return
        if seconds > LONGEST_PAUSE_S:
            raise EndpointError(
                f"{self.settings.url} asks to be left alone for {seconds:.0f} s",
                hint="what is answered is kept: run the same command after that time",
            )
        pace.pause(seconds)

    def _said(self, response: httpx.Response) -> str:
        """Status and words of a refusal, without the key where the server repeats it."""
        text = response.text[:2000]
        if self.settings.api_key:
            text = text.replace(self.settings.api_key, "***")
        return f"status {response.status_code}: {' '.join(text.split())[:300]}"


def _estimate(body: Mapping[str, Any], completion: float) -> float:
    """Tokens that a request will take: its prompt's, and an answer as long as those so far."""
    prompt = sum(estimated_tokens(turn["content"]) for turn in body["messages"])
    return prompt + (completion or float(body.get("max_tokens") or 0))


def _read(body: Any) -> tuple[Reply, int | None]:
    """The reply and all tokens it was charged for; another shape raises one of those caught."""
    choice = body["choices"][0]
    message = choice["message"]
    content = message.get("content") or ""
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    if not isinstance(content, str) or not isinstance(reasoning, str):
        raise TypeError("content is not text")
    usage = body.get("usage") or {}
    finish = choice.get("finish_reason") or "stop"
    if finish in NOT_THE_MODELS_END or choice.get("error"):
        raise ValueError(f"the server ended the answer itself: {choice.get('error') or finish}")
    counted = _count(usage.get("completion_tokens"))
    confidence = _tail_confidence((choice.get("logprobs") or {}).get("content") or ())
    reply = Reply(content, reasoning, str(finish), counted, confidence)
    return reply, _count(usage.get("total_tokens"))


def _tail_confidence(steps: Sequence[Mapping[str, Any]]) -> float | None:
    """DeepConf's (arXiv 2508.15260, section 3) over the last tenth of the tokens, in nats.

    A token's is minus the mean log-probability of the likeliest tokens in its place.
    """
    tail = steps[len(steps) - math.ceil(len(steps) / 10) :]
    found = [[float(t["logprob"]) for t in step["top_logprobs"]] for step in tail]
    means = [-math.fsum(one) / len(one) for one in found if one]
    return math.fsum(means) / len(means) if means else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _values(ask: Ask, reply: Reply) -> dict[str, Any]:
    """What a line of the journal holds beside its key."""
    return {
        "model": ask.model,
        "sample": ask.sample,
        "content": reply.content,
        "reasoning": reply.reasoning,
        "finish": reply.finish,
        "tokens": reply.tokens,
        **({} if reply.tail_confidence is None else {"tail_confidence": reply.tail_confidence}),
    }


def with_flag(messages: Sequence[Message], mode: str) -> tuple[Message, ...]:
    """The turns as sent where the mode is a word at the end of every user turn.

    A turn that has a mode of its own keeps it.
    """
    return tuple(
        Message(m.role, f"{m.content} /{m.mode or mode}") if m.role == "user" else m
        for m in messages
    )
