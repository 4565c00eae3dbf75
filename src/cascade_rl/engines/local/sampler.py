"""Batched generation with a key-value cache, reproducible token by token.

The rule: the uniform number behind each token is a hash of (row key, position), never the
state of a generator, so what a row becomes does not depend on which rows share its batch.
Each prompt is prefilled once for all its completions: the cache holds all but the prompt's
last token, which is the first token every completion feeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascade_rl.engines.local.cache import (
    InPlaceLayer,
    SharedPrompt,
    cache_of,
    prefill,
    shares_prompts,
)
from cascade_rl.engines.local.model import Model
from cascade_rl.types import Finish

FIRST_CAPACITY = 64
COMPACT_BELOW = 0.8


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What shapes the distribution, and where it ends."""

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and a random key for each of its completions; None asks for greedy."""

    prompt_ids: tuple[int, ...]
    keys_G: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Generated:
    """One finished completion of `requests[request]`, with the stop token where it stopped.

    `entropy` is the sum over tokens, in nats, of the full distribution's entropy.
    """

    request: int
    sample: int
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    sampled_logprobs: tuple[float, ...]
    finish: Finish
    entropy: float


def row_key(*parts: object) -> int:
    """A 64-bit key of (seed, stage key, step, problem, sample): the only source of chance."""
    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def uniforms(keys_N: np.ndarray, position: int) -> np.ndarray:
    """One number in [0, 1) per key for a token position: splitmix64 of key and counter."""
    with np.errstate(over="ignore"):
        x = keys_N + np.uint64((position + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return np.asarray(x >> np.uint64(32), dtype=np.float64) * 2.0**-32


def truncate(logprobs_BV: Tensor, top_p: float, top_k: int) -> Tensor:
    """Log-probabilities after top-k, then top-p, renormalised; -inf where cut.

    Top-p keeps the smallest set of most likely tokens whose mass reaches `top_p`.
    """
    kept = logprobs_BV
    if 0 < top_k < kept.shape[-1]:
        smallest = kept.topk(top_k, dim=-1).values[:, -1:]
        kept = kept.masked_fill(kept < smallest, -torch.inf).log_softmax(-1)
    if top_p < 1.0:
        ordered, index = kept.sort(dim=-1, descending=True, stable=True)
        mass = ordered.exp()
        cut = mass.cumsum(-1) - mass >= top_p
        cut[:, 0] = False
        kept = kept.masked_fill(torch.empty_like(cut).scatter_(-1, index, cut), -torch.inf)
        kept = kept.log_softmax(-1)
    return kept


class _Rows:
    """What every row of a batch has become so far: arrays [rows, tokens] that grow."""

    def __init__(self, requests: Sequence[Request], first: int) -> None:
        keys = [key for request in requests for key in request.keys_G]
        counts = [len(request.keys_G) for request in requests]
        self.prompt_R = np.repeat(np.arange(len(requests)), counts)
        self.request_R = self.prompt_R + first
        self.sample_R = np.concatenate([np.arange(count) for count in counts])
        self.keys_R = np.array([key or 0 for key in keys], dtype=np.uint64)
        self.greedy_R = np.array([key is None for key in keys])
        self.ids_RT = np.zeros((len(keys), FIRST_CAPACITY), dtype=np.int64)
        self.scores_RT3 = np.zeros((len(keys), FIRST_CAPACITY, 3), dtype=np.float32)

    def record(self, rows: np.ndarray, position: int, ids: np.ndarray, scores: np.ndarray) -> None:
        """Write one token of each of `rows`; scores are (logprob, sampled logprob, entropy)."""
        if position == self.ids_RT.shape[1]:
            self.ids_RT = np.concatenate([self.ids_RT, np.zeros_like(self.ids_RT)], axis=1)
            self.scores_RT3 = np.concatenate(
                [self.scores_RT3, np.zeros_like(self.scores_RT3)], axis=1
            )
        self.ids_RT[rows, position] = ids
        self.scores_RT3[rows, position] = scores

    def finish(self, row: int, length: int, finish: Finish) -> Generated:
        """The row's first `length` tokens as a completion."""
        scores = self.scores_RT3[row, :length]
        return Generated(
            request=int(self.request_R[row]),
            sample=int(self.sample_R[row]),
            ids=tuple(self.ids_RT[row, :length].tolist()),
            logprobs=tuple(scores[:, 0].tolist()),
            sampled_logprobs=tuple(scores[:, 1].tolist()),
            finish=finish,
            entropy=float(scores[:, 2].sum(dtype=np.float64)),
        )


