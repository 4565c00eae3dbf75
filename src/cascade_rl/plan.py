"""A config becomes a graph of stages with keys, and every edge is checked before anything trains.

One rule: the key of a stage covers what can change its weights and nothing else, so changing a
tracker or a benchmark reuses everything and changing a learning rate retrains from there on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cascade_rl import curriculum, mini, verifiers
from cascade_rl.blocks import with_blocks
from cascade_rl.config import (
    BUILTIN,
    AnyStage,
    BenchmarkConfig,
    CascadeRLConfig,
    SFTStageConfig,
    StageConfig,
)
from cascade_rl.data.rows import content_digest
from cascade_rl.digests import digest_json, weights_digest
from cascade_rl.engines import base as engine_base
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.evaluation.benchmarks import protocol_digest, verifier_of
from cascade_rl.graph import Plan, PlannedStage, StartModel
from cascade_rl.needed import refuse_missing
from cascade_rl.overlap import check_overlap
from cascade_rl.rewards import combine

Split = Literal["val", "test"]
Protocols = list[tuple[BenchmarkConfig, str]]

NOT_WEIGHTS = {
    "name", "parent", "inputs", "engine", "seed", "train_files", "val_files", "gate",
    "eval_every", "save_every", "infra_limit",
}  # fmt: skip
"""Stage settings that are in the key in another form, or cannot change weights."""
NOT_NUMERIC = {"verifier_workers", "verifier_deadline_s", "sampler_memory"}
NOT_VERL_NUMERIC = NOT_NUMERIC | {"ray_address", "gpu_memory", "heartbeat_s", "retries", "offload"}


def make_plan(config: CascadeRLConfig, rolled_back: Collection[str] = ()) -> Plan:
    """Stages with keys. A stage whose key was rolled back is skipped and nothing starts from it.

    Raises ConfigError or DataError, naming the edge, before anything is trained.
    """
    config = with_blocks(config)
    refuse_missing(config)
    start = start_model(config)
    planned: list[PlannedStage] = []
    skipped: list[PlannedStage] = []
    previous: PlannedStage | None = None
    replaced: dict[str, str] = {}  # name of a rolled-back stage -> key of what it started from
    for stage in config.stages:
        parent = _parent(config, stage, planned, replaced, previous)
        entry = _planned(config, stage, parent, start, planned)
        if entry.key in rolled_back:
            skipped.append(entry)
            replaced[entry.name] = entry.parent
            continue
        planned.append(entry)
        if entry.role == "policy":
            previous = entry
    digest = digest_json([start.key, [s.key for s in planned]])
    plan = Plan(config, digest, start, tuple(planned), tuple(skipped))
    check_contracts(plan)
    check_overlap(config)
    return plan


def start_model(config: CascadeRLConfig) -> StartModel:
    """The start model; its key is its weights digest, or generator version and seed."""
    source = config.model
    if source == f"{BUILTIN}model":
        key = digest_json([source, mini.VERSION, config.data_seed])
    elif Path(source).is_dir():
        key = weights_digest(Path(source))
    elif source.startswith((".", "/", "~", BUILTIN)):
        raise ConfigError(
            f"model {source!r} is not a directory",
            hint="expected a Hugging Face model directory, a hub name, or mini:model",
        )
    else:
        key = digest_json(["hub", source])
    return StartModel(key, source, config.data_seed)


def protocols(config: CascadeRLConfig, split: Split = "val") -> Protocols:
    """Every benchmark of the split with its protocol's digest: problems, judge, sampling, template.

    A benchmark without a test file is left out of the test split.
    """
    found = []
    version = digest_json([verifiers.VERIFIER_VERSIONS, _numerics(config)])
    for benchmark in config.benchmarks:
        verifier_of(benchmark)  # an unknown verifier is said before anything trains
        if split == "test":
            if benchmark.test_file is None:
                continue
            benchmark = benchmark.model_copy(
                update={"file": benchmark.test_file, "limit": benchmark.test_limit}
            )
        rows = rows_digest([benchmark.file], config.data_seed)
        found.append((benchmark, protocol_digest(benchmark, rows, version, config.chat)))
    return found


def rows_digest(files: Sequence[str], data_seed: int) -> str:
    """Digest of the rows of files in order; built-in rows by generator version and seed."""
    return digest_json(
        [
            [name, mini.VERSION, data_seed]
            if name.startswith(BUILTIN)
            else content_digest(_existing(name))
            for name in files
        ]
    )


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        raise DataError(
            f"{path} does not exist; a benchmark of this config reads it",
            hint="make it with  cascade data prepare,  or point test_file at the right place",
        )
    return path


def _parent(
    config: CascadeRLConfig,
    stage: AnyStage,
    planned: Sequence[PlannedStage],
    replaced: Mapping[str, str],
    previous: PlannedStage | None,
) -> str | None:
    """Key of the stage it starts from; None means the start model."""
    if stage.parent is None:
        return previous.key if previous else None
    if stage.parent == "start":
        return None
    if stage.parent in replaced:
        return replaced[stage.parent]
    found = [s for s in planned if s.name == stage.parent]
    if not found:
        config.stage(stage.parent)  # raises for a name that nothing has
        raise ConfigError(
            f"stage {stage.name}: its parent {stage.parent} comes after it",
            hint="move the parent before it",
        )
    if found[0].role != "policy":
        raise ConfigError(
            f"stage {stage.name}: its parent {stage.parent} is a {found[0].role}, not a policy",
            hint=f"expected a policy stage; to score with it use  inputs: {{{found[0].role}: ...}}",
        )
    return found[0].key


def _planned(
    config: CascadeRLConfig,
    stage: AnyStage,
    parent: str | None,
    start: StartModel,
    planned: Sequence[PlannedStage],
) -> PlannedStage:
    by_key = {s.key: s for s in planned}
    origin = by_key.get(parent or "")
    inputs = _inputs(stage, planned)
    carries = (
        origin is not None
        and origin.config.family == stage.family
        and origin.config.kind == stage.kind
        and stage.optimizer.state == "carry"
    )
    seed = config.seed if stage.seed is None else stage.seed
    engine = stage.engine or config.engine
    rows = rows_digest(stage.train_files, config.data_seed)
    covered = {
        "name": stage.name,
        "seed": seed,
        "config": stage.model_dump(mode="json", exclude=NOT_WEIGHTS),
        "parent": parent or start.key,
        "carries": carries,
        "inputs": inputs,
        "rows": rows,
        "chat": config.chat.model_dump(mode="json"),
        "verifiers": verifiers.VERIFIER_VERSIONS if stage.kind == "rl" else None,
        "rewards": combine.VERSION if stage.kind == "rl" else None,
        "curriculum": curriculum.VERSION,
        "engine": engine,
        "numerics": _numerics(config) if engine == "local" else _verl_numerics(config),
        "blocks": [dict(config.algorithm), dict(config.actor_rollout_ref)],
    }
    return PlannedStage(
        name=stage.name,
        key=digest_json(covered),
        config=stage,
        engine=engine,
        seed=seed,
        parent=parent or start.key,
        inputs=inputs,
        carries=carries,
        rows_digest=rows,
    )


def _numerics(config: CascadeRLConfig) -> dict[str, Any]:
    settings = config.local.model_dump(mode="json", exclude=NOT_NUMERIC)
    return settings | {"version": engine_base.VERSION}


def _verl_numerics(config: CascadeRLConfig) -> dict[str, Any]:
    settings = config.verl.model_dump(mode="json", exclude=NOT_VERL_NUMERIC)
    return settings | {"version": engine_base.VERL_VERSION}


def _inputs(stage: AnyStage, planned: Sequence[PlannedStage]) -> dict[str, str]:
    """Keys of the reward model and judge that an RL stage reads."""
    if not isinstance(stage, StageConfig):
        return {}
    found: dict[str, str] = {}
    for role, name in stage.inputs.items():
        match = [s for s in planned if s.name == name]
        if not match:
            known = [s.name for s in planned if s.role == role]
            raise ConfigError(
                f"stage {stage.name}: its {role} {name!r} is no stage before it",
                hint=f"{role} stages before it: {', '.join(known) or 'none'}",
            )
        if match[0].role != role:
            raise ConfigError(
                f"stage {stage.name}: its {role} {name!r} has role {match[0].role}",
                hint=f"set  role: {role}  on that stage, or name another",
            )
        found[role] = match[0].key
    return found


# --- contracts --------------------------------------------------------------------------------


def check_contracts(plan: Plan) -> None:
    """Refuse an edge that a stage's promises do not support. Raises ConfigError."""
    config = plan.config
    context = context_length(plan.start)
    for stage in plan.stages:
        if isinstance(stage.config, StageConfig):
            _check_reward(stage.config)
            _check_modes(config, stage.config)
            _check_length(stage.config, context)
        elif isinstance(stage.config, SFTStageConfig) and context:
            _check_tokens(stage.name, "max_tokens", stage.config.max_tokens, context)
    if config.chat.template == "own":
        _check_own_template(plan.start)


