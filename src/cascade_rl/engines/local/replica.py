"""What one process does with a model: forward, accumulate gradients, sample, score.

One rule: Llama-shaped models run without padding, through `llama.hidden`, and completions of one
prompt share it (`packed`). Any other model runs padded rows through transformers' own forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascade_rl.engines.local.batches import Row, length_buckets, micro_batches
from cascade_rl.engines.local.likelihood import confidences, likelihood
from cascade_rl.engines.local.llama import hidden, read
from cascade_rl.engines.local.model import Model
from cascade_rl.engines.local.objectives import (
    PolicyObjective,
    bradley_terry_loss,
    entropy_loss,
    grpo_loss,
    kl_loss,
    sft_loss,
    truncated_importance,
)
from cascade_rl.engines.local.packed import Packed
from cascade_rl.engines.local.padded import pad

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
    pairs = isinstance(objective, PairObjective)
    for batch in micro_batches(rows, budget, shared, whole=pairs):
        loss, found = loss_of(model, batch, objective, shared)
        loss.backward()
        for name, value in ({"loss": loss.item()} | found).items():
            totals[name] = totals.get(name, 0.0) + value
    return totals


def loss_of(
    model: Model, batch: Sequence[Row], objective: Objective, shared: bool
) -> tuple[Any, Totals]:
    """The objective's loss over a micro-batch, to run backward, and its other sums."""
    if isinstance(objective, PairObjective):
        return _pair_loss(model, batch, objective, shared)
    return _token_loss(model, batch, objective, shared)


def _pair_loss(
    model: Model, batch: Sequence[Row], objective: PairObjective, shared: bool
) -> tuple[Any, Totals]:
    scores = score_rows(model, batch, shared)
    chosen, rejected = scores[0::2], scores[1::2]
    loss = bradley_terry_loss(chosen, rejected, objective.pairs)
    right = float((chosen > rejected).sum())
    return loss, {"tokens": float(sum(row.length for row in batch)), "right": right}


def score_rows(model: Model, batch: Sequence[Row], shared: bool) -> Tensor:
    """The scalar head at the last token of each row; scores [rows] in float32."""
    place = {id(row): i for i, row in enumerate(batch)}
    order: list[int] = []
    found: list[Tensor] = []
    for rows, last in _last_hidden(model, batch, shared):
        with model.precision():
            found.append(model.module.score(last)[:, 0].float())
        order += [place[id(row)] for row in rows]
    return torch.cat(found)[torch.tensor(order).argsort().to(model.device)]


def _last_hidden(
    model: Model, batch: Sequence[Row], shared: bool
) -> Iterator[tuple[Sequence[Row], Tensor]]:
    """(rows, hidden states [rows, H] of their last tokens)."""
    if model.written_out:
        packed = Packed(batch, model.device, shared=shared, whole=True)
        last = torch.tensor([packed.last(row) for row in packed.rows], device=model.device)
        yield packed.rows, _run(model, packed)[last]
        return
    for rows in length_buckets(batch, lambda row: row.length):
        ids, lengths = pad([(*row.prompt_ids, *row.ids) for row in rows])
        with model.precision():
            output = model.module.base_model(input_ids=ids.to(model.device), use_cache=False)[0]
        yield rows, output[torch.arange(len(rows)), (lengths - 1).to(model.device)]


def _token_loss(
    model: Model, batch: Sequence[Row], objective: SFTObjective | PolicyObjective, shared: bool
) -> tuple[Any, Totals]:
    loss: Any = 0.0
    totals: Totals = {"tokens": 0.0}
    temperature, entropy = 1.0, False
    if isinstance(objective, PolicyObjective):
        temperature, entropy = objective.temperature, objective.entropy_coef != 0.0
    for rows, logprobs_N, entropies_N in forward(model, batch, shared, temperature, entropy):
        weights_N = _flat(model, rows, [row.weights_T for row in rows])
        totals["tokens"] += len(logprobs_N)
        if isinstance(objective, SFTObjective):
            loss = loss + sft_loss(logprobs_N, weights_N)
        else:
            term, found = _policy_terms(model, rows, logprobs_N, entropies_N, weights_N, objective)
            loss = loss + term
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + value
    return loss, totals


