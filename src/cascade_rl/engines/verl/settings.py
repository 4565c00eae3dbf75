"""The one table from our settings to verl's: what each stage, and each cluster, means over there.

The rule: left is verl's key, right where its value comes from. A key that begins with `+` is one
that verl's own configuration does not have. The blocks `algorithm` and `actor_rollout_ref` of a
cascade come after the table and win over what is said of the machine here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from cascade_rl.engines.verl.job import AGENTS, CHECKPOINTS, Job

VERL = "0.9.1"
TRAINER_MODE = "cascade_sync"
MAIN = "cascade_rl.engines.verl.main"
PLUGIN = "cascade_rl.engines.verl.plugin"
NEVER = 1e9
"""A bound that nothing reaches."""

ACTOR = "actor_rollout_ref.actor"
ROLLOUT = "actor_rollout_ref.rollout"
MODEL = "actor_rollout_ref.model"
REF = "actor_rollout_ref.ref"
RAY = "ray_kwargs.ray_init"


def stage_settings(job: Job) -> dict[str, Any]:
    """What the stage says: everything here can change its weights."""
    stage = job.config
    return {
        # the batch
        "data.train_batch_size": stage.train_batch_size,
        "data.max_prompt_length": stage.max_prompt_tokens,
        "data.max_response_length": stage.max_new_tokens,
        "trainer.total_training_steps": stage.total_training_steps,
        "trainer.save_freq": stage.save_every,
        # sampling
        f"{ROLLOUT}.n": stage.rollout_n,
        f"{ROLLOUT}.temperature": stage.temperature,
        f"{ROLLOUT}.top_p": stage.top_p,
        f"{ROLLOUT}.top_k": stage.top_k or -1,
        # the loss: advantages, weights and masks are ours, and verl's mean is over tokens
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": stage.norm_adv_by_std,
        f"{ACTOR}.loss_agg_mode": "token-mean",
        f"{ACTOR}.ppo_mini_batch_size": stage.train_batch_size // stage.updates_per_batch,
        f"{ACTOR}.ppo_epochs": 1,
        f"{ACTOR}.clip_ratio_low": stage.clip_ratio_low,
        f"{ACTOR}.clip_ratio_high": stage.clip_ratio_high,
        f"{ACTOR}.clip_ratio_c": NEVER,  # no second clip of negative advantages
        f"{ACTOR}.use_kl_loss": stage.kl_coef > 0,
        f"{ACTOR}.kl_loss_coef": stage.kl_coef,
        f"{ACTOR}.kl_loss_type": "low_var_kl",  # k3
        f"{ACTOR}.entropy_coeff": stage.entropy_coef,
        # AdamW; the trainer sets the rate of each step, by our schedule
        f"{ACTOR}.optim.lr": stage.learning_rate,
        f"{ACTOR}.optim.lr_scheduler_type": "constant",
        f"{ACTOR}.optim.betas": list(stage.optimizer.betas),
        f"{ACTOR}.optim.weight_decay": stage.optimizer.weight_decay,
        f"{ACTOR}.optim.clip_grad": stage.optimizer.grad_clip,
        f"+{ACTOR}.optim.override_optimizer_config.eps": stage.optimizer.eps,
    }


def our_parts(job: Job) -> dict[str, Any]:
    """Where verl finds our rows, verifiers, agent loop and trainer."""
    folder = str(job.folder)
    return {
        "+data.cascade_job": folder,
        "data.custom_cls.path": "pkg://cascade_rl.engines.verl.dataset",
        "data.custom_cls.name": "CascadeDataset",
        "data.shuffle": False,
        "data.dataloader_num_workers": 0,
        "data.train_files": f"{folder}/rows.jsonl",
        "data.val_files": f"{folder}/rows.jsonl",
        "reward.custom_reward_function.path": "pkg://cascade_rl.engines.verl.reward",
        "reward.custom_reward_function.name": "judge",
        "+reward.custom_reward_function.reward_kwargs.job": folder,
        f"{ROLLOUT}.agent.default_agent_loop": "cascade",
        f"{ROLLOUT}.agent.agent_loop_config_path": f"{folder}/{AGENTS}",
        "trainer.v1.trainer_mode": TRAINER_MODE,
        f"{MODEL}.path": str(job.start),
    }


def machine_settings(job: Job) -> dict[str, Any]:
    """The cluster, and how the job runs on it."""
    verl, folder = job.verl, str(job.folder)
    resume = {
        "trainer.resume_mode": "disable" if job.resume is None else "resume_path",
        "trainer.resume_from_path": None if job.resume is None else str(job.resume),
    }
    return {
        "trainer.nnodes": verl.nodes,
        "trainer.n_gpus_per_node": verl.gpus_per_node,
        "trainer.total_epochs": 1,
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
        "trainer.logger": ["console"],
        "trainer.project_name": "cascade",
        "trainer.experiment_name": job.config.name.replace("/", "."),
        "trainer.default_local_dir": f"{folder}/{CHECKPOINTS}",
        **resume,
        "reward.num_workers": verl.verifier_workers,
        f"{ACTOR}.strategy": "fsdp2",
        f"{ACTOR}.use_dynamic_bsz": True,
        f"{ACTOR}.ppo_max_token_len_per_gpu": verl.micro_batch_tokens,
        f"{ACTOR}.fsdp_config.model_dtype": "fp32",  # the masters
        f"{ACTOR}.fsdp_config.param_offload": verl.offload,
        f"{ACTOR}.fsdp_config.optimizer_offload": verl.offload,
        f"{ROLLOUT}.log_prob_use_dynamic_bsz": True,
        f"{ROLLOUT}.name": rollout_of(job),
        f"{ROLLOUT}.tensor_model_parallel_size": verl.tensor_parallel,
        f"{ROLLOUT}.gpu_memory_utilization": verl.gpu_memory,
        f"{ROLLOUT}.max_num_seqs": verl.sample_batch,
        f"{ROLLOUT}.calculate_log_probs": True,
        f"{MODEL}.enable_gradient_checkpointing": verl.gradient_checkpointing,
        "hydra.run.dir": f"{folder}/hydra",
        "hydra.output_subdir": None,
        **precision(job),
        **(cpu_settings(job) if verl.platform == "cpu" else {}),
    }


def precision(job: Job) -> dict[str, Any]:
    """The dtype of forward and backward passes and of sampling; sums and masters are float32."""
    dtype = job.verl.dtype
    if dtype == "auto":
        dtype = "float32" if job.verl.platform == "cpu" else "bfloat16"
    short = "fp32" if dtype == "float32" else "bf16"
    found: dict[str, Any] = {f"{ROLLOUT}.dtype": dtype}
    for part in (ACTOR, REF):
        found[f"{part}.fsdp_config.dtype"] = dtype
        found[f"+{part}.fsdp_config.mixed_precision.param_dtype"] = short
        found[f"+{part}.fsdp_config.mixed_precision.reduce_dtype"] = "fp32"
        found[f"+{part}.fsdp_config.mixed_precision.buffer_dtype"] = "fp32"
    return found


def cpu_settings(job: Job) -> dict[str, Any]:
    """A cluster of logical GPUs on this machine's processors."""
    folder = str(job.folder)
    return {
        "trainer.device": "cpu",
        f"{ACTOR}.fsdp_config.use_torch_compile": False,
        f"{REF}.fsdp_config.use_torch_compile": False,
        f"{ACTOR}.use_torch_compile": False,
        f"{MODEL}.use_remove_padding": False,  # it needs flash-attention
        f"+{MODEL}.override_config.attn_implementation": "sdpa",
        f"{ROLLOUT}.free_cache_engine": False,
        f"{ROLLOUT}.enforce_eager": True,
        f"{ROLLOUT}.agent.num_workers": 1,
        f"+{ROLLOUT}.engine_kwargs.transformers.job": folder,
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
        f"+{RAY}.num_gpus": job.verl.ranks,
        f"{RAY}.num_cpus": 64,  # logical ones too
        f"+{RAY}.include_dashboard": False,
    }


