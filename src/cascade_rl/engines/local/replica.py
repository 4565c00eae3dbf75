"""What one process does with a model: forward, accumulate gradients, sample, score.

One surprise: completions of one prompt share its keys and values in training too. The prompt
(all but its last token) runs once for the group and gradients flow back through the shared
cache; the completions then run from the prompt's last token on. It equals running every row
whole, at a fraction of the cost when prompts are as long as completions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
            loss, found = _pair_loss(model, batch, objective, shared)
        else:
            loss, found = _token_loss(model, batch, objective, shared)
        loss.backward()
        for name, value in ({"loss": loss.item()} | found).items():
            totals[name] = totals.get(name, 0.0) + value
    return totals


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
    scores: list[Tensor] = []
    for rows, hidden_RTH, starts in run(model, batch, shared, model.module.base_model):
        ends = [start + len(row.ids) for row, start in zip(rows, starts, strict=True)]
        last = hidden_RTH[torch.arange(len(rows)), torch.tensor(ends).to(model.device)]
        with model.precision():
            scores.append(model.module.score(last)[:, 0].float())
        order += [place[id(row)] for row in rows]
    return torch.cat(scores)[torch.tensor(order).argsort().to(model.device)]


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
        d = (logprobs_N.detach() - sampled_N).double()
        totals["mismatch"] = float((d.expm1() - d).sum())
    if objective.kl_coef:
        reference_N = _optional(model, rows, [row.reference_T for row in rows])
        assert reference_N is not None
        term = kl_loss(logprobs_N, reference_N, weights_N)
        totals["kl"] = term.item()
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

    N runs over the rows in order and their weighted tokens in order. The head runs on these
    tokens alone: of a conversation most have none, and a vocabulary is wide.
    """
    wanted = _Wanted(model.device)
    hook = model.module.get_output_embeddings().register_forward_pre_hook(wanted.select)
    try:
        for rows, logits_1NV, _ in run(model, batch, shared, model.module, wanted.aim):
            yield rows, logits_1NV[0].float(), wanted.targets_N
    finally:
        hook.remove()


class _Wanted:
    """The tokens of a bucket that have weight, and the hidden states that predict them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.targets_N: Tensor
        self._places_N: Tensor

    def aim(self, rows: Sequence[Row], starts: Sequence[int], width: int) -> None:
        """Turn to a bucket: rows padded to `width`, whose `ids` are predicted from `starts` on."""
        places, targets = [], []
        for line, (row, start) in enumerate(zip(rows, starts, strict=True)):
            weighted = np.flatnonzero(row.weights_T)
            places.append(line * width + start + weighted)
            targets.append(np.asarray(row.ids, dtype=np.int64)[weighted])
        self._places_N = torch.from_numpy(np.concatenate(places)).to(self._device)
        self.targets_N = torch.from_numpy(np.concatenate(targets)).to(self._device)

    def select(self, head: torch.nn.Module, hidden: tuple[Tensor]) -> tuple[Tensor]:
        """Hidden states [1, N, H] of [rows, T, H]: what the head is given instead."""
        return (hidden[0].flatten(0, 1).index_select(0, self._places_N)[None],)


Aim = Callable[[Sequence[Row], Sequence[int], int], None]


def run(
    model: Model, batch: Sequence[Row], shared: bool, module: Any, aim: Aim | None = None
) -> Iterator[tuple[Sequence[Row], Tensor, list[int]]]:
    """Run `module` (the model or its trunk) over buckets of rows of similar length.

    `aim` is told of each bucket (rows, starts, padded length) before it runs.

    Yields (rows, output [rows, T, .], starts): row r's first token of `ids` is predicted at
    starts[r], its last token stands at starts[r] + len(ids) where it was fed.
    With `shared`, rows of a group share their prompt's keys and values.
    """
    if not shared or any(len(row.prompt_ids) < 2 for row in batch):
        for rows in length_buckets(batch, lambda row: row.length):
            ids, _ = pad([(*row.prompt_ids, *row.ids) for row in rows])
            starts = [len(row.prompt_ids) - 1 for row in rows]
            if aim is not None:
                aim(rows, starts, ids.shape[1])
            with model.precision():
                output = module(input_ids=ids.to(model.device), use_cache=False)[0]
            yield rows, output, starts
        return
    groups = {row.group: row.prompt_ids for row in batch}
    line_of = {group: line for line, group in enumerate(groups)}
    prefix_ids, lengths_P = pad([prompt[:-1] for prompt in groups.values()])
    with model.precision():
        filled = prefill(model.module, prefix_ids.to(model.device))
    for rows in length_buckets(batch, lambda row: len(row.ids)):
        lines = torch.tensor([line_of[row.group] for row in rows])
        ids, _ = pad([(row.prompt_ids[-1], *row.ids) for row in rows])
        if aim is not None:
            aim(rows, [0] * len(rows), ids.shape[1])
        output = _continue(model, module, ids, filled, lengths_P[lines], lines.to(model.device))
        yield rows, output, [0] * len(rows)


def _continue(
    model: Model,
    module: Any,
    ids_RT: Tensor,
    filled: Sequence[KeysValues],
    lengths_R: Tensor,
    lines: Tensor,
) -> Tensor:
    """Output [rows, T, .] for tokens that follow rows `lines` of a prefill of these lengths."""
    cache = cache_of_rows(filled, lines)
    width = cache.get_seq_length()
    mask = torch.ones(len(ids_RT), width + ids_RT.shape[1], dtype=torch.long)
    mask[:, :width] = torch.arange(width)[None] < lengths_R[:, None]
    positions = lengths_R[:, None] + torch.arange(ids_RT.shape[1])[None]
    with model.precision():
        output: Tensor = module(
            input_ids=ids_RT.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions.to(model.device),
            past_key_values=cache,
            use_cache=True,
        )[0]
    return output


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
