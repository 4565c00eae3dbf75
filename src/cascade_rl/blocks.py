"""The founding recipe's `algorithm:` and `actor_rollout_ref:` blocks, as stage settings.

One rule: a value a stage sets itself wins over the block. Both engines read the keys of this
table; the others go to verl alone, and a local stage refuses them by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.errors import ConfigError

SETTINGS = {
    "algorithm.norm_adv_by_std_in_grpo": "norm_adv_by_std",
    "actor_rollout_ref.actor.kl_loss_coef": "kl_coef",
    "actor_rollout_ref.actor.entropy_coeff": "entropy_coef",
    "actor_rollout_ref.actor.loss_agg_mode": "loss_aggregation",
    "actor_rollout_ref.actor.clip_ratio_low": "clip_ratio_low",
    "actor_rollout_ref.actor.clip_ratio_high": "clip_ratio_high",
    "actor_rollout_ref.actor.optim.lr": "learning_rate",
    "actor_rollout_ref.rollout.n": "rollout_n",
    "actor_rollout_ref.rollout.temperature": "temperature",
    "actor_rollout_ref.rollout.top_p": "top_p",
    "actor_rollout_ref.rollout.top_k": "top_k",
    "actor_rollout_ref.rollout.response_length": "max_new_tokens",
}
FIXED: dict[str, Any] = {
    "algorithm.adv_estimator": "grpo",
    "algorithm.use_kl_in_reward": False,
}
KL_SWITCH = "actor_rollout_ref.actor.use_kl_loss"


def with_blocks(config: CascadeRLConfig) -> CascadeRLConfig:
    """The config with every RL stage's unset values filled from the blocks.

    Raises ConfigError where a stage of the local engine meets a key it does not know.
    """
    given = dict(_flat("algorithm", config.algorithm))
    given |= dict(_flat("actor_rollout_ref", config.actor_rollout_ref))
    if not given:
        return config
    for key, value in FIXED.items():
        if given.get(key, value) != value:
            raise ConfigError(f"{key} is {given[key]!r}; Cascade RL is GRPO, expected {value!r}")
    if any((s.engine or config.engine) == "local" for s in config.stages):
        unknown = sorted(set(given) - {*SETTINGS, *FIXED, KL_SWITCH})
        if unknown:
            raise ConfigError(
                f"{unknown[0]} is a verl setting that the local engine does not know",
                hint="remove it, or run on verl:  --engine verl",
            )
    filled = {SETTINGS[key]: value for key, value in given.items() if key in SETTINGS}
    if given.get(KL_SWITCH) is False:
        filled["kl_coef"] = 0.0
    stages = [
        _filled(s, filled) if isinstance(s, StageConfig) else s.model_dump(exclude_unset=True)
        for s in config.stages
    ]
    return CascadeRLConfig.model_validate(
        {**config.model_dump(exclude_unset=True), "stages": stages}
    )


def own_blocks(config: CascadeRLConfig) -> dict[str, Any]:
    """What the blocks say that is no stage setting: verl's own keys, dotted."""
    given = dict(_flat("algorithm", config.algorithm))
    given |= dict(_flat("actor_rollout_ref", config.actor_rollout_ref))
    known = {*SETTINGS, *FIXED, KL_SWITCH}
    return {key: value for key, value in given.items() if key not in known}


def _filled(stage: StageConfig, filled: Mapping[str, Any]) -> dict[str, Any]:
    return {**filled, **stage.model_dump(exclude_unset=True)}


def _flat(prefix: str, block: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}", value
