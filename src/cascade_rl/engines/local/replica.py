"""What one process does with a model: forward, accumulate gradients, sample, score.

One surprise: completions of one prompt share its keys and values in training too. The prompt
(all but its last token) runs once for the group and gradients flow back through the shared
cache; the completions then run from the prompt's last token on. It equals running every row
whole, at a fraction of the cost when prompts are as long as completions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascade_rl.engines.local.batches import Row, length_buckets, micro_batches
from cascade_rl.engines.local.cache import KeysValues, cache_of_rows, prefill
from cascade_rl.engines.local.model import Model
from cascade_rl.engines.local.objectives import (
    PolicyObjective,
    bradley_terry_loss,
    entropy_loss,
    grpo_loss,
    kl_loss,
    sft_loss,
)
from cascade_rl.engines.local.sampler import pad

Totals = dict[str, float]


@dataclass(frozen=True, slots=True)
class SFTObjective:
    """Negative log-likelihood; the weights are in the rows."""


@dataclass(frozen=True, slots=True)
class PairObjective:
    """Bradley-Terry over `pairs` pairs; rows come as chosen, rejected, chosen, ..."""

    pairs: int


Objective = SFTObjective | PolicyObjective | PairObjective


def accumulate(
    model: Model, rows: Sequence[Row], objective: Objective, budget: int, shared: bool
) -> Totals:
    """Add the objective's gradient over `rows` to the parameters' gradients.

    Returns sums over the rows: `loss`, `tokens`, and for a policy `mismatch`, `entropy`, `kl`.
    """
    totals: Totals = {}
    for batch in micro_batches(rows, budget, shared):
        if isinstance(objective, PairObjective):
            loss, found = _pair_loss(model, batch, objective)
        else:
            loss, found = _token_loss(model, batch, objective, shared)
        loss.backward()
        for name, value in ({"loss": loss.item()} | found).items():
            totals[name] = totals.get(name, 0.0) + value
    return totals


def _pair_loss(model: Model, batch: Sequence[Row], objective: PairObjective) -> tuple[Any, Totals]:
    scores = score_sequences(model, [row.ids for row in batch])
    chosen, rejected = scores[0::2], scores[1::2]
    loss = bradley_terry_loss(chosen, rejected, objective.pairs)
    right = float((chosen > rejected).sum())
    return loss, {"tokens": float(sum(row.length for row in batch)), "right": right}


def score_sequences(model: Model, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Scalar head at the last token of each sequence; scores [rows] in float32."""
    ids, lengths = pad(sequences)
    with model.precision():
        hidden = model.module.base_model(input_ids=ids.to(model.device), use_cache=False)[0]
        last = hidden[torch.arange(len(ids)), lengths.to(model.device) - 1]
        scores: Tensor = model.module.score(last)[:, 0].float()
    return scores


def _token_loss(
    model: Model, batch: Sequence[Row], objective: SFTObjective | PolicyObjective, shared: bool
) -> tuple[Any, Totals]:
    loss: Any = 0.0
    totals: Totals = {"tokens": 0.0}
    temperature = objective.temperature if isinstance(objective, PolicyObjective) else 1.0
    for rows, logits_NV, targets_N in forward(model, batch, shared):
        full_NV = torch.log_softmax(logits_NV / temperature, dim=-1)
        logprobs_N = full_NV.gather(1, targets_N[:, None])[:, 0]
        weights_N = _flat(model, rows, [row.weights_T for row in rows])
        totals["tokens"] += len(targets_N)
        if isinstance(objective, SFTObjective):
            loss = loss + sft_loss(logprobs_N, weights_N)
        else:
            term, found = _policy_terms(model, rows, full_NV, logprobs_N, weights_N, objective)
            loss = loss + term
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + value
    return loss, totals


def _policy_terms(
    model: Model,
    rows: Sequence[Row],
    full_NV: Tensor,
    logprobs_N: Tensor,
    weights_N: Tensor,
    objective: PolicyObjective,
) -> tuple[Tensor, Totals]:
    """GRPO, KL and entropy terms of one bucket, and what to report of it."""
    advantages_N = _flat(
        model, rows, [np.full(len(row.ids), row.advantage, np.float32) for row in rows]
    )
    old_N = _optional(model, rows, [row.old_logprobs_T for row in rows])
    low, high = objective.clip_ratio_low, objective.clip_ratio_high
    loss = grpo_loss(logprobs_N, advantages_N, weights_N, old_N, low, high)
    totals: Totals = {}
    sampled_N = _optional(model, rows, [row.logprobs_T for row in rows])
    if sampled_N is not None:
        d = logprobs_N.detach() - sampled_N
        totals["mismatch"] = float((d.exp() - d - 1.0).sum())
    if objective.kl_coef:
        reference_N = _optional(model, rows, [row.reference_T for row in rows])
        assert reference_N is not None
        term = kl_loss(logprobs_N, reference_N, weights_N)
        totals["kl"] = float(term)
        loss = loss + objective.kl_coef * term
    if objective.entropy_coef:
        entropies_N = -(full_NV.exp() * full_NV).sum(-1)
        loss = loss + objective.entropy_coef * entropy_loss(entropies_N, weights_N)
    return loss, totals