class _Decoder:
    """The model's side of a batch: cache and next input, one line per row in flight.

    The cache holds the continuations alone where the model can share prompts, and prompt and
    continuation of every line, with a mask over both, where it cannot.
    """

    def __init__(self, model: Model, prompts: Sequence[tuple[int, ...]], lines: np.ndarray) -> None:
        self.model = model
        device = model.device
        prefix_ids, lengths_P = pad([prompt[:-1] for prompt in prompts])
        rows, lengths_P = torch.from_numpy(lines).to(device), lengths_P.to(device)
        with model.precision():
            filled = prefill(model.module, prefix_ids.to(device))
        self.prompt: SharedPrompt | None = None
        self.mask: Tensor | None = None
        width = 0
        if shares_prompts(model.module):
            self.prompt = SharedPrompt(filled, lengths_P, rows)
            kept = [(keys[rows, :, :0], values[rows, :, :0]) for keys, values in filled]
        else:
            width = prefix_ids.shape[1]
            self.mask = (torch.arange(width, device=device)[None] < lengths_P[rows, None]).long()
            kept = [(keys[rows], values[rows]) for keys, values in filled]
        self.layers = [InPlaceLayer(keys, values, width + FIRST_CAPACITY) for keys, values in kept]
        self.cache = cache_of(self.layers)
        self.positions = lengths_P[rows]
        last = torch.tensor([prompt[-1] for prompt in prompts], device=device)
        self.inputs = last[rows]

    def logits(self) -> Tensor:
        """Feed the next input of every line; logits [lines, vocabulary] in float32."""
        more: dict[str, Any] = {"shared_prompt": self.prompt} if self.prompt else {}
        if self.mask is not None:
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        with self.model.precision():
            output = self.model.module(
                input_ids=self.inputs[:, None],
                attention_mask=self.mask,
                position_ids=self.positions[:, None],
                past_key_values=self.cache,
                use_cache=True,
                **more,
            )
        self.positions = self.positions + 1
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def keep(self, lines: Tensor) -> None:
        """Drop all other lines."""
        for layer in self.layers:
            layer.select(lines)
        if self.prompt is not None:
            self.prompt.keep(lines)
        if self.mask is not None:
            self.mask = self.mask[lines]
        self.positions, self.inputs = self.positions[lines], self.inputs[lines]


def pad(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids [rows, longest] padded with 0 on the right, and lengths [rows].

    The padding is never attended to: causal attention or a mask hides it.
    """
    lengths = [len(sequence) for sequence in sequences]
    ids = np.zeros((len(sequences), max(lengths)), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : lengths[row]] = sequence
    return torch.from_numpy(ids), torch.tensor(lengths)


def generate(
    model: Model,
    requests: Sequence[Request],
    params: SamplingParams,
    stop_ids: Sequence[int],
    max_rows: int,
) -> Iterator[Generated]:
    """Complete every request; rows are yielded as they finish, in a reproducible order.

    At most `max_rows` rows are in flight (one request's are never split). Prompts have at
    least two tokens.
    """
    begin = 0
    while begin < len(requests):
        end, rows = begin + 1, len(requests[begin].keys_G)
        while end < len(requests) and rows + len(requests[end].keys_G) <= max_rows:
            rows += len(requests[end].keys_G)
            end += 1
        yield from _generate_batch(model, requests[begin:end], begin, params, stop_ids)
        begin = end


def _generate_batch(
    model: Model,
    requests: Sequence[Request],
    first: int,
    params: SamplingParams,
    stop_ids: Sequence[int],
) -> Iterator[Generated]:
    rows = _Rows(requests, first)
    with torch.inference_mode():  # not around a yield: the mode would leak into the consumer
        decoder = _Decoder(model, [request.prompt_ids for request in requests], rows.prompt_R)
    row_of_line = np.arange(len(rows.keys_R))
    live = np.ones(len(row_of_line), dtype=bool)
    for position in range(params.max_new_tokens):
        with torch.inference_mode():
            uniforms_B = uniforms(rows.keys_R[row_of_line], position)
            ids, scores = choose(decoder.logits(), uniforms_B, rows.greedy_R[row_of_line], params)
            decoder.inputs = torch.from_numpy(ids).to(model.device)
        rows.record(row_of_line[live], position, ids[live], scores[live])
        stopped = live & np.isin(ids, stop_ids)
        for row in row_of_line[stopped]:
            yield rows.finish(int(row), position + 1, "stop")
        live &= ~stopped
        if not live.any():
            return
        if live.sum() < COMPACT_BELOW * len(live):
            with torch.inference_mode():
                decoder.keep(torch.from_numpy(np.flatnonzero(live)).to(model.device))
            row_of_line, live = row_of_line[live], live[live]
    for row in row_of_line[live]:
        yield rows.finish(int(row), params.max_new_tokens, "length")


def choose(
    logits_BV: Tensor, uniforms_B: np.ndarray, greedy_B: np.ndarray, params: SamplingParams
) -> tuple[np.ndarray, np.ndarray]:
    """One token per line by inverse CDF (greedy lines: the most likely one).

    Returns ids [B] and scores [B, 3]: log-softmax(logits / T) of the token over the whole
    vocabulary, its log-probability after top-k and top-p, and the former's entropy in nats.
    """
    full = torch.log_softmax(logits_BV / params.temperature, dim=-1)
    kept = truncate(full, params.top_p, params.top_k)
    probs = full.exp()
    kept_probs = probs if kept is full else kept.exp()
    mass = kept_probs.cumsum(-1, dtype=torch.float64)
    targets = torch.from_numpy(uniforms_B).to(mass.device)[:, None] * mass[:, -1:]
    ids = torch.searchsorted(mass, targets, right=True).clamp_(max=mass.shape[1] - 1)
    greedy = torch.from_numpy(greedy_B).to(ids.device)[:, None]
    if greedy_B.any():
        ids = torch.where(greedy, full.argmax(-1, keepdim=True), ids)
    entropy = -(probs * full).sum(-1, keepdim=True)
    scores = torch.cat([full.gather(1, ids), kept.gather(1, ids), entropy], dim=1)
    return ids[:, 0].cpu().numpy(), scores.cpu().numpy()