def _policy_terms(
    model: Model,
    rows: Sequence[Row],
    logprobs_N: Tensor,
    entropies_N: Tensor,
    weights_N: Tensor,
    objective: PolicyObjective,
) -> tuple[Tensor, Totals]:
    """GRPO, KL and entropy terms of one bucket, and what to report of it."""
    advantages_N = _flat(
        model, rows, [np.full(len(row.ids), row.advantage, np.float32) for row in rows]
    )
    old_N = _optional(model, rows, [row.old_logprobs_T for row in rows])
    sampled_N = _optional(model, rows, [row.logprobs_T for row in rows])
    low, high = objective.clip_ratio_low, objective.clip_ratio_high
    corrected_N = weights_N
    if objective.mismatch_cap is not None and sampled_N is not None:
        before_N = logprobs_N if old_N is None else old_N
        ratio_N = truncated_importance(before_N, sampled_N, objective.mismatch_cap)
        corrected_N = weights_N * ratio_N
    loss = grpo_loss(logprobs_N, advantages_N, corrected_N, old_N, low, high)
    totals: Totals = {}
    if sampled_N is not None:
        d = (logprobs_N.detach() - sampled_N).double()
        totals["mismatch"] = float((d.expm1() - d).sum())
    if objective.kl_coef:
        reference_N = _optional(model, rows, [row.reference_T for row in rows])
        assert reference_N is not None
        term = kl_loss(logprobs_N, reference_N, weights_N)
        totals["kl"] = term.item()
        loss = loss + objective.kl_coef * term
    if objective.entropy_coef:
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


def forward(
    model: Model, batch: Sequence[Row], shared: bool, temperature: float, entropy: bool = False
) -> Iterator[tuple[Sequence[Row], Tensor, Tensor]]:
    """(rows, log-softmax(logits / T) [N], entropies [N]) over the tokens that have weight.

    N runs over the rows in order and their weighted tokens in order. The head runs on these
    tokens alone: of a conversation most have none, and a vocabulary is wide.
    """
    if model.written_out:
        packed = Packed(batch, model.device, shared=shared, whole=False)
        hidden_NH, targets_N = _weighted(model, packed)
        head = model.module.get_output_embeddings().weight
        with model.precision():
            found = likelihood(hidden_NH, head, targets_N, temperature, entropy=entropy)
        yield packed.rows, *found
        return
    for rows, logits_NV, targets_N in _padded_logits(model, batch):
        full_NV = torch.log_softmax(logits_NV.float() / temperature, dim=-1)
        entropies_N = -(full_NV.exp() * full_NV).sum(-1)
        yield rows, full_NV.gather(1, targets_N[:, None])[:, 0], entropies_N


def _weighted(model: Model, packed: Packed) -> tuple[Tensor, Tensor]:
    """Hidden states [N, H] that predict the tokens that have weight, and those tokens [N]."""
    weighted = [np.flatnonzero(row.weights_T) for row in packed.rows]
    both = list(zip(packed.rows, weighted, strict=True))
    places = np.concatenate([packed.places(row)[wanted] for row, wanted in both])
    targets = np.concatenate([np.asarray(row.ids)[wanted] for row, wanted in both])
    hidden_NH = _run(model, packed)[torch.from_numpy(places).to(model.device)]
    return hidden_NH, torch.from_numpy(targets).to(model.device)


def _padded_logits(
    model: Model, batch: Sequence[Row]
) -> Iterator[tuple[Sequence[Row], Tensor, Tensor]]:
    """(rows, logits [N, V], tokens [N]) by transformers' own forward, for tokens with weight."""
    wanted = _Wanted(model.device)
    hook = model.module.get_output_embeddings().register_forward_pre_hook(wanted.select)
    try:
        for rows in length_buckets(batch, lambda row: row.length):
            ids, _ = pad([(*row.prompt_ids, *row.ids) for row in rows])
            wanted.aim(rows, ids.shape[1])
            with model.precision():
                logits_NV = model.module(input_ids=ids.to(model.device), use_cache=False)[0][0]
            yield rows, logits_NV, wanted.targets_N
    finally:
        hook.remove()


