from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.config import OptimizerConfig
from cascade_rl.engines.local.batches import (
    BUCKET_RATIO,
    Row,
    length_buckets,
    micro_batches,
    shards,
)
from cascade_rl.engines.local.learner import Learner, learning_rate_at
from cascade_rl.engines.local.model import Head
from cascade_rl.engines.local.objectives import PolicyObjective
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.replica import Objective, PairObjective, SFTObjective
from cascade_rl.engines.local.training import FlatTraining
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import TrainingError
from cascade_rl.types import Checkpoint
from tests.engines.helpers import CHAT, LOCAL

OBJECTIVES: list[Objective] = [
    SFTObjective(),
    PolicyObjective(temperature=0.8, kl_coef=0.1, entropy_coef=0.01),
    PairObjective(pairs=6),
]
NAMES = ["sft", "grpo", "pairs"]


def rows(groups: int = 6, each: int = 2, scale: float = 0.01) -> list[Row]:
    """Groups with prompts and completions of ragged lengths."""
    rng = np.random.default_rng(0)
    found = []
    for group in range(groups):
        prompt = tuple(rng.integers(3, 200, size=int(rng.integers(2, 20))).tolist())
        for _ in range(each):
            count = int(rng.integers(1, 16))
            found.append(
                Row(
                    prompt,
                    tuple(rng.integers(3, 200, size=count).tolist()),
                    np.full(count, scale, np.float32),
                    group,
                    float(rng.normal()),
                    reference_T=np.full(count, -4.0, np.float32),
                )
            )
    return found


def gradient(
    team: Team, start: Checkpoint, batch: Sequence[Row], objective: Objective
) -> torch.Tensor:
    head: Head = "scalar" if isinstance(objective, PairObjective) else "language"
    model = team.load("train", Loading(start.path, CHAT, head), train=True)
    if head == "scalar":  # a head of zeros would leave the trunk without gradient
        model.module.score.weight.data.fill_(0.1)
    found, _ = team.accumulate("train", batch, objective)
    return found.clone()


@pytest.fixture(scope="module")
def teams() -> Iterator[dict[str, Team]]:
    changes: dict[str, dict[str, int]] = {
        "micro-batches": {"micro_batch_tokens": 60},
        "whole rows, checkpointed": {"gradient_checkpointing": True},
        "two processes": {"processes": 2},
    }
    teams = {name: Team(LOCAL.model_copy(update=values)) for name, values in changes.items()}
    yield teams
    for team in teams.values():
        team.close()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=NAMES)
@pytest.mark.parametrize("cut", ["micro-batches", "whole rows, checkpointed", "two processes"])
def test_the_gradient_does_not_depend_on_how_the_batch_is_cut(
    start: Checkpoint, teams: dict[str, Team], objective: Objective, cut: str
) -> None:
    whole = gradient(Team(LOCAL), start, rows(), objective)
    found = gradient(teams[cut], start, rows(), objective)
    assert whole.abs().max() > 1e-4
    assert (found - whole).abs().max() < 1e-5 * max(1.0, float(whole.abs().max()))


def test_1_2_and_8_micro_batches_end_in_the_same_weights(start: Checkpoint) -> None:
    batch = rows(groups=16)
    ends = []
    for count in (1, 2, 8):
        budget = next(
            b for b in range(2000, 1, -1) if len([*micro_batches(batch, b, True)]) == count
        )
        local = LOCAL.model_copy(update={"micro_batch_tokens": budget})
        training = FlatTraining(Team(local), Loading(start.path, CHAT), OptimizerConfig(), 1e-3)
        learner = Learner(training, OptimizerConfig(warmup_steps=0), 1e-3, 1)
        learner.update(1, batch, PolicyObjective(kl_coef=0.1))
        ends.append(torch.cat([p.detach().reshape(-1) for p in training.model.module.parameters()]))
    assert (ends[0] - ends[1]).abs().max() < 1e-5
    assert (ends[0] - ends[2]).abs().max() < 1e-5


def test_the_gradient_is_that_of_the_plain_formula(start: Checkpoint) -> None:
    batch = rows()
    team = Team(LOCAL)
    found = gradient(team, start, batch, PolicyObjective(temperature=0.8))
    module = team.load("train", Loading(start.path, CHAT), train=True).module
    loss = torch.zeros(())
    for row in batch:
        ids = torch.tensor([[*row.prompt_ids, *row.ids]])
        logprobs = (module(ids).logits[0, :-1] / 0.8).log_softmax(-1)
        taken = logprobs.gather(1, ids[0, 1:, None])[-len(row.ids) :, 0]
        loss = loss - (torch.from_numpy(row.weights_T) * row.advantage * taken).sum()
    module.zero_grad(set_to_none=True)
    loss.backward()
    plain = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
    assert torch.allclose(found[: len(plain)], plain, atol=1e-6)
    assert not found[len(plain) :].any()  # the vector is filled up to a whole block


def test_a_sampler_that_disagrees_is_corrected_by_the_capped_ratio(start: Checkpoint) -> None:
    team = Team(LOCAL)
    team.load("train", Loading(start.path, CHAT), train=True)
    batch = [replace(row, reference_T=None) for row in rows()]
    learned = team.logprobs("train", batch, 1.0)
    odd = [replace(row, logprobs_T=line + (0.3 if i % 2 else -5.0))
           for i, (row, line) in enumerate(zip(batch, learned, strict=True))]  # fmt: skip
    corrected, _ = team.accumulate("train", odd, PolicyObjective(mismatch_cap=2.0))
    corrected = corrected.clone()
    by_hand = [replace(row, weights_T=row.weights_T * (math.exp(-0.3) if i % 2 else 2.0))
               for i, row in enumerate(batch)]  # fmt: skip
    expected, _ = team.accumulate("train", by_hand, PolicyObjective())
    torch.testing.assert_close(corrected, expected, atol=1e-6, rtol=1e-4)


