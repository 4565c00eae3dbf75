from __future__ import annotations

import json
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cascade_rl.config import FilterConfig, LoRAConfig, OptimizerConfig, UntilConfig
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.types import Checkpoint, Row
from tests.engines.helpers import (
    LOCAL,
    Recording,
    chat_problems,
    comma_problems,
    conversations,
    job_of,
    pairs,
    reward_model_stage,
    rl_stage,
    sft_stage,
)

STAGES: dict[str, tuple[Any, list[Row]]] = {
    "sft": (sft_stage(), [*conversations(10)]),
    "reward model": (reward_model_stage(), [*pairs(10)]),
    "rl": (rl_stage(), [*comma_problems(6)]),
    "rl, epoch filter": (rl_stage(filter=FilterConfig(kind="epoch")), [*comma_problems(6)]),
    "rl, batch filter": (rl_stage(filter=FilterConfig(kind="batch")), [*comma_problems(6)]),
    "rl, two updates, KL, entropy": (
        rl_stage(updates_per_batch=2, kl_coef=0.01, entropy_coef=0.01),
        [*comma_problems(6)],
    ),
    "rl, LoRA": (rl_stage(lora=LoRAConfig(rank=4, alpha=8)), [*comma_problems(6)]),
    "reward model, LoRA": (reward_model_stage(lora=LoRAConfig(rank=4)), [*pairs(10)]),
    "sft, moments in int8": (
        sft_stage(optimizer=OptimizerConfig(moments="int8")),
        [*conversations(10)],
    ),
    "rl, until": (
        rl_stage(
            total_training_steps=9,
            until=UntilConfig(metric="entropy", above=0.0, min_steps=3, window=2),
        ),
        [*comma_problems(6)],
    ),
}


NEEDS = {"LoRA": "peft", "int8": "torchao"}
"""What some stages need that `make install-verl` installs; loading torchao slows every start."""


def installed(name: str) -> Any:
    missing = [m for what, m in NEEDS.items() if what in name and find_spec(m) is None]
    reason = f"{missing} is not installed (make install-verl)"
    return pytest.param(name, marks=pytest.mark.skipif(bool(missing), reason=reason))


