"""The three losses, and nothing else: what a stage optimises, one function an equation.

The rule: every loss is a plain sum of per-token terms times weights that already hold the
whole update batch's normalisation, so it may be added up over micro-batches in any split and
still be the exact mean over the update batch.

Axis suffixes: N tokens of a micro-batch, R completions (rows), G completions of one problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Aggregation = Literal["token-mean", "group-token-mean", "sequence-mean"]
EPSILON = 1e-6


def sft_loss(logprobs_N: Tensor, weights_N: Tensor) -> Tensor:
    """Negative log-likelihood of the assistant tokens.

    L = - sum_n w_n log pi(y_n | y_<n),    w_n = 1 / (assistant tokens in the update batch)
    """
    return -(weights_N * logprobs_N).sum()


def bradley_terry_loss(chosen_R: Tensor, rejected_R: Tensor, pairs: int) -> Tensor:
    """Bradley-Terry over `pairs` pairs of the update batch (2512.13607, section 4.2).

    L = - (1 / pairs) sum log sigmoid(r(x, y+) - r(x, y-))
    """
    return -F.logsigmoid(chosen_R - rejected_R).sum() / pairs


@dataclass(frozen=True, slots=True)
class PolicyObjective:
    """The parameters of the GRPO loss."""

    temperature: float = 1.0
    clip_ratio_low: float = 0.2
    clip_ratio_high: float = 0.2
    kl_coef: float = 0.0
    entropy_coef: float = 0.0
    mismatch_cap: float | None = None

    @property
    def needs_every_token(self) -> bool:
        """Whether tokens of zero advantage have a gradient, through KL or entropy."""
        return self.kl_coef != 0.0 or self.entropy_coef != 0.0


def grpo_loss(
    logprobs_N: Tensor,
    advantages_N: Tensor,
    weights_N: Tensor,
    old_logprobs_N: Tensor | None = None,
    clip_ratio_low: float = 0.2,
    clip_ratio_high: float = 0.2,
) -> Tensor:
    """GRPO (2512.13607, eq. 1), and its clipped form where a batch is used more than once.

        L = - sum_n w_n min(rho_n A_n, clip(rho_n, 1 - low, 1 + high) A_n)
        rho_n = pi(y_n) / pi_old(y_n)

    Strictly on-policy (`old_logprobs_N` None) pi_old is pi itself held constant: rho is 1 and
    the gradient is REINFORCE's, - sum_n w_n A_n grad log pi(y_n).
    """
    old = logprobs_N.detach() if old_logprobs_N is None else old_logprobs_N
    ratio = (logprobs_N - old).exp()
    clipped = ratio.clamp(1.0 - clip_ratio_low, 1.0 + clip_ratio_high)
    return -(weights_N * torch.minimum(ratio * advantages_N, clipped * advantages_N)).sum()


def truncated_importance(logprobs_N: Tensor, sampled_N: Tensor, cap: float) -> Tensor:
    """min(p / q, cap), constant: the learner's probability over the sampler's.

    It corrects for a sampler that computes otherwise than the learner (another engine, another
    dtype); the cap bounds the variance.
    """
    return (logprobs_N.detach() - sampled_N).exp().clamp(max=cap)


def kl_loss(logprobs_N: Tensor, reference_N: Tensor, weights_N: Tensor) -> Tensor:
    """The k3 estimate of KL(pi || pi_ref), never negative (verl's `low_var_kl`).

    k3 = exp(d) - d - 1,    d = log pi_ref(y_n) - log pi(y_n)
    """
    d = reference_N - logprobs_N
    return (weights_N * (d.exp() - d - 1.0)).sum()


def entropy_loss(entropies_N: Tensor, weights_N: Tensor) -> Tensor:
    """Minus the weighted entropy: a positive coefficient keeps the policy broad."""
    return -(weights_N * entropies_N).sum()


# --- from rewards to advantages and weights: plain numbers, no autograd -----------------------


def group_advantages(rewards_G: Sequence[float | None], by_std: bool = True) -> list[float]:
    """Group-normalised rewards (2512.13607, eq. 1).

        A_i = (r_i - mean) / (std + 1e-6)

    over the judged completions, with the *sample* deviation as verl computes it. A completion
    not judged (None) gets 0, and so does every completion of a group with fewer than two judged
    or with equal rewards: it teaches nothing.
    """
    judged = np.array([r for r in rewards_G if r is not None], dtype=np.float64)
    if len(judged) < 2 or (judged == judged[0]).all():
        return [0.0] * len(rewards_G)
    mean = float(judged.mean())
    scale = float(judged.std(ddof=1)) + EPSILON if by_std else 1.0
    return [0.0 if r is None else (r - mean) / scale for r in rewards_G]


def token_weights(
    lengths_R: Sequence[int],
    groups_R: Sequence[int],
    learns_R: Sequence[bool],
    aggregation: Aggregation,
) -> list[float]:
    """What each token of row r weighs in the loss of the update batch: w_r / W.

        token-mean         1 / (all tokens of the batch)                     verl's default
        group-token-mean   1 / (groups * tokens of the group)                the paper's eq. 1
        sequence-mean      1 / (rows * tokens of the row)                    section 6.3

    Rows that do not learn (masked) weigh 0 and count nowhere; rows of zero advantage do count.
    """
    weights, total = relative_weights(lengths_R, groups_R, learns_R, aggregation)
    return [weight / total if total else 0.0 for weight in weights]


def relative_weights(
    lengths_R: Sequence[int],
    groups_R: Sequence[int],
    learns_R: Sequence[bool],
    aggregation: Aggregation,
) -> tuple[list[float], float]:
    """w_r of each token of row r, and W, of whole groups: both are sums over parts of a batch.

    token-mean         1                              tokens
    group-token-mean   1 / (tokens of the group)      groups
    sequence-mean      1 / (tokens of the row)        rows
    """
    tokens = [length if learns else 0 for length, learns in zip(lengths_R, learns_R, strict=True)]
    group_tokens: dict[int, int] = {}
    for group, count in zip(groups_R, tokens, strict=True):
        group_tokens[group] = group_tokens.get(group, 0) + count
    live_groups = sum(count > 0 for count in group_tokens.values())
    live_rows = sum(count > 0 for count in tokens)

    def weight(group: int, count: int) -> float:
        if count == 0:
            return 0.0
        if aggregation == "token-mean":
            return 1.0
        if aggregation == "group-token-mean":
            return 1.0 / group_tokens[group]
        return 1.0 / count

    totals = {"token-mean": sum(tokens), "group-token-mean": live_groups}
    weights = [weight(group, count) for group, count in zip(groups_R, tokens, strict=True)]
    return weights, float(totals.get(aggregation, live_rows))
