"""One scored batch through both engines: the same rewards, advantages, loss and gradient."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.padding_utils import construct_minimal_padding_template
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import ActorConfig
    from verl.workers.utils.losses import ppo_loss

from dataclasses import asdict

from cascade_rl.config import StageConfig, VerlConfig
from cascade_rl.engines.local.judging import reward_spec
from cascade_rl.engines.local.objectives import grpo_loss
from cascade_rl.engines.local.rl import part_of
from cascade_rl.engines.local.rollout import LearningGroup, learning_group
from cascade_rl.engines.verl.advantages import (
    RowUpdate,
    loss_weights,
    mismatch,
    nested,
    row_tensors,
    row_updates,
)
from cascade_rl.engines.verl.job import Rows, write_job
from cascade_rl.engines.verl.scoring import SAMPLED, UPDATED, collect, score, update_rows
from cascade_rl.rewards import rewards_of
from cascade_rl.types import (
    Completion,
    Group,
    Problem,
    Signals,
    Verdict,
    right,
    unjudged,
    wrong,
)
from tests.engines.helpers import chat_problems, comma_problems, rl_stage
from tests.engines.verl.helpers import VERL, verl_job

LENGTHS_PG = [[3, 5, 2, 7], [1, 7, 4, 4], [2, 2, 2, 2], [6, 3, 5, 1]]
OFF_POLICY = 0.3
"""The old log-probabilities are this far off, so that the clip has something to do."""


def gated_if() -> tuple[StageConfig, list[Problem], list[list[Signals]]]:
    """Followed, not followed, mixed language, truncated, and two that nobody judged."""
    yes, no, lost = right(), wrong("a comma"), unjudged("infra", "the worker died")
    signals = [
        [Signals(yes, 1.5), Signals(no, 9.0), Signals(yes, -0.5), Signals(yes, 0.25)],
        [Signals(yes, 2.0, truncated=True), Signals(no, 0.0), Signals(lost, 1.0), Signals(yes, 3)],
        [Signals(yes, 1.0), Signals(yes, 1.0), Signals(yes, 1.0), Signals(yes, 1.0)],
        [Signals(yes, 0.1, mixed_language=True), Signals(yes, 7.0), Signals(lost, 0.0),
         Signals(no, 1.0, truncated=True)],
    ]  # fmt: skip
    reward = {"kind": "gated_if", "model_url": "http://reward/score"}
    return rl_stage(reward=reward), comma_problems(4), signals


def preference() -> tuple[StageConfig, list[Problem], list[list[Signals]]]:
    """RLHF: a mixed answer lies 10 under the lowest of the batch; two have no score."""
    signals = [[Signals(None, float(i * j) - 2.0) for j in range(4)] for i in range(4)]
    signals[0][1] = Signals(None, 5.0, mixed_language=True)
    signals[2][3] = Signals(None, float("nan"))
    signals[3][0] = Signals(None, 1.0, truncated=True)
    return (
        rl_stage(domain="chat", reward={"model_url": "http://r/score"}),
        chat_problems(4),
        signals,
    )


FIXTURES = {"gated_if": gated_if, "preference": preference}


def completion(length: int, seed: int, truncated: bool) -> Completion:
    ids = tuple(5 + (seed + t) % 40 for t in range(length))
    logprobs = tuple(-0.1 * (1 + (seed * 7 + t) % 9) for t in range(length))
    return Completion(f"text {seed}", ids, logprobs, logprobs, "length" if truncated else "stop")


def local_groups(
    config: StageConfig, problems: list[Problem], signals: list[list[Signals]]
) -> list[LearningGroup]:
    groups = [
        Group(
            problem,
            None,
            tuple(
                completion(n, 10 * i + j, signals[i][j].truncated)
                for j, n in enumerate(LENGTHS_PG[i])
            ),
        )
        for i, problem in enumerate(problems)
    ]
    rewards = rewards_of(reward_spec(config), groups, signals)
    return [
        learning_group(config, g, (1, 2, 3), s, r)
        for g, s, r in zip(groups, signals, rewards, strict=True)
    ]


def batch_of_verl(
    groups: list[LearningGroup], signals: list[list[Signals]]
) -> tuple[KVBatchMeta, dict[str, Any]]:
    """The same completions as verl's trainer finds them: shuffled, with one row of padding."""
    rows: list[dict[str, Any]] = []
    for i, group in enumerate(groups):
        for j, one in enumerate(group.scored.group.completions_G):
            known = signals[i][j]
            extra = {
                "text": one.text,
                "finish": one.finish,
                "reward_extra_info": {
                    "score": 0.0,
                    "verdict": None if known.verdict is None else asdict(known.verdict),
                    "mixed_language": known.mixed_language,
                },
            }
            rows.append(
                {
                    "uid": f"u{i}", "problem_id": group.scored.group.problem.id, "mode": "",
                    "index": i, "session_id": j, "prompts": torch.tensor(group.prompt_ids),
                    "responses": torch.tensor(one.token_ids),
                    "response_mask": torch.ones(len(one.token_ids), dtype=torch.int64),
                    "rollout_log_probs": torch.tensor(one.logprobs),
                    "old_log_probs": torch.tensor(one.logprobs), "extra_fields": extra,
                }
            )  # fmt: skip
    padding, tag = construct_minimal_padding_template(rows[0], {}, 0)
    padding["uid"] = "pad"
    padding["old_log_probs"] = padding["rollout_log_probs"]
    tags: list[dict[str, Any]] = [{} for _ in rows]
    rows, tags = [*rows, padding], [*tags, tag]
    order = random.Random(3).sample(range(len(rows)), len(rows))
    columns = {
        name: nested([rows[r][name] for r in order])
        if isinstance(rows[0][name], torch.Tensor)
        else [rows[r][name] for r in order]
        for name in {*SAMPLED, *UPDATED}
    }
    keys = [f"{rows[r]['uid']}_{r}_0" for r in order]
    return KVBatchMeta(keys=keys, tags=[tags[r] for r in order], partition_id="train"), columns


