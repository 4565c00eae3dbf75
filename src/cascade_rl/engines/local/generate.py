"""A checkpoint on this machine that answers prompts: the local team behind the `Generator` seam.

The rule: keys have no model in them, so checkpoints are compared under common random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cascade_rl.config import ChatConfig
from cascade_rl.engines.generate import GREEDY, Prompt, Response, Sampling
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.encoder import Encoder, check_prompts
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams, row_key
from cascade_rl.engines.local.workers import Team
from cascade_rl.types import Checkpoint

SLOT = "evaluate"
TOP = 20
"""Likeliest tokens that a token's confidence is the mean of; as many as servers give."""


@dataclass(frozen=True, slots=True)
class LocalGenerator:
    """A model directory, read when it is first asked. `what` begins errors about lengths.

    With `confidence` answers come together, each with its tail confidence.
    """

    team: Team
    checkpoint: Checkpoint
    chat: ChatConfig
    yarn_factor: float = 1.0
    what: str = "prompts"
    confidence: bool = False

    @property
    def name(self) -> str:
        """The directory's name; a stage's, where it is the `model` of one."""
        path = self.checkpoint.path.resolve()
        return path.parent.name if path.name == "model" else path.name

    @property
    def digest(self) -> str:
        """Of the weights."""
        return self.checkpoint.weights_digest

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        """Every wanted answer to every prompt, in the order in which they are done.

        Raises ConfigError where a prompt and `max_new_tokens` exceed the model's context.
        """
        loading = Loading(self.checkpoint.path, self.chat, yarn_factor=self.yarn_factor)
        model = self.team.load(SLOT, loading)
        encoder = Encoder(model.tokenizer, self.chat)
        ids = [encoder.prompt(prompt.messages, prompt.mode) for prompt in prompts]
        lengths = {p.id: len(found) for p, found in zip(prompts, ids, strict=True)}
        longest = sampling.max_new_tokens
        check_prompts(lengths, model.context, longest, model.context, self.what)
        params = SamplingParams(sampling.temperature, sampling.top_p, sampling.top_k, longest)
        requests = [
            Request(found, keys_of(prompt, sampling.seed))
            for prompt, found in zip(prompts, ids, strict=True)
        ]
        try:
            found = self.team.sample(SLOT, requests, params, encoder.stop_ids)
            answers = self._with_confidence(ids, found) if self.confidence else without(found)
            for generated, confidence in answers:
                yield Response(
                    prompt=generated.request,
                    sample=prompts[generated.request].samples[generated.sample],
                    text=encoder.text(generated.ids),
                    finish=generated.finish,
                    tokens=len(generated.ids),
                    tail_confidence=confidence,
                )
        finally:
            self.team.forget(SLOT)

    def _with_confidence(
        self, ids: Sequence[tuple[int, ...]], found: Iterator[Generated]
    ) -> Iterator[tuple[Generated, float | None]]:
        """Each answer with its tail confidence: one more forward pass, once all are sampled."""
        answers = list(found)
        rows = [
            Row(ids[one.request], one.ids, tail_of(len(one.ids)), group=one.request)
            for one in answers
        ]
        values = self.team.confidences(SLOT, rows, TOP)
        for generated, tail in zip(answers, values, strict=True):
            yield generated, float(tail.mean())


def without(found: Iterator[Generated]) -> Iterator[tuple[Generated, None]]:
    """Each answer as it comes."""
    return ((generated, None) for generated in found)


def tail_of(tokens: int) -> np.ndarray:
    """1 for the last tenth of the tokens, at least one, 0 for the others [T]."""
    weights_T = np.zeros(tokens, dtype=np.float32)
    weights_T[tokens - math.ceil(tokens / 10) :] = 1.0
    return weights_T


def keys_of(prompt: Prompt, seed: int) -> tuple[int | None, ...]:
    """The random key of each wanted answer; None for the greedy one."""
    return tuple(
        None if sample == GREEDY else row_key(seed, prompt.id, sample) for sample in prompt.samples
    )
