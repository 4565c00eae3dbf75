"""What a job needs, asked before it starts: packages, a cluster, a stage that verl can train."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from cascade_rl.blocks import with_blocks
from cascade_rl.config import AnyStage, CascadeRLConfig, StageConfig, VerlConfig
from cascade_rl.engines.base import StageJob
from cascade_rl.engines.verl.settings import VERL
from cascade_rl.errors import ConfigError
from cascade_rl.types import Problem

NEEDED = ("verl", "ray", "TransferQueue")
ASKING_S = 60.0


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
    check_machine(config.verl)
    families: set[str] = set()
    for stage in with_blocks(config).stages:
        if (stage.engine or config.engine) == "verl":
            check_stage(stage, config.verl, carries=stage.family in families)
        families.add(stage.family)


def check_stage(config: AnyStage, verl: VerlConfig, *, carries: bool) -> None:
    """Refuse what the cluster engine does not train, naming the setting."""
    name = config.name
    local = f"train it on one machine:  --set {name}.engine=local"
    if not isinstance(config, StageConfig):
        raise ConfigError(
            f"stage {name}: verl trains RL stages, this one is {config.kind}", hint=local
        )
    refused = {
        "lora": config.lora is not None,
        "filter.kind: batch": config.filter.kind == "batch",
        "optimizer.moments: int8": config.optimizer.moments != "float32",
        "inputs": bool(config.inputs),
        "eval_every": config.eval_every > 0,
    }
    for what, there in refused.items():
        if there:
            raise ConfigError(f"stage {name}: {what} is not there on verl yet", hint=local)
    if carries and config.optimizer.state == "carry":
        raise ConfigError(
            f"stage {name}: verl does not carry the optimizer's state from stage to stage yet",
            hint=f"start it fresh:  --set {name}.optimizer.state=fresh",
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


def check_rows(job: StageJob, problems: Sequence[Problem]) -> None:
    """Refuse prompts that do not fit, missing reward models, verifiers that cannot run here."""
    from cascade_rl.engines.local.encoder import Encoder, check_prompts, fixed_modes
    from cascade_rl.engines.local.judging import check_reward_model
    from cascade_rl.engines.local.model import context_of, load_tokenizer
    from cascade_rl.verifiers import refuse_what_is_missing

    config = job.config
    assert isinstance(config, StageConfig)
    refuse_what_is_missing(problems)
    check_reward_model(config, problems, config.reward.model_url is not None)
    encoder = Encoder(load_tokenizer(job.start.path, job.chat), job.chat)
    fixed = fixed_modes(problems)
    longest = "no_think" if config.modes.no_think else "think" if config.modes.think else None
    lengths = {
        p.id: len(encoder.prompt(p.prompt, fixed.get(p.id) or longest))  # type: ignore[arg-type]
        for p in problems
    }
    context = context_of(job.start.path)
    what = f"stage {config.name}"
    check_prompts(lengths, config.max_prompt_tokens, config.max_new_tokens, context, what)


def check_machine(verl: VerlConfig) -> None:
    """Refuse a cluster that is missing or too small, by the numbers."""
    check_installed()
    if verl.platform == "cpu":
        if verl.ray_address is not None or verl.nodes > 1:
            raise ConfigError(
                "verl.platform is cpu, which brings its own Ray on this machine",
                hint="leave out verl.ray_address, and set  verl.nodes=1",
            )
        if verl.rollout == "vllm":
            raise ConfigError(
                "verl.rollout is vllm, which is not there on verl.platform cpu yet",
                hint="--set verl.rollout=transformers",
            )
        return
    if verl.rollout == "transformers":
        raise ConfigError(
            "verl.rollout is transformers, which is for verl.platform cpu",
            hint="--set verl.rollout=vllm",
        )
    nodes = ray_nodes(verl.ray_address) if verl.ray_address else [_own_gpus()]
    enough = sorted(nodes, reverse=True)[: verl.nodes]
    if len(enough) < verl.nodes or min(enough) < verl.gpus_per_node:
        seen = ", ".join(map(str, nodes)) or "none"
        raise ConfigError(
            f"{verl.nodes} x {verl.gpus_per_node} GPUs asked, seen by node: {seen}",
            hint="set  verl.nodes  and  verl.gpus_per_node,  or add nodes to the cluster",
        )


def _own_gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


_ASK = (
    "import json, sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR');"
    "print('NODES', json.dumps([int(n['Resources'].get('GPU', 0)) for n in ray.nodes()"
    " if n['Alive']]))"
)


def ray_nodes(address: str) -> list[int]:
    """GPUs of each living node of a cluster; Ray is asked in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK, address],
            capture_output=True,
            text=True,
            timeout=ASKING_S,
            env={**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
        )
    except subprocess.TimeoutExpired:
        done = None
    lines = done.stdout.splitlines() if done is not None else []
    for line in lines:
        if line.startswith("NODES "):
            found: list[int] = json.loads(line.removeprefix("NODES "))
            return found
    why = done.stderr.strip().splitlines()[-1:] if done is not None else ["no answer"]
    raise ConfigError(
        f"Ray at {address} cannot be reached: {' '.join(why)}",
        hint="start it:  ray start --head,  or leave verl.ray_address out",
    )
