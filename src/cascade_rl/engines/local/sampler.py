"""Batched generation with a key-value cache, reproducible token by token.

The rule: the uniform number behind each token is a hash of (row key, position), never the
state of a generator, so what a row becomes does not depend on which rows share its batch.
Each prompt is prefilled once for all its completions: the cache holds all but the prompt's
last token, which is the first token every completion feeds. A completion that ends makes room for
the next at once, so the batch stays full to the end.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cascade_rl.engines.local.decode import Decoder, kernel
from cascade_rl.engines.local.model import Model
from cascade_rl.engines.local.padded import PaddedDecoder
from cascade_rl.types import Finish

FIRST_CAPACITY = 64
COMPACT_BELOW = 0.8
AHEAD = 4
"""Prompts run ahead of the lines that will take them."""
ROOM = 1 << 18
"""Tokens of prompts that are held at once, each counted as long as the longest of them."""


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


def uniforms(keys_N: np.ndarray, positions_N: np.ndarray) -> np.ndarray:
    """One number in [0, 1) per key and token position: splitmix64 of key and counter."""
    with np.errstate(over="ignore"):
        x = keys_N + (positions_N.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
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


class AnyDecoder(Protocol):
    """What decodes: `decode.Decoder`, or `padded.PaddedDecoder` whose lines begin together."""

    def fill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """Run prompts, all but their last tokens, into their slots."""

    def begin(self, lines: np.ndarray, slots: np.ndarray) -> None:
        """Lines start on the prompts in these slots."""

    def end(self, lines: np.ndarray) -> None:
        """Lines are done; they are fed on, unread, until they begin again or are dropped."""

    def logits(self) -> Tensor:
        """Feed the input of every line; logits [B, V] in float32."""

    def feed(self, ids: np.ndarray) -> None:
        """The tokens that `logits` will be asked about next, one a line."""

    def keep(self, lines: np.ndarray) -> None:
        """Drop all other lines."""


class _Lines:
    """What the lines in flight have become so far: arrays [lines, tokens] that grow."""

    def __init__(self, count: int) -> None:
        self.request_B = np.zeros(count, dtype=np.int64)
        self.sample_B = np.zeros(count, dtype=np.int64)
        self.keys_B = np.zeros(count, dtype=np.uint64)
        self.greedy_B = np.zeros(count, dtype=bool)
        self.length_B = np.zeros(count, dtype=np.int64)
        self.live_B = np.zeros(count, dtype=bool)
        self._ids_BT = np.zeros((count, FIRST_CAPACITY), dtype=np.int64)
        self._scores_BT3 = np.zeros((count, FIRST_CAPACITY, 3), dtype=np.float32)

    def begin(self, line: int, request: int, sample: int, key: int | None) -> None:
        """A line starts on a completion."""
        self.request_B[line], self.sample_B[line] = request, sample
        self.keys_B[line], self.greedy_B[line] = key or 0, key is None
        self.length_B[line], self.live_B[line] = 0, True

    def record(self, ids_B: np.ndarray, scores_B3: np.ndarray) -> None:
        """One token of every line; scores are (logprob, sampled logprob, entropy)."""
        if self.length_B.max() == self._ids_BT.shape[1]:
            self._ids_BT = np.concatenate([self._ids_BT, np.zeros_like(self._ids_BT)], axis=1)
            more = np.zeros_like(self._scores_BT3)
            self._scores_BT3 = np.concatenate([self._scores_BT3, more], axis=1)
        lines = np.arange(len(ids_B))
        self._ids_BT[lines, self.length_B] = ids_B
        self._scores_BT3[lines, self.length_B] = scores_B3
        self.length_B += 1

    def finish(self, line: int, finish: Finish) -> Generated:
        """The line's tokens as a completion; the line is free."""
        length = int(self.length_B[line])
        self.live_B[line], self.length_B[line] = False, 0
        scores = self._scores_BT3[line, :length]
        return Generated(
            request=int(self.request_B[line]),
            sample=int(self.sample_B[line]),
            ids=tuple(self._ids_BT[line, :length].tolist()),
            logprobs=tuple(scores[:, 0].tolist()),
            sampled_logprobs=tuple(scores[:, 1].tolist()),
            finish=finish,
            entropy=float(scores[:, 2].sum(dtype=np.float64)),
        )

    def keep(self, lines: np.ndarray) -> None:
        """Drop all other lines."""
        for name, array in vars(self).items():
            setattr(self, name, array[lines])


