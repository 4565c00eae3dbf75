"""A server behind an OpenAI-compatible address that answers prompts; every answer is paid once.

The rule: what a server does not answer is never an empty text. After its tries a request that has
no answer ends the call, with every answer before it kept in the journal, and the same call goes
on from there.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from cascade_rl.chat import THINK_CLOSE, THINK_OPEN
from cascade_rl.data.sft.endpoint import REFUSED, Ask, Endpoint, Failure, Reply, with_flag
from cascade_rl.digests import digest_json
from cascade_rl.engines.generate import GREEDY, Prompt, Response, Sampling
from cascade_rl.errors import EndpointError

Place = tuple[int, int]
"""(index of the prompt, number of the answer)."""


@dataclass(frozen=True, slots=True)
class EndpointGenerator:
    """Answers of `model` on a server.

    `ask_mode`: the mode goes as ` /think` at the end of the user turns (`flag`), to the template's
    switch that vLLM and SGLang pass on (`template`), or not at all (`none`). With `confidence` the
    likeliest tokens' log-probabilities are asked for. `body` are further fields of a request.
    """

    endpoint: Endpoint
    model: str
    ask_mode: Literal["flag", "template", "none"] = "template"
    confidence: bool = False
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The server's name of the model."""
        return self.model

    @property
    def digest(self) -> str:
        """Of the address, the model's name and how it is asked: its weights cannot be seen."""
        asked = [self.endpoint.settings.url, self.model, self.ask_mode, dict(self.body)]
        return digest_json(asked)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        """Every wanted answer to every prompt, in the order in which they come.

        Raises EndpointError where some have none, after all others are there.
        """
        places: dict[str, list[Place]] = {}
        asks: dict[str, Ask] = {}
        for i, prompt in enumerate(prompts):
            for sample in prompt.samples:
                ask = self.ask(prompt, sample, sampling)
                asks[ask.key()] = ask
                places.setdefault(ask.key(), []).append((i, sample))
        failures = []
        for ask, found in _fetched(self.endpoint, list(asks.values())):
            if isinstance(found, Failure):
                failures.append(found)
                continue
            if found.finish == "content_filter":
                failures.append(Failure(REFUSED, "content_filter: the answer is withheld"))
                continue
            for i, sample in places[ask.key()]:
                yield response_of(found, i, sample)
        if failures:
            raise EndpointError(
                f"{self.endpoint.settings.url}: {len(failures)} of {len(asks)} requests got no "
                f"answer; the last of them: {failures[-1].reason}: {failures[-1].detail}",
                hint="what is answered is kept: run the same command to ask for the rest",
            )

    def ask(self, prompt: Prompt, sample: int, sampling: Sampling) -> Ask:
        """The request for one answer. The prompt's id is not sent, so equal prompts share one."""
        greedy = sample == GREEDY
        settings: dict[str, Any] = {
            "temperature": 0.0 if greedy else sampling.temperature,
            "top_p": 1.0 if greedy else sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
        }
        if sampling.top_k and not greedy:
            settings["top_k"] = sampling.top_k
        if self.confidence:
            settings |= {"logprobs": True, "top_logprobs": 20}
        turns = prompt.messages
        if prompt.mode is not None and self.ask_mode == "flag":
            turns = with_flag(turns, prompt.mode)
        if prompt.mode is not None and self.ask_mode == "template":
            settings["chat_template_kwargs"] = {"enable_thinking": prompt.mode == "think"}
        seed = (sampling.seed << 16) + sample + 1
        return Ask(self.model, turns, {**settings, **self.body}, seed)


def response_of(reply: Reply, prompt: int, sample: int) -> Response:
    """A reply as generated text: its reasoning, where it comes apart, is the thought."""
    text = reply.content
    if reply.reasoning and THINK_CLOSE not in text:
        ended = text or reply.finish != "length"
        text = f"{THINK_OPEN}{reply.reasoning}{THINK_CLOSE if ended else ''}{text}"
    finish: Literal["stop", "length"] = "length" if reply.finish == "length" else "stop"
    return Response(prompt, sample, text, finish, reply.length, reply.tail_confidence)


def _fetched(endpoint: Endpoint, asks: Sequence[Ask]) -> Iterator[tuple[Ask, Reply | Failure]]:
    """Requests with what came, as it comes; the fetching is left where nobody reads on."""
    came: queue.SimpleQueue[tuple[Ask, Reply | Failure] | None] = queue.SimpleQueue()

    def brought(ask: Ask, found: Reply | Failure) -> None:
        came.put((ask, found))

    with ThreadPoolExecutor(1, thread_name_prefix="endpoint") as threads:
        future = threads.submit(endpoint.fetch, asks, brought=brought)
        future.add_done_callback(lambda _: came.put(None))
        try:
            while (item := came.get()) is not None:
                yield item
        finally:
            if not future.done():
                endpoint.cancel()
        future.result()