def _flat(model: Model, rows: Sequence[Row], arrays_RT: Sequence[np.ndarray]) -> Tensor:
    """Per-token arrays of several rows as one vector over the tokens that have weight."""
    flat = np.concatenate([a[r.weights_T != 0] for a, r in zip(arrays_RT, rows, strict=True)])
    return torch.from_numpy(flat.astype(np.float32)).to(model.device)


def _optional(
    model: Model, rows: Sequence[Row], arrays_RT: Sequence[np.ndarray | None]
) -> Tensor | None:
    present = [array for array in arrays_RT if array is not None]
    return _flat(model, rows, present) if len(present) == len(rows) else None


Bucket = tuple[Sequence[Row], Tensor, Tensor]


def forward(model: Model, batch: Sequence[Row], shared: bool) -> Iterator[Bucket]:
    """(rows, logits [N, V] in float32, targets [N]) over the tokens that have weight.

    N runs over the rows in order and their weighted tokens in order. With `shared`, buckets of
    similar length share the prompts' keys and values.
    """
    if not shared:
        for rows in length_buckets(batch, lambda row: row.length):
            ids, _ = pad([(*row.prompt_ids, *row.ids) for row in rows])
            with model.precision():
                output = model.module(input_ids=ids.to(model.device), use_cache=False)
            yield _select(model, rows, output.logits, [len(row.prompt_ids) - 1 for row in rows])
        return
    groups = {row.group: row.prompt_ids for row in batch}
    line_of = {group: line for line, group in enumerate(groups)}
    prefix_ids, lengths_P = pad([prompt[:-1] for prompt in groups.values()])
    filled = prefill(model, prefix_ids)
    for rows in length_buckets(batch, lambda row: len(row.ids)):
        lines = torch.tensor([line_of[row.group] for row in rows])
        logits = _continue(model, rows, filled, lengths_P[lines], lines.to(model.device))
        yield _select(model, rows, logits, [0] * len(rows))


def _continue(
    model: Model,
    rows: Sequence[Row],
    filled: Sequence[KeysValues],
    lengths_R: Tensor,
    lines: Tensor,
) -> Tensor:
    """Logits [rows, T, V] of completions fed from their prompt's last token on."""
    ids, _ = pad([(row.prompt_ids[-1], *row.ids[:-1]) for row in rows])
    cache = cache_of_rows(filled, lines)
    width = cache.get_seq_length()
    mask = torch.ones(len(rows), width + ids.shape[1], dtype=torch.long)
    mask[:, :width] = torch.arange(width)[None] < lengths_R[:, None]
    positions = lengths_R[:, None] + torch.arange(ids.shape[1])[None]
    with model.precision():
        logits: Tensor = model.module(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions.to(model.device),
            past_key_values=cache,
            use_cache=True,
        ).logits
    return logits


def _select(model: Model, rows: Sequence[Row], logits_RTV: Tensor, starts: Sequence[int]) -> Bucket:
    """The logits that predict weighted tokens; row r's first token is predicted at starts[r]."""
    width = logits_RTV.shape[1]
    index, targets = [], []
    for line, (row, start) in enumerate(zip(rows, starts, strict=True)):
        wanted = np.flatnonzero(row.weights_T)
        index.append(line * width + start + wanted)
        targets.append(np.asarray(row.ids, dtype=np.int64)[wanted])
    chosen = torch.from_numpy(np.concatenate(index)).to(model.device)
    logits_NV = logits_RTV.flatten(0, 1).index_select(0, chosen).float()
    return rows, logits_NV, torch.from_numpy(np.concatenate(targets)).to(model.device)


@torch.no_grad()
def logprobs_of(
    model: Model, rows: Sequence[Row], temperature: float, budget: int, shared: bool
) -> list[np.ndarray]:
    """log-softmax(logits / T) of every row's tokens [T]; 0 where a token has no weight."""
    found: dict[int, np.ndarray] = {}
    for batch in micro_batches(rows, budget, shared):
        for bucket, logits_NV, targets_N in forward(model, batch, shared):
            full_NV = torch.log_softmax(logits_NV / temperature, dim=-1)
            flat = full_NV.gather(1, targets_N[:, None])[:, 0].cpu().numpy()
            start = 0
            for row in bucket:
                wanted = row.weights_T != 0
                line = np.zeros(len(row.ids), dtype=np.float32)
                line[wanted] = flat[start : start + int(wanted.sum())]
                start += int(wanted.sum())
                found[id(row)] = line
    return [found[id(row)] for row in rows]