def _check_reward(stage: StageConfig) -> None:
    kind = stage.reward_kind
    if kind in ("preference", "gated_if") and not stage.has_reward_model:
        raise ConfigError(
            f"stage {stage.name}: reward {kind} needs a reward model, and inputs has none",
            hint="train one in a stage of kind reward_model and name it:  "
            "inputs: {reward_model: NAME}\n"
            "or serve one, cascade serve-rm MODEL, and name it:  reward: {model_url: URL}",
        )
    judged = kind == "swe" and stage.reward.swe_similarity != "lexical"
    if judged and "judge" not in stage.inputs and stage.reward.judge_url is None:
        raise ConfigError(
            f"stage {stage.name}: swe_similarity {stage.reward.swe_similarity} needs a judge",
            hint="name one:  inputs: {judge: NAME},  or say  reward: {swe_similarity: lexical}",
        )


def _check_modes(config: CascadeRLConfig, stage: StageConfig) -> None:
    flagged = stage.modes.think + stage.modes.no_think > 0
    if config.chat.template == "own" and flagged:
        raise ConfigError(
            f"stage {stage.name} asks for thinking modes, which chat.template: own has no flag for",
            hint="set  modes: {think: 0, no_think: 0},  or use  chat: {template: cascade}",
        )


def _check_length(stage: StageConfig, context: int | None) -> None:
    if context is not None:
        _check_tokens(stage.name, "max_new_tokens", stage.max_new_tokens, context)


def _check_tokens(stage: str, key: str, value: int, context: int) -> None:
    if value > context:
        raise ConfigError(
            f"stage {stage}: {key} is {value}, but the model's context is {context} tokens",
            hint=f"set it:  --set {stage}.{key}={context // 2}",
        )


def context_length(start: StartModel) -> int | None:
    """Tokens of context by the start model's config.json; None where it is not local."""
    path = Path(start.source) / "config.json"
    if not path.exists():
        return None
    value = json.loads(path.read_text()).get("max_position_embeddings")
    return None if value is None else int(value)


def _check_own_template(start: StartModel) -> None:
    folder = Path(start.source)
    if not folder.is_dir():
        return
    settings = folder / "tokenizer_config.json"
    inside = settings.exists() and "chat_template" in json.loads(settings.read_text())
    if not inside and not (folder / "chat_template.jinja").exists():
        raise ConfigError(
            f"chat.template is own, but the tokenizer in {folder} has no chat template",
            hint="use  chat: {template: cascade},  which installs ours",
        )