def sampled(batch: KVBatchMeta, columns: dict[str, Any]) -> dict[str, Any]:
    """The rows as they are before verl pads them."""
    real = [r for r, tag in enumerate(batch.tags) if not tag.get("is_padding", False)]
    found = {name: list(columns[name]) for name in SAMPLED}
    return {name: [column[r] for r in real] for name, column in found.items()}


def scorers_of(groups: list[LearningGroup], signals: list[list[Signals]]) -> dict[str, Any]:
    known = {
        (g.scored.group.problem.id, c.text): signals[i][j].preference
        for i, g in enumerate(groups)
        for j, c in enumerate(g.scored.group.completions_G)
    }
    return {"reward_model": lambda items: [known[p.id, text] for p, text in items]}


def loss_of_verl(fields: dict[str, torch.Tensor], columns: Any, moved: Any) -> Any:
    """Verl's own loss over the batch, and its gradient by the sampled tokens' log-probabilities."""
    now = [(t + d).requires_grad_() for t, d in zip(columns["old_log_probs"].unbind(), moved,
                                                   strict=True)]  # fmt: skip
    zeros = [torch.zeros(len(p) - 1) for p in columns["prompts"].unbind()]
    rows = [torch.cat([z, t, torch.zeros(1)]) for z, t in zip(zeros, now, strict=True)]
    data = TensorDict(
        {**fields, **{n: columns[n] for n in ("prompts", "responses", "old_log_probs")}},
        batch_size=len(rows),
    )
    tokens = fields["loss_mask"].sum().item()
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=tokens, global_batch_size=len(rows))
    config = ActorConfig(
        strategy="fsdp2", rollout_n=4, ppo_micro_batch_size_per_gpu=1, clip_ratio_c=1e9
    )
    loss, _ = ppo_loss(config, {"log_probs": nested(rows)}, data)
    return loss.detach(), torch.autograd.grad(loss, now, allow_unused=True)


def loss_of_local(config: StageConfig, groups: list[LearningGroup], moved: dict[Any, Any]) -> Any:
    found: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
    total = torch.zeros(())
    part = part_of(groups, config, True)
    for row in part.rows:
        old = torch.tensor(row.logprobs_T)
        key = groups[row.group].scored.group.problem.id, row.ids
        now = (old + moved[key]).requires_grad_()
        weights = torch.from_numpy(np.asarray(row.weights_T)) / part.weight
        advantages = torch.full(old.shape, row.advantage)
        loss = grpo_loss(now, advantages, weights, old)
        total = total + loss.detach()
        (found[key],) = torch.autograd.grad(loss, now)
    return total, found


