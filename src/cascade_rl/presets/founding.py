"""The founding recipe: RLHF, then IF-RL, math, code and SWE RL, at the class defaults.

It reads `data/<domain>_{train,val}.parquet` beside the config and starts from an instruction
model. The reward model of RLHF and IF-RL is trained first. The recipe names no data for a judge,
so SWE RL compares patches lexically; a judge stage and `swe_similarity: judge` make it semantic.
"""

from __future__ import annotations

from cascade_rl.config import (
    BenchmarkConfig,
    CascadeRLConfig,
    RewardConfig,
    RewardModelStageConfig,
    StageConfig,
    create_default_cascade_stages,
)


def founding_recipe() -> CascadeRLConfig:
    """RLHF of 800 steps, then 500 each of IF-RL, math, code and SWE RL."""
    reward_model = RewardModelStageConfig(
        name="reward_model", train_files=("data/preference_train.parquet",)
    )
    return CascadeRLConfig(
        name="founding-recipe",
        preset="founding-recipe",
        model="Qwen/Qwen3-8B",
        stages=(reward_model, *map(_with_scorer, create_default_cascade_stages())),
        benchmarks=tuple(
            BenchmarkConfig(name=domain, file=f"data/{domain}_val.parquet", temperature=0.6)
            for domain in ("instruction_following", "math", "code")
        ),
    )


def _with_scorer(stage: StageConfig) -> StageConfig:
    """The stage with the reward model it reads, or with the lexical reward that needs none."""
    if stage.domain in ("chat", "instruction_following"):
        return stage.model_copy(update={"inputs": {"reward_model": "reward_model"}})
    if stage.domain == "swe":
        return stage.model_copy(update={"reward": RewardConfig(swe_similarity="lexical")})
    return stage