@pytest.mark.parametrize("name", [*map(installed, STAGES)])
def test_a_stage_killed_anywhere_and_continued_ends_with_the_same_weights(
    name: str, start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    config, rows = STAGES[name]
    job = job_of(start, config, rows)
    whole = engine.train(job, Recording(tmp_path / "whole"))
    for death in (("train", 1), ("train", 3), ("params", whole.step)):
        with pytest.raises(ConnectionAbortedError):
            engine.train(job, Recording(tmp_path / "broken", die_at=death))
    again = engine.train(job, Recording(tmp_path / "broken"))
    assert (again.weights_digest, again.step) == (whole.weights_digest, whole.step)
    assert whole.weights_digest != start.weights_digest


def test_two_processes_are_reproducible_and_close_to_one(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    config, rows = STAGES["rl"]
    two = LOCAL.model_copy(update={"processes": 2})
    job = job_of(start, config.model_copy(update={"total_training_steps": 2}), rows, two)
    first, second, alone = (Recording(tmp_path / name) for name in ("a", "b", "c"))
    digests = [engine.train(job, workspace).weights_digest for workspace in (first, second)]
    assert digests[0] == digests[1]
    one = LocalEngine()
    one.train(job_of(start, job.config, rows), alone)
    one.close()
    assert first.metric("reward/mean")[0] == alone.metric("reward/mean")[0]
    assert first.metric("grad_norm")[0] == pytest.approx(alone.metric("grad_norm")[0], rel=1e-4)
    assert first.metric("entropy")[0] == pytest.approx(alone.metric("entropy")[0], rel=1e-5)


def test_the_digest_in_memory_before_a_stage_is_the_one_after_its_parent(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    parent, child = Recording(tmp_path / "sft"), Recording(tmp_path / "rl")
    middle = engine.train(job_of(start, *STAGES["sft"]), parent)
    engine.train(job_of(middle, *STAGES["rl"]), child)
    logged = [e["digest"] for w in (parent, child) for e in w.events if e["kind"] == "params"]
    assert logged[0] == start.weights_digest
    assert logged[1] == logged[2] == middle.weights_digest
    assert len(set(logged)) == 3


@pytest.mark.skipif(find_spec("peft") is None, reason="no PEFT (make install-verl)")
def test_lora_starts_from_its_parent_and_ends_as_a_whole_model(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    workspace = Recording(tmp_path)
    config, rows = STAGES["rl, LoRA"]
    end = engine.train(job_of(start, config, rows), workspace)
    logged = [e["digest"] for e in workspace.events if e["kind"] == "params"]
    assert logged == [start.weights_digest, end.weights_digest]
    before, after = (load_file(c.path / "model.safetensors") for c in (start, end))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    targets = tuple(f"{target}.weight" for target in config.lora.targets)
    assert changed and all(name.endswith(targets) for name in changed)
    for name in changed:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= 4


@pytest.mark.skipif(find_spec("torchao") is None, reason="no torchao (make install-verl)")
def test_8_bit_moments_follow_those_of_32_bit(start: Checkpoint, tmp_path: Path) -> None:
    losses = {}
    for moments in ("float32", "int8"):
        engine, workspace = LocalEngine(), Recording(tmp_path / moments)
        config = sft_stage(
            total_training_steps=20,
            save_every=50,
            optimizer=OptimizerConfig(moments=moments),  # type: ignore[arg-type]
        )
        engine.train(job_of(start, config, [*conversations(10)]), workspace)
        losses[moments] = workspace.metric("loss")
        engine.close()
    assert losses["int8"][-1] < 0.6 * losses["int8"][0]
    np.testing.assert_allclose(losses["int8"], losses["float32"], rtol=0.1)


def test_the_losses_fall_and_pairs_are_ordered(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    sft = Recording(tmp_path / "sft")
    stage = sft_stage(total_training_steps=30, save_every=50)
    engine.train(job_of(start, stage, [*conversations(10)]), sft)
    assert sft.metric("loss")[-1] < 0.5 * sft.metric("loss")[0]
    model = Recording(tmp_path / "rm")
    stage = reward_model_stage(total_training_steps=20, save_every=50, learning_rate=3e-3)
    engine.train(job_of(start, stage, [*pairs(10)]), model)
    assert model.metric("loss")[0] == pytest.approx(0.6931, abs=1e-4)  # a head of zeros
    assert model.metric("accuracy")[-1] == 1.0


def test_rewards_rise(start: Checkpoint, tmp_path: Path, engine: LocalEngine) -> None:
    stage = rl_stage(
        total_training_steps=15, train_batch_size=8, rollout_n=8, max_new_tokens=60, save_every=50
    )
    workspace = Recording(tmp_path)
    engine.train(job_of(start, stage, [*comma_problems(16)]), workspace)
    rewards = workspace.metric("reward/mean")
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1


def test_every_metric_of_the_design_is_reported_each_step(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    workspace = Recording(tmp_path)
    engine.train(job_of(start, *STAGES["rl"]), workspace)
    names = {
        "reward/mean", "reward/std", "group/frac_mixed", "group/frac_all_right",
        "group/frac_all_wrong", "group/frac_unjudged", "response_length/mean",
        "response_length/max", "response_length/clip_ratio", "entropy", "grad_norm", "mismatch_kl",
        "verify/seconds", "verify/timeouts", "verify/infra", "seconds/sample", "seconds/score",
        "seconds/update", "seconds/save", "tokens_per_second", "truncation_ratio",
    }  # fmt: skip
    steps = [event for event in workspace.events if event["kind"] == "train"]
    assert len(steps) == 4
    assert all(names <= set(event) for event in steps)
    assert all(event["mismatch_kl"] < 1e-9 for event in steps)


def test_an_interrupt_saves_after_the_step_and_the_stage_goes_on_from_there(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    config, rows = STAGES["sft"]
    job = job_of(start, config.model_copy(update={"save_every": 100}), rows)
    workspace = Recording(tmp_path)
    workspace._stop = threading.Event()
    workspace._stop.set()
    with pytest.raises(KeyboardInterrupt):
        engine.train(job, workspace)
    again = Recording(tmp_path)
    found = again.latest()
    assert found is not None and found[0] == 1
    engine.train(job, again)
    assert [e["step"] for e in again.events if e["kind"] == "train"] == [2, 3, 4, 5, 6]


def test_until_ends_the_stage_early(start: Checkpoint, tmp_path: Path, engine: LocalEngine) -> None:
    checkpoint = engine.train(job_of(start, *STAGES["rl, until"]), Recording(tmp_path))
    assert checkpoint.step == 3


def test_a_family_carries_moments_steps_and_curriculum(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    config, rows = STAGES["rl"]
    parent = Recording(tmp_path / "parent")
    middle = engine.train(job_of(start, config, rows), parent)
    last = parent.latest()
    assert last is not None

    def train(name: str, **values: Any) -> Recording:
        workspace = Recording(tmp_path / name)
        fresh = {"state": "fresh"} if values.pop("fresh", False) else {}
        child = rl_stage(name="if_rl/2", total_training_steps=1, optimizer=fresh)
        engine.train(job_of(middle, child, rows, **values), workspace)
        return workspace

    carried, fresh = train("carried", carry=last[1]), train("fresh", carry=last[1], fresh=True)
    state = [
        json.loads((w.latest() or last)[1].joinpath("state.json").read_text())
        for w in (carried, fresh)
    ]
    drawn = [
        s["loop"]["curriculum"]["position"] + 6 * s["loop"]["curriculum"]["epoch"] for s in state
    ]
    assert drawn == [20, 4]  # 4 steps of 4 problems before, or none
    assert carried.events[0]["digest"] == fresh.events[0]["digest"]
    assert carried.events[-1]["digest"] != fresh.events[-1]["digest"]


def drawn(workspace: Recording) -> int:
    """Problems drawn so far, from the six of an epoch, as the last checkpoint has it."""
    found = workspace.latest()
    assert found is not None
    state = json.loads((found[1] / "state.json").read_text())["loop"]["curriculum"]
    return int(6 * state["epoch"] + state["position"])


def test_eval_every_calls_back_with_a_model_directory(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    seen: list[tuple[int, bool]] = []
    config, rows = STAGES["sft"]
    job = job_of(
        start,
        config.model_copy(update={"eval_every": 4}),
        rows,
        evaluate=lambda step, path: seen.append((step, (path / "model.safetensors").exists())),
    )
    engine.train(job, Recording(tmp_path))
    assert seen == [(4, True)]


def test_rlhf_learns_from_a_reward_model_and_fails_without_one(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine
) -> None:
    scorer = engine.train(job_of(start, *STAGES["reward model"]), Recording(tmp_path / "rm"))
    stage = rl_stage(domain="chat", inputs={"reward_model": "rm"}, total_training_steps=2)
    rows = chat_problems(6)
    workspace = Recording(tmp_path / "rlhf")
    job = job_of(start, stage, rows, inputs={"reward_model": scorer})
    engine.train(job, workspace)
    assert workspace.metric("group/frac_mixed") == [1.0, 1.0]
    with pytest.raises(ConfigError, match="rewarded by a reward model and has none"):
        engine.train(job_of(start, stage, rows), Recording(tmp_path / "none"))


REFUSED: dict[str, tuple[Any, list[Row], type[Exception], str]] = {
    "prompt": (rl_stage(max_prompt_tokens=8), [*comma_problems(1)], DataError, "the limit is 8"),
    "context": (rl_stage(max_new_tokens=250), [*comma_problems(1)], ConfigError, "context is 256"),
    "sft row": (sft_stage(max_tokens=9), [*conversations(1)], DataError, "row s0 is"),
    "pair": (reward_model_stage(max_tokens=9), [*pairs(1)], DataError, "pair r0 is"),
    "no problems": (rl_stage(), [], DataError, "no problems"),
    "no rows": (sft_stage(), [], DataError, "no rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_train_is_refused_before_anything_trains(
    start: Checkpoint, tmp_path: Path, engine: LocalEngine, name: str
) -> None:
    config, rows, error, message = REFUSED[name]
    made = job_of(start, config, rows)
    workspace = Recording(tmp_path)
    with pytest.raises(error, match=message):
        engine.train(made, workspace)
    assert not workspace.metric("loss")