def rollout_of(job: Job) -> str:
    """Which sampler verl runs."""
    if job.verl.rollout != "auto":
        return job.verl.rollout
    return "transformers" if job.verl.platform == "cpu" else "vllm"


def settings(job: Job) -> dict[str, Any]:
    """All of it, in the order in which it is given to verl."""
    found = {**stage_settings(job), **our_parts(job), **machine_settings(job)}
    known = {key.lstrip("+"): key for key in found}
    for key, value in (job.blocks or {}).items():
        found[known.get(key, f"++{key}")] = value
    return found


def command(job: Job) -> list[str]:
    """The command line of the stage's job."""
    given = [f"{key}={hydra(value)}" for key, value in settings(job).items()]
    return [sys.executable, "-m", MAIN, *given]


def environment(job: Job) -> dict[str, str]:
    """What the job's processes find in their environment, beside what is there."""
    found = {
        "VERL_USE_EXTERNAL_MODULES": PLUGIN,
        "HYDRA_FULL_ERROR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if job.verl.platform == "cpu":
        found |= {
            "VERL_PLATFORM": "cpu",
            "VERL_ENGINE_DEVICE": "cuda",  # verl knows its FSDP engine by that name
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "disabled",  # a cluster of this machine, for this job
        }
    return found


def hydra(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(hydra, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{hydra(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str) and not value.replace("_", "").replace("-", "").isalnum():
        return json.dumps(value)
    return json.dumps(value) if not isinstance(value, str) else value


METRICS = {
    # ours                     verl's
    "loss": "actor/pg_loss",
    "grad_norm": "actor/grad_norm",
    "kl": "actor/kl_loss",
    "clip_fraction": "actor/pg_clipfrac",
    "tokens_per_second": "perf/throughput",
}
SECONDS = {"sample": "gen", "update": "update_actor", "save": "save_checkpoint", "step": "step"}


def metrics_of(metrics: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, float]:
    """A step's metrics under our names."""
    found = {ours: float(metrics[theirs]) for ours, theirs in METRICS.items() if theirs in metrics}
    timed = {f"seconds/{a}": float(seconds[b]) for a, b in SECONDS.items() if b in seconds}
    return found | timed
