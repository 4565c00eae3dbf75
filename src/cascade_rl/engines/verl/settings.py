"""The one table from our settings to verl's: what each stage, and each cluster, means over there.

The rule: left is verl's key, right where its value comes from. A key that begins with `+` is one
that verl's own configuration does not have. The blocks `algorithm` and `actor_rollout_ref` of a
cascade come after the table and win over what is said of the machine here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from cascade_rl.config import SFTStageConfig
from cascade_rl.engines.verl import OWN_RAY
from cascade_rl.engines.verl.job import AGENTS, CHECKPOINTS, AnyJob, Job

VERL = "0.9.1"
TRAINER_MODE = "cascade_sync"
MAIN = "cascade_rl.engines.verl.main"
RANKS = "cascade_rl.engines.verl.ranks"
SFT = "cascade_rl.engines.verl.sft"
REWARD_MODEL = "cascade_rl.engines.verl.reward_model"
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
        "trainer.v1.sampler.custom_sampler.path": "pkg://cascade_rl.engines.verl.rounds",
        "trainer.v1.sampler.custom_sampler.name": "RoundBuffer",
        f"{MODEL}.path": str(job.start),
    }


def machine_settings(job: Job) -> dict[str, Any]:
    """The cluster, and how the job runs on it."""
    verl = job.verl
    return {
        "trainer.nnodes": verl.nodes,
        "trainer.n_gpus_per_node": verl.gpus_per_node,
        "trainer.total_epochs": 1,
        "trainer.val_before_train": False,
        **bookkeeping(job),
        "reward.num_workers": verl.verifier_workers,
        f"{ACTOR}.strategy": "fsdp2",
        f"{ACTOR}.use_dynamic_bsz": True,
        f"{ACTOR}.ppo_max_token_len_per_gpu": most_tokens(job),
        f"{ACTOR}.fsdp_config.model_dtype": "fp32",  # the masters
        f"{ACTOR}.fsdp_config.param_offload": verl.offload,
        f"{ACTOR}.fsdp_config.optimizer_offload": verl.offload,
        f"{ROLLOUT}.log_prob_use_dynamic_bsz": True,
        f"{ROLLOUT}.name": rollout_of(job),
        f"{ROLLOUT}.tensor_model_parallel_size": verl.tensor_parallel,
        f"{ROLLOUT}.gpu_memory_utilization": verl.gpu_memory,
        f"{ROLLOUT}.max_num_seqs": verl.sample_batch,
        f"{ROLLOUT}.calculate_log_probs": True,
        **longer_window(job),
        f"{MODEL}.enable_gradient_checkpointing": verl.gradient_checkpointing,
        **precision(job),
        **(cpu_settings(job) if verl.platform == "cpu" else {}),
        **ray_settings(job),
    }


def most_tokens(job: Job) -> int:
    """Tokens of a micro-batch: verl cuts no row and refuses one that is longer than its limit.

    The limits of its passes for log-probabilities, the reference's too, follow this one.
    """
    stage = job.config
    return max(job.verl.micro_batch_tokens, stage.max_prompt_tokens + stage.max_new_tokens)


def longer_window(job: Job) -> dict[str, Any]:
    """The samplers' window where a benchmark's answers may be longer than the stage's."""
    stage = job.config
    if job.longest_answer <= stage.max_new_tokens:
        return {}
    return {f"{ROLLOUT}.max_model_len": stage.max_prompt_tokens + job.longest_answer}


def bookkeeping(job: AnyJob) -> dict[str, Any]:
    """Names, folders, and the checkpoint to go on from; the same for both of verl's trainers."""
    folder = str(job.folder)
    return {
        "trainer.test_freq": -1,
        "trainer.logger": ["console"],
        "trainer.project_name": "cascade",
        "trainer.experiment_name": job.config.name.replace("/", "."),
        "trainer.default_local_dir": f"{folder}/{CHECKPOINTS}",
        "trainer.resume_mode": "disable" if job.resume is None else "resume_path",
        "trainer.resume_from_path": None if job.resume is None else str(job.resume),
        "hydra.run.dir": f"{folder}/hydra",
        "hydra.output_subdir": None,
    }


def precision(job: Job) -> dict[str, Any]:
    """The dtype of forward and backward passes and of sampling; sums and masters are float32."""
    found: dict[str, Any] = {f"{ROLLOUT}.dtype": dtype_of(job)}
    for part in (ACTOR, REF):
        found |= mixed(f"{part}.fsdp_config", dtype_of(job))
    return found


def dtype_of(job: AnyJob) -> str:
    """What `dtype: auto` comes to."""
    if job.verl.dtype != "auto":
        return job.verl.dtype
    return "float32" if job.verl.platform == "cpu" else "bfloat16"


def mixed(part: str, dtype: str) -> dict[str, Any]:
    """The dtypes of one of verl's FSDP engines."""
    return {
        f"{part}.dtype": dtype,
        f"+{part}.mixed_precision.param_dtype": "fp32" if dtype == "float32" else "bf16",
        f"+{part}.mixed_precision.reduce_dtype": "fp32",
        f"+{part}.mixed_precision.buffer_dtype": "fp32",
    }


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
    }


