"""Dolci-Think-RL one domain at a time, with the RL settings of Olmo 3 Think 7B.

Sampling, batch and loss are those of Olmo 3 (arXiv 2512.13961, and open-instruct's launch script
`scripts/train/olmo3/7b_think_rl.sh`). One surprise: Olmo 3 trains on all domains at once, and the
order, with one pass over each, is ours: that of Nemotron-Cascade. Instructions are right only where
all of them are followed; open-instruct gives the share.

The rows are what `cascade data prepare DOLCI --out data --split_by_domain` writes, less those that
more than 62.5 % of attempts solve (`cascade data curate --preset olmo3`), and chat without math and
code (`--preset rlhf_prompts`).
"""

from __future__ import annotations

import math
from typing import Any, Literal

from cascade_rl.config import (
    BenchmarkConfig,
    CascadeRLConfig,
    ChatConfig,
    FilterConfig,
    ModeShares,
    RewardConfig,
    StageConfig,
)
from cascade_rl.presets.saving import saving

REWARD_MODEL_URL = "http://127.0.0.1:8001/score"
"""Olmo's judge is Qwen3-32B, asked for 1 to 10; here a reward model is served."""
PROMPTS = 64
ROWS = {
    "chat": 7_106 + 7_109 + 6_421,
    "instruction_following": 29_813,
    "math": 15_000 + 6_598 + 2_999 + 2_999 + 2_584,
    "code": 10_107 + 6_272 + 3_000 + 1_121 + 657 + 228,
}
"""Rows of the 7B revision: 102,014 in all."""


def dolci_think() -> CascadeRLConfig:
    """Chat, instructions, math and code of Dolci-Think-RL-7B, 64 prompts of 8 completions."""
    scored = RewardConfig(kind="preference", model_url=REWARD_MODEL_URL)
    verified = RewardConfig(kind="verifier")
    return CascadeRLConfig(
        name="dolci-think",
        preset="dolci-think",
        model="allenai/Olmo-3-7B-Think-DPO",
        stages=saving(  # save_every is ours
            (
                _stage("rlhf", "chat", scored),
                _stage("if_rl", "instruction_following", verified),
                _stage("math_rl", "math", verified),
                _stage("code_rl", "code", verified),
            )
        ),
        benchmarks=_benchmarks(),
        chat=ChatConfig(template="own", system=None),  # it opens the thought; no mode is flagged
    )


def _stage(
    name: str,
    domain: Literal["chat", "instruction_following", "math", "code"],
    reward: RewardConfig,
) -> StageConfig:
    return StageConfig(
        name=name,
        domain=domain,
        train_files=(f"data/{domain}_train.parquet",),
        total_training_steps=math.ceil(ROWS[domain] / PROMPTS),  # ours: one pass
        train_batch_size=PROMPTS,
        rollout_n=8,
        learning_rate=1e-6,  # constant
        temperature=1.0,
        top_p=1.0,  # ours: the script leaves it out
        max_prompt_tokens=2048,
        max_new_tokens=32_768,
        modes=ModeShares(think=0.0, no_think=0.0),
        overlong="zero",  # mask_truncated_completions False
        # groups without a gradient go and others take their place; chat has no right and wrong
        filter=FilterConfig(kind="none" if domain == "chat" else "batch"),
        updates_per_batch=1,  # num_mini_batches 1
        clip_ratio_high=0.272,  # asymmetric; with one update a batch nothing is clipped
        kl_coef=0.0,  # beta
        loss_aggregation="token-mean",
        norm_adv_by_std=False,  # centered
        reward=reward.model_copy(update={"language_penalty": False}),
    )


def _benchmarks() -> tuple[BenchmarkConfig, ...]:
    """Ours: 64 held-out rows a domain, sampled as in training."""
    protocol: dict[str, Any] = {"limit": 64, "k": 4, "max_new_tokens": 32_768, "greedy": False}
    return tuple(
        BenchmarkConfig(name=domain, file=f"data/{domain}_val.parquet", **protocol)
        for domain in ("instruction_following", "math", "code")
    )
