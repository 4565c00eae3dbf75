"""What verl's update needs of a scored batch: a mask, an advantage and a weight for each row.

The rule: the numbers are the local engine's own. verl divides by the tokens of the batch that are
not masked (`token-mean`); every other aggregation is that mean with the rows weighted. A weight is
positive and the clipped objective is linear in it, so the two are one loss.

Axis suffixes: R completions (rows), G completions of one problem, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cascade_rl.config import StageConfig
from cascade_rl.engines.local.objectives import token_weights
from cascade_rl.engines.local.rollout import LearningGroup
from cascade_rl.engines.verl.job import Job
from cascade_rl.engines.verl.settings import rollout_of

Place = tuple[int, int]
"""(index of the group, index of the completion)."""


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """One completion in the update: whether it is in the loss, and as what."""

    learns: bool
    advantage: float
    weight: float


def row_updates(config: StageConfig, groups: Sequence[LearningGroup]) -> dict[Place, RowUpdate]:
    """Every completion's part in the update, its weight relative to verl's `token-mean`."""
    places = [(i, j) for i, group in enumerate(groups) for j in range(len(group.learns_G))]
    lengths_R = [len(groups[i].scored.group.completions_G[j].token_ids) for i, j in places]
    learns_R = [groups[i].learns_G[j] for i, j in places]
    groups_R = [i for i, _ in places]
    weights_R = token_weights(lengths_R, groups_R, learns_R, config.loss_aggregation)
    total = sum(n for n, learns in zip(lengths_R, learns_R, strict=True) if learns)
    return {
        (i, j): RowUpdate(learns, groups[i].advantages_G[j], weight * total)
        for (i, j), learns, weight in zip(places, learns_R, weights_R, strict=True)
    }


def row_tensors(updates_R: Sequence[RowUpdate], masks_RT: Sequence[Tensor]) -> dict[str, Tensor]:
    """The fields that verl reads, nested [R, T]. `masks_RT` are the masks as sampled.

    `loss_mask` has to agree with `response_mask`: verl masks by the one and counts by the other.
    Where nothing is in the loss one token stays, of advantage 0: verl divides by their number.
    """
    pairs = list(zip(updates_R, masks_RT, strict=True))
    mask = [m.clone() if u.learns else torch.zeros_like(m) for u, m in pairs]
    advantages = [
        torch.full(m.shape, u.advantage if u.learns else 0.0, dtype=torch.float32) for u, m in pairs
    ]
    if not any(u.learns for u in updates_R):
        mask[0][0] = 1
    fields = {
        "response_mask": mask,
        "loss_mask": [m.clone() for m in mask],
        "advantages": advantages,
        "returns": [a.clone() for a in advantages],
    }
    return {name: nested(rows) for name, rows in fields.items()}


def loss_weights(
    updates_R: Sequence[RowUpdate],
    old_RT: Sequence[Tensor],
    sampled_RT: Sequence[Tensor],
    cap: float | None,
) -> Tensor | None:
    """Weight of each token beyond verl's own, nested [R, T]; None where all are 1.

    With a `cap`, times min(p / q, cap): p the learner's probability of the token, q the sampler's.
    """
    if cap is None and all(u.weight == 1.0 for u in updates_R if u.learns):
        return None
    rows = []
    for update, old_T, sampled_T in zip(updates_R, old_RT, sampled_RT, strict=True):
        weight_T = torch.full(old_T.shape, update.weight, dtype=torch.float32)
        if cap is not None:
            weight_T = weight_T * (old_T - sampled_T).exp().clamp(max=cap)
        rows.append(weight_T)
    return nested(rows)


def mismatch(
    job: Job,
    updates_R: Sequence[RowUpdate],
    old_RT: Sequence[Tensor],
    sampled_RT: Sequence[Tensor],
) -> dict[str, float]:
    """How far trainer and sampler are apart, by metric; empty where the two do not compare.

    vLLM as verl starts it reports a token's probability after `top_p` and `top_k`, the trainer that
    among all tokens: apart they are by what was cut, whatever the weights.
    """
    config = job.config
    if rollout_of(job) == "vllm" and (config.top_p < 1.0 or config.top_k > 0):
        return {}
    return {
        "mismatch_kl": mismatch_kl(updates_R, old_RT, sampled_RT),
        "mismatch_max": mismatch_max(updates_R, old_RT, sampled_RT),
    }


def mismatch_kl(
    updates_R: Sequence[RowUpdate], old_RT: Sequence[Tensor], sampled_RT: Sequence[Tensor]
) -> float:
    """Mean over the tokens in the loss of exp(d) - 1 - d, d = log p - log q."""
    total, tokens = 0.0, 0
    for update, old_T, sampled_T in zip(updates_R, old_RT, sampled_RT, strict=True):
        if update.learns:
            d_T = old_T.double() - sampled_T.double()
            total += float((d_T.expm1() - d_T).sum())
            tokens += len(d_T)
    return total / tokens if tokens else 0.0


def mismatch_max(
    updates_R: Sequence[RowUpdate], old_RT: Sequence[Tensor], sampled_RT: Sequence[Tensor]
) -> float:
    """Over the same tokens, the largest difference of the trainer's and sampler's probability."""
    apart = [
        float((old_T.double().exp() - sampled_T.double().exp()).abs().max())
        for update, old_T, sampled_T in zip(updates_R, old_RT, sampled_RT, strict=True)
        if update.learns
    ]
    return max(apart, default=0.0)


def nested(rows: Sequence[Tensor]) -> Tensor:
    """Rows of their own lengths as verl keeps them."""
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)
