"""Our numbers beside verl's own functions, on one fixture; skips where verl is not installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from cascade_rl.engines.local.objectives import group_advantages, grpo_loss, token_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    core_algos = pytest.importorskip(
        "verl.trainer.ppo.core_algos", reason="verl is not installed (make install-verl)"
    )

REWARDS_PG = [
    [1.0, 0.0, 0.0, 1.0],
    [0.0, 0.0, 0.0, 1.0],
    [1.0, 1.0, 1.0, 1.0],
    [2.5, -1.0, 0.3, 0.0],
]
LENGTHS_PG = [[3, 5, 2, 7], [1, 7, 4, 4], [2, 2, 2, 2], [6, 3, 5, 1]]
GROUPS = np.repeat(np.arange(4), 4)


def mask_RT() -> torch.Tensor:
    lengths_R = torch.tensor(LENGTHS_PG).flatten()
    return (torch.arange(7)[None] < lengths_R[:, None]).float()


def test_advantages_are_verls() -> None:
    mask = mask_RT()
    scores = torch.zeros_like(mask)
    scores[:, 0] = torch.tensor(REWARDS_PG).flatten()
    theirs, _ = core_algos.compute_grpo_outcome_advantage(scores, mask, GROUPS)
    ours = torch.tensor([group_advantages(rewards_G) for rewards_G in REWARDS_PG]).flatten()
    torch.testing.assert_close(theirs, ours[:, None].float() * mask, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("token-mean", "token-mean"), ("sequence-mean", "seq-mean-token-mean")]
)
@pytest.mark.parametrize("on_policy", [True, False])
def test_the_policy_loss_and_its_gradient_are_verls(
    ours: str, theirs: str, on_policy: bool
) -> None:
    from verl.workers.config import ActorConfig

    rng = torch.Generator().manual_seed(0)
    mask = mask_RT()
    logprobs = (-torch.rand(mask.shape, generator=rng)).requires_grad_()
    moved = 0.0 if on_policy else 0.4 * torch.randn(mask.shape, generator=rng)
    old = (logprobs + moved).detach()
    advantages_R = torch.tensor([group_advantages(r) for r in REWARDS_PG]).flatten().float()
    config = ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=1)
    loss, _ = core_algos.compute_policy_loss_vanilla(
        old, logprobs, advantages_R[:, None] * mask, mask, loss_agg_mode=theirs, config=config
    )
    (expected,) = torch.autograd.grad(loss, logprobs)

    lengths_R = [n for lengths_G in LENGTHS_PG for n in lengths_G]
    weights_R = token_weights(lengths_R, GROUPS.tolist(), [True] * 16, ours)  # type: ignore[arg-type]
    chosen = mask.bool()
    weights = torch.tensor(weights_R)[:, None].expand_as(mask)[chosen].float()
    found = grpo_loss(
        logprobs[chosen],
        advantages_R[:, None].expand_as(mask)[chosen],
        weights,
        None if on_policy else old[chosen],
    )
    (gradient,) = torch.autograd.grad(found, logprobs)
    torch.testing.assert_close(found, loss, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)