class _Queue:
    """Completions that wait for a line, and the slots their prompts take.

    Prompts are run ahead of their lines, several at once; a slot is free again when all of its
    prompt's completions are done.
    """

    def __init__(self, requests: Sequence[Request], decoder: AnyDecoder, slots: int) -> None:
        self._requests, self._decoder = requests, decoder
        self._waiting = deque(
            (request, sample)
            for request, asked in enumerate(requests)
            for sample in range(len(asked.keys_G))
        )
        self._unfilled = deque(range(len(requests)))
        self._free = deque(range(slots))
        self._slot: dict[int, int] = {}
        self._left = [len(request.keys_G) for request in requests]

    def __len__(self) -> int:
        return len(self._waiting)

    def refill(self, lines: _Lines) -> None:
        """Give every line that is free something to do, as long as there is something."""
        begun, slots = [], []
        for line in np.flatnonzero(~lines.live_B).tolist():
            if not self._waiting:
                break
            request, sample = self._waiting[0]
            if request not in self._slot and not self._fill():
                break
            self._waiting.popleft()
            lines.begin(line, request, sample, self._requests[request].keys_G[sample])
            begun.append(line)
            slots.append(self._slot[request])
        if begun:
            self._decoder.begin(np.array(begun), np.array(slots))

    def _fill(self) -> bool:
        """Run the next prompts into the slots that are free."""
        count = min(len(self._free), len(self._unfilled))
        requests = [self._unfilled.popleft() for _ in range(count)]
        slots = [self._free.popleft() for _ in range(count)]
        if count:
            self._decoder.fill(slots, [self._requests[r].prompt_ids for r in requests])
        self._slot.update(zip(requests, slots, strict=True))
        return count > 0

    def done(self, request: int) -> None:
        """A completion of the request has ended."""
        self._left[request] -= 1
        if self._left[request] == 0:
            self._free.append(self._slot.pop(request))


def generate(
    model: Model,
    requests: Sequence[Request],
    params: SamplingParams,
    stop_ids: Sequence[int],
    max_rows: int,
) -> Iterator[Generated]:
    """Complete every request; completions are yielded as they finish, in a reproducible order.

    At most `max_rows` are in flight. Where the model is Llama-shaped, one that ends makes room
    for the next; any other model runs them in waves. Prompts have at least two tokens.
    """
    if model.written_out:
        for part, slots in _by_room(requests, max_rows):
            asked = [requests[index] for index in part]
            widest = max(len(request.keys_G) for request in asked)
            total = sum(len(request.keys_G) for request in asked)
            lines = min(total, max_rows, slots * widest)
            longest = max(len(request.prompt_ids) for request in asked)
            decoder = Decoder(model, lines, slots, longest, params.max_new_tokens)
            yield from _flow(decoder, asked, part, params, stop_ids, lines, slots)
        return
    begin = 0
    while begin < len(requests):
        end, rows = begin + 1, len(requests[begin].keys_G)
        while end < len(requests) and rows + len(requests[end].keys_G) <= max_rows:
            rows += len(requests[end].keys_G)
            end += 1
        wave, numbers = requests[begin:end], range(begin, end)
        yield from _flow(PaddedDecoder(model), wave, numbers, params, stop_ids, rows, len(wave))
        begin = end


