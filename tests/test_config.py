from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cascade_rl.blocks import with_blocks
from cascade_rl.config import CascadeRLConfig, StageConfig, create_default_cascade_stages
from cascade_rl.configfile import load_config, parse_config, resolved_yaml
from cascade_rl.errors import ConfigError

STAGE: dict[str, Any] = {"name": "math_rl", "domain": "math", "train_files": ["a.parquet"]}


def config_of(*stages: dict[str, Any], **values: Any) -> CascadeRLConfig:
    return parse_config({"stages": [{**STAGE, **s} for s in stages] or [STAGE], **values})


def test_the_default_stages_are_the_founding_recipes_five_in_order() -> None:
    stages = create_default_cascade_stages()
    assert [s.name for s in stages] == ["rlhf", "if_rl", "math_rl", "code_rl", "swe_rl"]
    assert [s.domain for s in stages] == ["chat", "instruction_following", "math", "code", "swe"]


def test_class_defaults_are_the_founding_recipes_table() -> None:
    stage = StageConfig(**STAGE)
    assert (stage.train_batch_size, stage.rollout_n, stage.learning_rate) == (128, 8, 2e-6)
    assert (stage.temperature, stage.top_p, stage.max_new_tokens) == (0.6, 0.95, 65536)
    assert (stage.kl_coef, stage.entropy_coef, stage.total_training_steps) == (0.0, 0.0, 800)
    assert stage.optimizer.betas == (0.9, 0.95)
    assert stage.optimizer.grad_clip == 1.0


def test_the_founding_yaml_loads_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "cascade.yaml"
    path.write_text(
        """
stages:
  - name: math_rl
    domain: math
    train_files: [data/math_train.parquet]
    val_files: [data/math_val.parquet]
    total_training_steps: 500
    train_batch_size: 128
    rollout_n: 8
    learning_rate: 2e-6
    temperature: 0.6
    top_p: 0.95
    max_new_tokens: 16384
algorithm:
  adv_estimator: grpo
  use_kl_in_reward: false
  norm_adv_by_std_in_grpo: true
actor_rollout_ref:
  actor:
    use_kl_loss: false
    kl_loss_coef: 0.0
  rollout:
    n: 8  # Group size for GRPO
    temperature: 0.6
    top_p: 0.95
"""
    )
    config = with_blocks(load_config(path))
    [stage] = config.stages
    assert isinstance(stage, StageConfig)
    assert stage.learning_rate == 2e-6
    assert stage.train_files == (str(tmp_path / "data/math_train.parquet"),)


def test_a_resolved_config_reads_back_equal() -> None:
    sft = {"name": "sft", "kind": "sft", "train_files": ["s.jsonl"]}
    config = parse_config({"stages": [sft, STAGE], "chat": {"system": None}})
    assert parse_config(yaml.safe_load(resolved_yaml(config))) == config


def test_a_setting_on_a_family_reaches_all_its_stages_and_no_other() -> None:
    config = parse_config(
        config_of(
            {"name": "math_rl/24k"}, {"name": "math_rl/32k"}, {"name": "code_rl"}
        ).model_dump(),
        ["math_rl.rollout_n=4", "math_rl/32k.optimizer.grad_clip=0.5", "seed=7"],
    )
    stages = {s.name: s for s in config.stages if isinstance(s, StageConfig)}
    assert [stages[n].rollout_n for n in stages] == [4, 4, 8]
    assert stages["math_rl/32k"].optimizer.grad_clip == 0.5
    assert stages["math_rl/24k"].optimizer.grad_clip == 1.0
    assert config.seed == 7


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"rollout_n": 1}, "stage math_rl rollout_n: rollout_n is 1; a group needs at least 2"),
        ({"rolout_n": 8}, "did you mean 'rollout_n'?"),
        ({"learning_rate": "fast"}, "learning_rate: expected a number (found 'fast')"),
        ({"total_training_steps": 1.5}, "expected a whole number"),
        ({"domain": "maths"}, "'maths'"),
        ({"modes": {"think": 0.4, "no_think": 0.4}}, "add up to 0.8"),
        ({"until": {"min_steps": 5}}, "exactly one of"),
        ({"train_batch_size": 3, "updates_per_batch": 2}, "does not divide"),
        ({"kind": "ppo"}, "ppo"),
    ],
)
def test_a_bad_stage_is_told_by_name_with_what_was_found(stage: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_of(stage)
    assert said in str(error.value)


def test_unknown_stages_in_settings_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'math_rl'"):
        parse_config(config_of().model_dump(), ["mathrl.rollout_n=4"])


def test_two_stages_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="used twice"):
        config_of({}, {})


def test_a_stages_own_value_wins_over_the_block() -> None:
    block = {"rollout": {"n": 16, "temperature": 1.0}}
    [stage] = with_blocks(config_of({"rollout_n": 4}, actor_rollout_ref=block)).stages
    assert isinstance(stage, StageConfig)
    assert (stage.rollout_n, stage.temperature) == (4, 1.0)


def test_settings_leave_to_the_blocks_what_they_do_not_name() -> None:
    values = {"stages": [STAGE], "actor_rollout_ref": {"rollout": {"n": 16, "temperature": 1.0}}}
    [stage] = with_blocks(parse_config(values, ["seed=7", "math_rl.rollout_n=4"])).stages
    assert isinstance(stage, StageConfig)
    assert (stage.rollout_n, stage.temperature) == (4, 1.0)


def test_a_local_stage_refuses_a_verl_only_setting_by_name() -> None:
    config = config_of(actor_rollout_ref={"actor": {"strategy": "fsdp2"}})
    with pytest.raises(ConfigError, match=r"actor_rollout_ref\.actor\.strategy"):
        with_blocks(config)


def test_a_missing_config_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cascade init"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("reward", [{"judge_url": "http://a/v1"}, {"judge_model": "m"}])
def test_a_judges_server_and_model_go_together(reward: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="give both or none"):
        config_of({"reward": reward})


def test_a_stage_has_one_judge() -> None:
    server = {"judge_url": "http://a/v1", "judge_model": "m"}
    with pytest.raises(ConfigError, match="two judges"):
        config_of({"inputs": {"judge": "judge"}, "reward": server})