def test_rows_of_zero_advantage_may_be_left_out(start: Checkpoint) -> None:
    batch = [replace(r, advantage=0.0) if r.group % 2 else r for r in rows()]
    objective = PolicyObjective()
    whole = gradient(Team(LOCAL), start, batch, objective)
    skipped = gradient(Team(LOCAL), start, [r for r in batch if r.advantage], objective)
    assert (whole - skipped).abs().max() < 1e-7


LENGTHS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 30)), min_size=1, max_size=25)


def ragged(lengths: Sequence[tuple[int, int]]) -> list[Row]:
    return [
        Row((1, 2), (3,) * length, np.ones(length, np.float32), group) for group, length in lengths
    ]


@given(lengths=LENGTHS, budget=st.integers(5, 200), shared=st.booleans())
def test_micro_batches_hold_every_row_once_and_keep_groups_whole_where_asked(
    lengths: list[tuple[int, int]], budget: int, shared: bool
) -> None:
    batch = ragged(lengths)
    cut = micro_batches(batch, budget, shared, whole=True)
    assert sorted(id(r) for part in cut for r in part) == sorted(map(id, batch))
    seen = [{r.group for r in part} for part in cut]
    assert sum(map(len, seen)) == len({r.group for r in batch})


@given(lengths=LENGTHS, budget=st.integers(5, 200), shared=st.booleans())
def test_micro_batches_stay_within_their_budget_but_for_a_row_that_exceeds_it(
    lengths: list[tuple[int, int]], budget: int, shared: bool
) -> None:
    batch = ragged(lengths)
    cut = micro_batches(batch, budget, shared)
    assert sorted(id(r) for part in cut for r in part) == sorted(map(id, batch))
    for part in cut:
        prompts = len({r.group for r in part}) if shared else len(part)
        cost = 2 * prompts + sum(len(r.ids) for r in part)
        assert cost <= budget or len(part) == 1


@given(lengths=LENGTHS, count=st.integers(1, 4))
def test_shards_hold_every_row_once_and_keep_groups_whole(
    lengths: list[tuple[int, int]], count: int
) -> None:
    batch = ragged(lengths)
    cut = shards(batch, count, True)
    assert len(cut) == count
    assert sorted(id(r) for part in cut for r in part) == sorted(map(id, batch))
    assert sum(len({r.group for r in part}) for part in cut) == len({r.group for r in batch})


@given(lengths=LENGTHS)
def test_buckets_hold_rows_of_similar_length(lengths: list[tuple[int, int]]) -> None:
    batch = ragged(lengths)
    cut = length_buckets(batch, lambda row: len(row.ids))
    assert sorted(id(r) for part in cut for r in part) == sorted(map(id, batch))
    assert all(len(r.ids) >= BUCKET_RATIO * len(part[0].ids) for part in cut for r in part)


def test_schedules() -> None:
    def rates(**values: object) -> list[float]:
        config = OptimizerConfig(**values)  # type: ignore[arg-type]
        return [learning_rate_at(step, 6, 1.0, config) for step in range(1, 7)]

    assert rates() == [1.0] * 6
    assert rates(warmup_steps=2, schedule="linear") == pytest.approx(
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    )
    cosine = rates(schedule="cosine", min_learning_rate=0.1)
    assert cosine[0] == 1.0 and cosine[3] == pytest.approx(0.55)
    assert cosine[-1] == pytest.approx(0.16, abs=1e-3)


@pytest.fixture
def team(start: Checkpoint) -> Iterator[Team]:
    team = Team(LOCAL)
    yield team
    team.close()


def learner_of(team: Team, start: Checkpoint, config: OptimizerConfig, total: int) -> Learner:
    training = FlatTraining(team, Loading(start.path, CHAT), config, 1e-2)
    return Learner(training, config, 1e-2, total)


def test_adamw_with_clipping_equals_torchs_on_separate_tensors(
    team: Team, start: Checkpoint
) -> None:
    config = OptimizerConfig(grad_clip=0.05, weight_decay=0.1)
    learner = learner_of(team, start, config, 3)
    before = team.values("train").clone()
    gradients = []
    for step in (1, 2, 3):
        found, _ = team.accumulate("train", rows(), PolicyObjective())
        gradients.append(found.clone())
        learner.update(step, rows(), PolicyObjective())
    parts = [p.clone().requires_grad_() for p in before.split(1000)]
    plain = torch.optim.AdamW(parts, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    for whole in gradients:
        for part, piece in zip(parts, whole.split(1000), strict=True):
            part.grad = piece.clone()
        torch.nn.utils.clip_grad_norm_(parts, 0.05)
        plain.step()
    expected = torch.cat([p.detach() for p in parts])
    assert torch.allclose(team.values("train"), expected, atol=1e-6)


def test_updates_that_are_not_finite_are_skipped_and_the_third_in_a_row_ends_training(
    team: Team, start: Checkpoint
) -> None:
    learner = learner_of(team, start, OptimizerConfig(), 9)
    poisoned = rows(scale=float("nan"))
    before = team.values("train").clone()
    assert not learner.update(1, poisoned, PolicyObjective()).applied
    assert torch.equal(team.values("train"), before)
    assert learner.update(2, rows(), PolicyObjective()).applied
    assert learner.skipped == 0
    after = team.values("train").clone()
    for step in (3, 4):
        assert not learner.update(step, poisoned, PolicyObjective()).applied
    with pytest.raises(TrainingError, match="3 updates in a row were not finite"):
        learner.update(5, poisoned, PolicyObjective())
    assert torch.equal(team.values("train"), after)