def _by_room(requests: Sequence[Request], max_rows: int) -> Iterator[tuple[list[int], int]]:
    """(requests that are completed together, slots for their prompts).

    That is all of them, unless a prompt is so long that slots as wide as that do not fit into
    `ROOM`: then shorter ones go first, and the longer the prompts the fewer there are at once.
    """
    widest = max((len(request.keys_G) for request in requests), default=1)
    wanted = 2 * -(-max_rows // widest) + AHEAD
    left = list(range(len(requests)))
    while left:
        slots = min(len(left), wanted)
        longest = max(len(requests[index].prompt_ids) for index in left)
        part = left
        if slots * longest > ROOM:
            left.sort(key=lambda index: (len(requests[index].prompt_ids), index))
            shortest = len(requests[left[0]].prompt_ids)
            most = max(ROOM // slots, 2 * shortest)
            part = [index for index in left if len(requests[index].prompt_ids) <= most]
            slots = max(1, min(len(part), slots, ROOM // most))
        yield part, slots
        taken = set(part)
        left = [index for index in left if index not in taken]


def _flow(
    decoder: AnyDecoder,
    requests: Sequence[Request],
    numbers: Sequence[int],
    params: SamplingParams,
    stop_ids: Sequence[int],
    count: int,
    slots: int,
) -> Iterator[Generated]:
    """Decode until nothing waits and nothing is live; `numbers` are those of the requests."""
    lines, queue = _Lines(count), _Queue(requests, decoder, slots)
    while True:
        with torch.inference_mode():  # not around a yield: the mode would leak into the consumer
            queue.refill(lines)
            uniforms_B = uniforms(lines.keys_B, lines.length_B)
            ids_B, scores_B3 = choose(decoder.logits(), uniforms_B, lines.greedy_B, params)
            decoder.feed(ids_B)
        lines.record(ids_B, scores_B3)
        stopped_B = np.isin(ids_B, stop_ids)
        ended_B = lines.live_B & (stopped_B | (lines.length_B == params.max_new_tokens))
        decoder.end(np.flatnonzero(ended_B))
        for line in np.flatnonzero(ended_B).tolist():
            found = lines.finish(line, "stop" if stopped_B[line] else "length")
            queue.done(found.request)
            yield replace(found, request=numbers[found.request])
        live = int(lines.live_B.sum())
        if not live and not queue:
            return
        if not queue and live < COMPACT_BELOW * len(lines.live_B):
            kept = np.flatnonzero(lines.live_B)
            with torch.inference_mode():
                decoder.keep(kept)
            lines.keep(kept)


def choose(
    logits_BV: Tensor, uniforms_B: np.ndarray, greedy_B: np.ndarray, params: SamplingParams
) -> tuple[np.ndarray, np.ndarray]:
    """One token per line by inverse CDF (greedy lines: the most likely one).

    Returns ids [B] and scores [B, 3]: log-softmax(logits / T) of the token over the whole
    vocabulary, its log-probability after top-k and top-p, and the former's entropy in nats.
    """
    whole = params.top_p == 1.0 and not 0 < params.top_k < logits_BV.shape[1]
    if whole and logits_BV.device.type == "cpu" and (lib := kernel()) is not None:
        return _choose_in_c(lib, logits_BV.contiguous(), uniforms_B, greedy_B, params.temperature)
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


def _choose_in_c(
    lib: ctypes.CDLL,
    logits_BV: Tensor,
    uniforms_B: np.ndarray,
    greedy_B: np.ndarray,
    temperature: float,
) -> tuple[np.ndarray, np.ndarray]:
    """`choose` over the whole vocabulary."""
    rows, vocabulary = logits_BV.shape
    ids, scores = np.empty(rows, dtype=np.int64), np.empty((rows, 3), dtype=np.float32)
    work = np.empty(vocabulary, dtype=np.float32)
    greedy = greedy_B.astype(np.uint8)
    at = [ctypes.c_void_p(a.ctypes.data) for a in (uniforms_B, greedy, work, ids, scores)]
    lib.decode_choose(
        ctypes.c_void_p(logits_BV.data_ptr()), ctypes.c_int64(rows), ctypes.c_int64(vocabulary),
        ctypes.c_float(temperature), *at,
    )  # fmt: skip
    return ids, scores