@pytest.mark.parametrize("aggregation", ["token-mean", "group-token-mean", "sequence-mean"])
@pytest.mark.parametrize("overlong", ["zero", "mask_loss", "exclude"])
@pytest.mark.parametrize("fixture", sorted(FIXTURES))
def test_advantages_and_loss_are_those_of_the_local_engine(
    fixture: str, overlong: str, aggregation: str, tmp_path: Path
) -> None:
    config, problems, signals = FIXTURES[fixture]()
    config = config.model_copy(update={"overlong": overlong, "loss_aggregation": aggregation})
    groups = local_groups(config, problems, signals)
    batch, columns = batch_of_verl(groups, signals)
    job = verl_job(tmp_path)
    write_job(job, problems)

    collected = collect(sampled(batch, columns), Rows(job))
    again = score(config, scorers_of(groups, signals), collected)
    for one, other in zip(groups, again, strict=True):
        assert one.scored.rewards_G == pytest.approx(other.scored.rewards_G, nan_ok=True)
        assert one.advantages_G == pytest.approx(other.advantages_G, abs=1e-5)
        assert one.learns_G == other.learns_G

    rows = update_rows(batch, columns, collected.uids)
    updates = row_updates(config, again)
    padding = RowUpdate(False, 0.0, 0.0)
    updates_R = [updates[p] if p else padding for p in rows.places_R]
    fields = row_tensors(updates_R, rows.masks_RT)
    weights = loss_weights(updates_R, rows.old_RT, rows.sampled_RT, None)
    if weights is not None:
        fields["rollout_is_weights"] = weights
    torch.manual_seed(0)
    moved_R = [OFF_POLICY * torch.randn(len(t)) for t in rows.old_RT]
    loss, gradients = loss_of_verl(fields, columns, moved_R)

    keys_R = [
        (p and (again[p[0]].scored.group.problem.id,
                again[p[0]].scored.group.completions_G[p[1]].token_ids))
        for p in rows.places_R
    ]  # fmt: skip
    moved = {key: m for key, m in zip(keys_R, moved_R, strict=True) if key}
    expected, by_row = loss_of_local(config, groups, moved)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    assert any(g.abs().max() > 0 for g in by_row.values())
    for key, gradient in zip(keys_R, gradients, strict=True):
        wanted = by_row.get(key) if key else None
        gradient = torch.zeros(1) if gradient is None else gradient
        wanted = torch.zeros_like(gradient) if wanted is None else wanted
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-5)


def test_what_is_masked_is_counted_by_neither_of_verls_two_masks() -> None:
    updates = [RowUpdate(True, 1.0, 1.0), RowUpdate(False, 0.5, 0.0)]
    fields = row_tensors(updates, [torch.ones(3, dtype=torch.int64)] * 2)
    for name in ("response_mask", "loss_mask"):
        assert [row.tolist() for row in fields[name].unbind()] == [[1, 1, 1], [0, 0, 0]]


def test_where_nothing_learns_one_token_of_no_advantage_keeps_verl_from_dividing_by_zero() -> None:
    updates = [RowUpdate(False, 1.0, 0.0), RowUpdate(False, 0.5, 0.0)]
    fields = row_tensors(updates, [torch.ones(3, dtype=torch.int64)] * 2)
    assert fields["loss_mask"].sum() == 1
    assert all(row.abs().max() == 0 for row in fields["advantages"].unbind())


def test_a_sampler_that_disagrees_is_corrected_up_to_the_cap() -> None:
    updates = [RowUpdate(True, 1.0, 1.0)]
    old, sampled = [torch.tensor([-1.0, -1.0])], [torch.tensor([-1.5, -4.0])]
    weights = loss_weights(updates, old, sampled, 2.0)
    assert weights is not None
    torch.testing.assert_close(weights.unbind()[0], torch.tensor([np.exp(0.5), 2.0]).float())


def test_verdicts_survive_the_way_through_the_queue(tmp_path: Path) -> None:
    config, problems, signals = gated_if()
    batch, columns = batch_of_verl(local_groups(config, problems, signals), signals)
    job = verl_job(tmp_path)
    write_job(job, problems)
    collected = collect(sampled(batch, columns), Rows(job))
    expected: dict[Any, Verdict | None] = {
        (i, j): s.verdict for i, row in enumerate(signals) for j, s in enumerate(row)
    }
    assert collected.verdicts == expected and collected.count == 16


@pytest.mark.parametrize(
    ("verl", "cut", "compared"),
    [
        (VerlConfig(), {}, True),
        (VerlConfig(), {"top_p": 0.95}, False),
        (VerlConfig(), {"top_k": 20}, False),
        (VERL, {"top_p": 0.95, "top_k": 20}, True),
        (VERL.model_copy(update={"rollout": "vllm"}), {"top_p": 0.95}, True),
    ],
    ids=["whole", "top_p", "top_k", "our sampler", "vLLM on processors"],
)
def test_sampler_and_trainer_are_compared_where_both_mean_all_tokens(
    verl: VerlConfig, cut: dict[str, Any], compared: bool, tmp_path: Path
) -> None:
    updates = [RowUpdate(learns=True, advantage=1.0, weight=1.0)]
    whole, sampled = torch.tensor([0.5, 0.25]).log(), torch.tensor([1.0, 0.5]).log()
    found = mismatch(verl_job(tmp_path, verl, **cut), updates, [whole], [sampled])
    assert set(found) == ({"mismatch_kl", "mismatch_max"} if compared else set())
    assert all(value > 0.1 for value in found.values())