def _run(model: Model, packed: Packed) -> Tensor:
    """Hidden states [N, H] of a packed run."""
    llama = read(model.module, int(packed.positions_N.max()) + 1)
    with model.precision():
        return hidden(
            llama, packed.ids_N, packed.positions_N, packed.attend, recompute=model.recompute
        )


class _Wanted:
    """The tokens of a bucket that have weight, and the hidden states that predict them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.targets_N: Tensor
        self._places_N: Tensor

    def aim(self, rows: Sequence[Row], width: int) -> None:
        """Turn to a bucket of rows padded to `width`."""
        places, targets = [], []
        for line, row in enumerate(rows):
            weighted = np.flatnonzero(row.weights_T)
            places.append(line * width + len(row.prompt_ids) - 1 + weighted)
            targets.append(np.asarray(row.ids, dtype=np.int64)[weighted])
        self._places_N = torch.from_numpy(np.concatenate(places)).to(self._device)
        self.targets_N = torch.from_numpy(np.concatenate(targets)).to(self._device)

    def select(self, head: torch.nn.Module, hidden: tuple[Tensor]) -> tuple[Tensor]:
        """Hidden states [1, N, H] of [rows, T, H]: what the head is given instead."""
        return (hidden[0].flatten(0, 1).index_select(0, self._places_N)[None],)


@torch.no_grad()
def logprobs_of(
    model: Model, rows: Sequence[Row], temperature: float, budget: int, shared: bool
) -> list[np.ndarray]:
    """log-softmax(logits / T) of every row's tokens [T]; 0 where a token has no weight."""
    found: dict[int, np.ndarray] = {}
    for batch in micro_batches(rows, budget, shared):
        for bucket, logprobs_N, _ in forward(model, batch, shared, temperature):
            flat = logprobs_N.cpu().numpy()
            start = 0
            for row in bucket:
                wanted = row.weights_T != 0
                line = np.zeros(len(row.ids), dtype=np.float32)
                line[wanted] = flat[start : start + int(wanted.sum())]
                start += int(wanted.sum())
                found[id(row)] = line
    return [found[id(row)] for row in rows]


@torch.no_grad()
def confidences_of(
    model: Model, rows: Sequence[Row], top: int, budget: int, shared: bool
) -> list[np.ndarray]:
    """Confidence of every row's weighted tokens, in order, in nats (DeepConf, arXiv 2508.15260).

    A token's is minus the mean log-probability of the `top` likeliest tokens in its place, at
    temperature 1.
    """
    found: dict[int, np.ndarray] = {}
    for batch in micro_batches(rows, budget, shared):
        for bucket, confidences_N in _confidences(model, batch, top, shared):
            flat = confidences_N.cpu().numpy()
            ends = np.cumsum([int((row.weights_T != 0).sum()) for row in bucket])
            for row, part in zip(bucket, np.split(flat, ends[:-1]), strict=True):
                found[id(row)] = part
    return [found[id(row)] for row in rows]


def _confidences(
    model: Model, batch: Sequence[Row], top: int, shared: bool
) -> Iterator[tuple[Sequence[Row], Tensor]]:
    if model.written_out:
        packed = Packed(batch, model.device, shared=shared, whole=False)
        hidden_NH, _ = _weighted(model, packed)
        with model.precision():
            head = model.module.get_output_embeddings().weight
            yield packed.rows, confidences(hidden_NH, head, top)
        return
    for rows, logits_NV, _ in _padded_logits(model, batch):
        full_NV = torch.log_softmax(logits_NV.float(), dim=-1)
        yield rows, -full_NV.topk(min(top, full_NV.shape[1]), dim=-1).values.mean(-1)
