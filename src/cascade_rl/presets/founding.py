"""The founding recipe: RLHF, then IF-RL, math, code and SWE RL, at the class defaults.

It reads `data/<domain>_{train,val}.parquet` beside the config and starts from an instruction
model. The reward model of RLHF and IF-RL is trained first. Its math answers are boxed, or said
as in "The answer is 5". Two things are left out on purpose. The recipe names no data for a judge,
so SWE RL compares patches lexically; a judge stage and `swe_similarity: judge` make it semantic.
And credit for close answers is off, for a model learns to live on it: `verifier_options:
{partial_credit: true}`. Where the recipe prints two values (64K tokens in its table, 16,384 in its
example of a math stage) the table's stands.
"""

from __future__ import annotations

from cascade_rl.config import (
    BenchmarkConfig,
    CascadeRLConfig,
    RewardConfig,
    RewardModelStageConfig,
    StageConfig,
    VerifierConfig,
    create_default_cascade_stages,
)
from cascade_rl.presets.saving import saving

BOXED_OR_SAID = VerifierConfig(answer_pattern="boxed_or_phrase")


def founding_recipe() -> CascadeRLConfig:
    """RLHF of 800 steps, then 500 each of IF-RL, math, code and SWE RL."""
    reward_model = RewardModelStageConfig(
        name="reward_model", train_files=("data/preference_train.parquet",)
    )
    return CascadeRLConfig(
        name="founding-recipe",
        preset="founding-recipe",
        model="Qwen/Qwen3-8B",
        stages=saving(  # save_every is ours
            (reward_model, *map(_with_judge, create_default_cascade_stages()))
        ),
        benchmarks=tuple(
            BenchmarkConfig(
                name=domain,
                file=f"data/{domain}_val.parquet",
                temperature=0.6,
                verifier_options=BOXED_OR_SAID if domain == "math" else VerifierConfig(),
            )
            for domain in ("instruction_following", "math", "code")
        ),
    )


def _with_judge(stage: StageConfig) -> StageConfig:
    """The stage with what judges it: a reward model, a pattern of answers, or lexical reward."""
    if stage.domain in ("chat", "instruction_following"):
        return stage.model_copy(update={"inputs": {"reward_model": "reward_model"}})
    if stage.domain == "math":
        return stage.model_copy(update={"verifier_options": BOXED_OR_SAID})
    if stage.domain == "swe":
        return stage.model_copy(update={"reward": RewardConfig(swe_similarity="lexical")})
    return stage