def ray_settings(job: Job) -> dict[str, Any]:
    """Which Ray: one that runs, whose workers are told what this process is, or the job's own."""
    if job.verl.ray_address is not None:
        told = {f"+{RAY}.runtime_env.env_vars.{k}": v for k, v in environment(job).items()}
        return {f"+{RAY}.address": job.verl.ray_address, **told}
    if job.verl.platform != "cpu":
        return {}
    return {
        f"+{RAY}.num_gpus": job.verl.ranks,
        f"{RAY}.num_cpus": 64,  # logical ones too
        f"+{RAY}.include_dashboard": False,
    }


def rollout_of(job: Job) -> str:
    """Verl's name of the sampler; on processors ours, whichever it runs."""
    return "transformers" if job.verl.platform == "cpu" else "vllm"


def sft_settings(job: AnyJob) -> dict[str, Any]:
    """What verl's SFT trainer is told. Rows, their order and the rates are our dataset's."""
    stage, verl = job.config, job.verl
    assert isinstance(stage, SFTStageConfig)
    found = {
        # the stage
        "data.train_batch_size": stage.train_batch_size,
        "trainer.total_training_steps": stage.total_training_steps,
        "trainer.total_epochs": 1,
        "trainer.save_freq": stage.save_every,
        "optim.lr": stage.learning_rate,
        "optim.lr_scheduler_type": "constant",  # the trainer sets the rate of each step
        "optim.betas": list(stage.optimizer.betas),
        "optim.weight_decay": stage.optimizer.weight_decay,
        "optim.clip_grad": stage.optimizer.grad_clip,
        "+optim.override_optimizer_config.eps": stage.optimizer.eps,
        # our parts
        "+data.cascade_job": str(job.folder),
        "data.custom_cls.path": f"pkg://{SFT}",
        "data.custom_cls.name": "Conversations",
        "data.train_files": str(job.folder),
        "model.path": str(job.start),
        # the machine
        "data.pad_mode": "no_padding",
        "data.use_dynamic_bsz": True,
        "data.max_token_len_per_gpu": max(verl.micro_batch_tokens, stage.max_tokens),
        "data.num_workers": 0,
        "engine.strategy": "fsdp2",
        "engine.model_dtype": "fp32",  # the masters
        "engine.param_offload": verl.offload,
        "engine.optimizer_offload": verl.offload,
        "model.enable_gradient_checkpointing": verl.gradient_checkpointing,
        **mixed("engine", dtype_of(job)),
        **bookkeeping(job),
    }
    if verl.platform == "cpu":
        found |= {
            "trainer.device": "cpu",
            "engine.use_torch_compile": False,
            "model.use_remove_padding": False,  # it needs flash-attention
            "+model.override_config.attn_implementation": "sdpa",
        }
    return found


def settings(job: Job) -> dict[str, Any]:
    """All of it, in the order in which it is given to verl."""
    found = {**stage_settings(job), **our_parts(job), **machine_settings(job)}
    known = {key.lstrip("+"): key for key in found}
    for key, value in (job.blocks or {}).items():
        found[known.get(key, f"++{key}")] = value
    return found


def command(job: AnyJob) -> list[str]:
    """The command line of the stage's job."""
    if isinstance(job, Job):
        return [sys.executable, "-m", MAIN, *_given(settings(job))]
    ranks = [sys.executable, "-m", RANKS, str(job.verl.ranks)]
    if isinstance(job.config, SFTStageConfig):
        return [*ranks, SFT, *_given(sft_settings(job))]
    return [*ranks, REWARD_MODEL, str(job.folder)]


def _given(found: Mapping[str, Any]) -> list[str]:
    return [f"{key}={hydra(value)}" for key, value in found.items()]


def environment(job: AnyJob) -> dict[str, str]:
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
        }
    if job.verl.platform == "cpu" and job.verl.ray_address is None:
        found |= {
            OWN_RAY: "1",
            "RAY_AUTH_MODE": "disabled",  # a cluster of this machine, for this job
            "RAY_enable_worker_prestart": "0",
            "RAY_prestart_worker_first_driver": "0",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",  # `forks` has to have none
        }
    if job.verl.platform == "cpu" and not isinstance(job, Job):
        found["CUDA_VISIBLE_DEVICES"] = ""
    return found


def hydra(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(hydra, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{hydra(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str) and _BARE.match(value) and value.lower() not in _NO_TEXT:
        return value
    return json.dumps(value)


_BARE = re.compile(r"[A-Za-z_][\w-]*\Z")
_NO_TEXT = {"true", "false", "null", "nan", "inf"}


METRICS = {
    # ours                     verl's
    "loss": "actor/pg_loss",
    "grad_norm": "actor/grad_norm",
    "kl": "actor/kl_loss",
    "clip_fraction": "actor/pg_clipfrac",
    "tokens_per_second": "perf/throughput",
}
SECONDS = {"sample": "gen", "update": "update_actor", "save": "save_checkpoint"}


def metrics_of(metrics: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, float]:
    """A step's metrics under our names."""
    found = {ours: float(metrics[theirs]) for ours, theirs in METRICS.items() if theirs in metrics}
    timed = {f"seconds/{a}": float(seconds[b]) for a, b in SECONDS.items() if b in seconds}
    return found | timed
