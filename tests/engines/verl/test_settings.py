"""The table: what a stage says is what verl is told, in verl's own keys."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from cascade_rl.config import SFTStageConfig, StageConfig, VerlConfig
from cascade_rl.engines.verl.job import (
    AnyJob,
    Job,
    all_rows,
    read_any_job,
    read_job,
    read_rows,
    write_job,
)
from cascade_rl.engines.verl.settings import (
    RANKS,
    REWARD_MODEL,
    SFT,
    command,
    environment,
    hydra,
    settings,
    sft_settings,
    stage_settings,
)
from cascade_rl.plan import NOT_WEIGHTS
from tests.engines.helpers import CHAT, comma_problems, pairs, reward_model_stage, sft_stage
from tests.engines.verl.helpers import VERL, verl_job

CONFIG = "verl.trainer.config"
CHANGED: dict[str, Any] = {
    "total_training_steps": 7, "train_batch_size": 8, "learning_rate": 3e-5, "rollout_n": 2,
    "max_prompt_tokens": 77, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "max_new_tokens": 33,
    "updates_per_batch": 2, "clip_ratio_low": 0.1, "clip_ratio_high": 0.3, "kl_coef": 0.02,
    "entropy_coef": 0.01, "norm_adv_by_std": False,
    "optimizer": {"betas": (0.8, 0.9), "eps": 1e-7, "weight_decay": 0.1, "grad_clip": 0.5},
}  # fmt: skip
"""Stage settings that verl is told."""
OURS = {
    "kind", "role", "domain", "modes", "overlong", "filter", "loss_aggregation", "until",
    "entropy_alarm", "mismatch", "reward", "verifier_options", "lora",
}  # fmt: skip
"""Those that our own parts read, inside the job, or that are refused before it starts."""


def composed(job: Job) -> Any:
    """The job's command line, as verl's Hydra reads it: an unknown key raises."""
    given = [part for part in command(job)[3:] if not part.startswith("hydra.")]
    with warnings.catch_warnings(), initialize_config_module(CONFIG, version_base="1.3"):
        return compose("ppo_trainer", given)


def test_verl_knows_every_key_of_the_table(tmp_path: Path) -> None:
    config = composed(verl_job(tmp_path, **CHANGED))
    found = OmegaConf.select(config, "actor_rollout_ref.actor")
    assert found.optim.lr == 3e-5 and list(found.optim.betas) == [0.8, 0.9]
    assert found.ppo_mini_batch_size == 4 and found.clip_ratio_high == 0.3
    assert found.use_kl_loss and found.kl_loss_coef == 0.02
    assert config.actor_rollout_ref.rollout.n == 2 and config.data.max_response_length == 33
    assert config.data.cascade_job == str(tmp_path)
    assert config.trainer.n_gpus_per_node == 2 and config.trainer.device == "cpu"


def test_every_setting_of_a_stage_is_verls_or_ours() -> None:
    fields = set(StageConfig.model_fields) - NOT_WEIGHTS
    assert fields == set(CHANGED) | OURS


SFT_CHANGED: dict[str, Any] = {
    "total_training_steps": 7, "train_batch_size": 8, "learning_rate": 3e-5, "max_tokens": 20000,
    "optimizer": CHANGED["optimizer"],
}  # fmt: skip
SFT_OURS = {"kind", "role", "max_prompt_tokens", "lora"}
"""`max_prompt_tokens` says nothing of SFT; `lora` is refused."""


def sft_job(folder: Path, verl: VerlConfig = VERL, **values: Any) -> AnyJob:
    return AnyJob(folder, "key", 0, sft_stage(**values), CHAT, verl, folder / "start")


def test_verls_sft_trainer_knows_every_key_of_its_table(tmp_path: Path) -> None:
    line = command(sft_job(tmp_path, **SFT_CHANGED))
    assert line[2:5] == [RANKS, "2", SFT]
    given = [part for part in line[5:] if not part.startswith("hydra.")]
    with warnings.catch_warnings(), initialize_config_module(CONFIG, version_base="1.3"):
        config = compose("sft_trainer_engine", given)
    assert config.data.train_batch_size == 8 and config.trainer.total_training_steps == 7
    assert config.optim.lr == 3e-5 and list(config.optim.betas) == [0.8, 0.9]
    assert config.engine.model_dtype == "fp32" and config.data.max_token_len_per_gpu == 20000


def test_every_setting_of_sft_is_verls_or_ours() -> None:
    assert set(SFTStageConfig.model_fields) - NOT_WEIGHTS == set(SFT_CHANGED) | SFT_OURS


@pytest.mark.parametrize("name", sorted(SFT_CHANGED))
def test_a_changed_setting_reaches_verls_sft_trainer(name: str, tmp_path: Path) -> None:
    before = sft_settings(sft_job(tmp_path))
    assert sft_settings(sft_job(tmp_path, **{name: SFT_CHANGED[name]})) != before


def test_a_reward_model_is_our_learner_on_as_many_ranks(tmp_path: Path) -> None:
    job = AnyJob(tmp_path, "key", 0, reward_model_stage(), CHAT, VERL, tmp_path / "start")
    write_job(job, pairs(3))
    assert command(job)[2:] == [RANKS, "2", REWARD_MODEL, str(tmp_path)]
    again = read_any_job(str(tmp_path))
    assert again == job and not isinstance(again, Job)
    assert all_rows(again, "pair") == pairs(3)


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_a_changed_setting_reaches_verl(name: str, tmp_path: Path) -> None:
    before = stage_settings(verl_job(tmp_path))
    assert stage_settings(verl_job(tmp_path, **{name: CHANGED[name]})) != before


def test_a_cluster_of_gpus_is_told_no_word_of_processors(tmp_path: Path) -> None:
    job = verl_job(tmp_path, VerlConfig(nodes=2, tensor_parallel=4))
    found = settings(job)
    assert found["actor_rollout_ref.rollout.name"] == "vllm"
    assert found["trainer.nnodes"] == 2 and found["trainer.n_gpus_per_node"] == 8
    assert found["actor_rollout_ref.rollout.tensor_model_parallel_size"] == 4
    assert found["actor_rollout_ref.rollout.dtype"] == "bfloat16"
    assert "trainer.device" not in found and "VERL_PLATFORM" not in environment(job)
    config = composed(job)
    assert config.actor_rollout_ref.actor.fsdp_config.model_dtype == "fp32"
    assert config.actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype == "bf16"


@pytest.mark.parametrize(("answer", "most"), [(65536, 8192 + 65536), (1024, 16384)])
def test_a_micro_batch_holds_a_whole_row_in_every_pass(
    answer: int, most: int, tmp_path: Path
) -> None:
    job = verl_job(tmp_path, max_prompt_tokens=8192, max_new_tokens=answer)
    found = composed(job).actor_rollout_ref
    assert found.actor.ppo_max_token_len_per_gpu == most
    assert found.rollout.log_prob_max_token_len_per_gpu == most
    assert found.ref.log_prob_max_token_len_per_gpu == most


def test_the_blocks_of_a_cascade_win_over_the_machine_and_add_to_the_table(tmp_path: Path) -> None:
    job = verl_job(tmp_path)
    blocks = {
        "actor_rollout_ref.rollout.gpu_memory_utilization": 0.8,
        "actor_rollout_ref.actor.fsdp_config.fsdp_size": 2,
    }
    given = Job(job.folder, job.key, 0, job.config, job.chat, VERL, job.start, None, blocks)
    config = composed(given)
    assert config.actor_rollout_ref.rollout.gpu_memory_utilization == 0.8
    assert config.actor_rollout_ref.actor.fsdp_config.fsdp_size == 2


def test_a_stage_goes_on_from_the_checkpoint_it_is_given(tmp_path: Path) -> None:
    job = verl_job(tmp_path)
    saved = tmp_path / "step-000002" / "global_step_2"
    given = Job(job.folder, job.key, 0, job.config, job.chat, VERL, job.start, saved)
    config = composed(given)
    assert config.trainer.resume_mode == "resume_path"
    assert config.trainer.resume_from_path == str(saved)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (None, "null"),
        ([0.9, 0.95], "[0.9,0.95]"),
        ("a/b c", '"a/b c"'),
        (1e9, "1000000000.0"),
        ("math_rl", "math_rl"),
        ("1", '"1"'),
        ("12e4", '"12e4"'),
        ("true", '"true"'),
    ],
)
def test_values_are_written_in_hydras_grammar(value: Any, written: str) -> None:
    assert hydra(value) == written


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = verl_job(tmp_path / "job", **CHANGED)
    problems = comma_problems(5)
    write_job(job, problems)
    again, rows = read_job(str(job.folder)), read_rows(str(job.folder))
    assert again.config == job.config and again.verl == job.verl and again.chat == job.chat
    assert rows.ids == [p.id for p in problems]
    for problem in problems:
        found = rows[problem.id]
        assert (found.prompt, found.reference) == (problem.prompt, problem.reference)
    assert json.loads((job.folder / "agents.yaml").read_text())[0]["name"] == "cascade"
