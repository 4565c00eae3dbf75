import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.engines.local.objectives import (
    bradley_terry_loss,
    entropy_loss,
    group_advantages,
    grpo_loss,
    kl_loss,
    sft_loss,
    token_weights,
    truncated_importance,
)

REWARDS = st.lists(st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 0.3, 1.0])), max_size=9)


def test_advantages_equal_hand_computed_ones() -> None:
    # mean 0.5; sample deviation sqrt((4 * 0.25) / 3) = 0.57735
    assert group_advantages([1.0, 0.0, 1.0, 0.0]) == pytest.approx(
        [0.5 / 0.577351, -0.5 / 0.577351, 0.5 / 0.577351, -0.5 / 0.577351], rel=1e-5
    )


@given(rewards=REWARDS)
def test_advantages_sum_to_zero_and_leave_out_what_is_not_judged(
    rewards: list[float | None],
) -> None:
    advantages = group_advantages(rewards)
    judged = [r for r in rewards if r is not None]
    assert sum(advantages) == pytest.approx(0.0, abs=1e-5)
    assert all(a == 0.0 for a, r in zip(advantages, rewards, strict=True) if r is None)
    if len(judged) >= 2 and len(set(judged)) > 1:
        scale = statistics.stdev(judged) + 1e-6
        expected = [(r - statistics.fmean(judged)) / scale for r in judged]
        assert [
            a for a, r in zip(advantages, rewards, strict=True) if r is not None
        ] == pytest.approx(expected)
    else:
        assert set(advantages) <= {0.0}


def test_an_equal_group_teaches_nothing_even_where_its_mean_rounds() -> None:
    assert group_advantages([0.1] * 7) == [0.0] * 7


def test_without_the_deviation_advantages_are_centred_rewards() -> None:
    assert group_advantages([1.0, 0.0, None], by_std=False) == [0.5, -0.5, 0.0]


LENGTHS, GROUPS, LEARNS = [2, 3, 5, 4], [0, 0, 1, 2], [True, True, True, False]


def test_token_mean_weighs_every_learning_token_of_the_batch_alike() -> None:
    weights = token_weights(LENGTHS, GROUPS, LEARNS, "token-mean")
    assert weights == [0.1, 0.1, 0.1, 0.0]


def test_group_token_mean_weighs_groups_alike_and_a_masked_group_not_at_all() -> None:
    weights = token_weights(LENGTHS, GROUPS, LEARNS, "group-token-mean")
    assert weights == pytest.approx([1 / 10, 1 / 10, 1 / 10, 0.0])
    uneven = token_weights([1, 3, 2], [0, 0, 1], [True] * 3, "group-token-mean")
    assert uneven == pytest.approx([1 / 8, 1 / 8, 1 / 4])


def test_sequence_mean_weighs_completions_alike() -> None:
    weights = token_weights(LENGTHS, GROUPS, LEARNS, "sequence-mean")
    assert weights == pytest.approx([1 / 6, 1 / 9, 1 / 15, 0.0])


def test_a_batch_where_nothing_learns_weighs_nothing() -> None:
    assert token_weights([3, 2], [0, 0], [False, False], "token-mean") == [0.0, 0.0]


def test_grpo_loss_equals_the_hand_summed_value() -> None:
    logprobs = torch.log(torch.tensor([0.5, 0.2, 0.9]))
    old = torch.log(torch.tensor([0.25, 0.2, 1.0]))  # ratios 2, 1, 0.9
    advantages = torch.tensor([1.0, -1.0, -2.0])
    weights = torch.tensor([0.5, 0.25, 0.25])
    loss = grpo_loss(logprobs, advantages, weights, old, 0.2, 0.2)
    # min(2, 1.2) * .5 + min(-1, -1) * .25 + min(-1.8, -1.8) * .25
    assert loss.item() == pytest.approx(-(0.6 - 0.25 - 0.45))


def test_clipping_takes_the_gradient_of_ratios_that_have_gone_far_enough() -> None:
    logprobs = torch.log(torch.tensor([0.5, 0.1, 0.5, 0.1])).requires_grad_()
    old = torch.log(torch.tensor([0.25, 0.2, 0.25, 0.2]))  # ratios 2, .5, 2, .5
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0])
    grpo_loss(logprobs, advantages, torch.ones(4), old, 0.2, 0.2).backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([0.0, 0.0, 2.0, -0.5])


def test_the_on_policy_gradient_is_reinforce_and_that_of_the_ratio_form() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 11, dtype=torch.float64)
    tokens, advantages = torch.arange(6), torch.randn(6, dtype=torch.float64)
    weights = torch.full((6,), 1 / 6, dtype=torch.float64)

    def gradient(form: str) -> torch.Tensor:
        leaf = logits.clone().requires_grad_()
        logprobs = leaf.log_softmax(-1)[torch.arange(6), tokens]
        if form == "reinforce":
            (-(weights * advantages * logprobs).sum()).backward()
        else:
            old = None if form == "on-policy" else logprobs.detach()
            grpo_loss(logprobs, advantages, weights, old).backward()
        assert leaf.grad is not None
        return leaf.grad

    assert torch.allclose(gradient("on-policy"), gradient("reinforce"), atol=1e-15, rtol=0)
    assert torch.equal(gradient("on-policy"), gradient("ratio"))


def test_truncated_importance_is_the_capped_ratio_and_constant() -> None:
    logprobs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    ratio = truncated_importance(logprobs, torch.tensor([-1.0, -1.0, -3.0]), 2.0)
    torch.testing.assert_close(ratio, torch.tensor([1.0, math.exp(-1.0), 2.0]))
    assert not ratio.requires_grad


def test_kl_is_the_k3_estimate() -> None:
    logprobs, reference = torch.log(torch.tensor([0.5, 0.4])), torch.log(torch.tensor([0.25, 0.4]))
    weights = torch.tensor([0.5, 0.5])
    assert kl_loss(logprobs, reference, weights).item() == pytest.approx(
        0.5 * (0.5 - math.log(0.5) - 1)
    )


def test_entropy_and_sft_losses_are_weighted_sums() -> None:
    weights = torch.tensor([0.75, 0.25])
    assert entropy_loss(torch.tensor([1.0, 2.0]), weights).item() == pytest.approx(-1.25)
    assert sft_loss(torch.tensor([-1.0, -2.0]), weights).item() == pytest.approx(1.25)


def test_bradley_terry_value_and_gradient() -> None:
    chosen = torch.tensor([1.0, 0.0], requires_grad=True)
    rejected = torch.tensor([0.0, 2.0], requires_grad=True)
    loss = bradley_terry_loss(chosen, rejected, 4)
    loss.backward()
    sigmoid = [1 / (1 + math.exp(1.0)), 1 / (1 + math.exp(-2.0))]  # sigma(-(r+ - r-))
    expected = (math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(2.0))) / 4
    assert loss.item() == pytest.approx(expected)
    assert chosen.grad is not None and rejected.grad is not None
    assert chosen.grad.tolist() == pytest.approx([-s / 4 for s in sigmoid])
    assert rejected.grad.tolist() == pytest.approx([s / 4 for s in sigmoid])
