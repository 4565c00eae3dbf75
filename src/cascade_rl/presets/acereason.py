"""AceReason-Nemotron 1.0 (arXiv 2505.16400): math, then code, then math again, 7B and 14B.

One rule: a value without a mark is the paper's; "ours" marks what it does not say, above all the
number of steps, for it trains to convergence and shows curves.

The start models keep their own chat template, which opens the thought, so no mode is flagged.
Rows are read from `data/` beside the config. The harder rows of 24K and 32K are those that the
model of the stage before does not solve too often: train up to there (leave the later stages out
of the YAML; what is trained keeps its key), rate the rows with `cascade data passrate`, and take
`cascade data curate --preset acereason_math_hard`.
"""

from __future__ import annotations

from typing import Any

from cascade_rl.config import (
    BenchmarkConfig,
    CascadeRLConfig,
    ChatConfig,
    FilterConfig,
    ModeShares,
    RewardConfig,
    StageConfig,
    UntilConfig,
)
from cascade_rl.presets.saving import saving

K = 1024
UNFLAGGED = ModeShares(think=0.0, no_think=0.0)
ONE_OR_ZERO = RewardConfig(kind="verifier", language_penalty=False)  # nothing else counts
CONVERGED = UntilConfig(metric="reward/mean", plateau=0.002, min_steps=200, window=100)  # ours


def acereason_7b() -> CascadeRLConfig:
    """AceReason-Nemotron-7B; the first code stage has problems up to difficulty 5 (of 8)."""
    return _config("acereason-7b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "code_level5")


def acereason_14b() -> CascadeRLConfig:
    """AceReason-Nemotron-14B; the first code stage has problems up to difficulty 7 (of 8)."""
    return _config("acereason-14b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "code_level7")


def _config(name: str, model: str, first_code_rows: str) -> CascadeRLConfig:
    return CascadeRLConfig(
        name=name,
        preset=name,
        model=model,
        stages=saving(_stages(first_code_rows)),  # save_every is ours
        benchmarks=_benchmarks(),
        chat=ChatConfig(template="own", system=None),
    )


def _stages(first_code_rows: str) -> tuple[StageConfig, ...]:
    """Math at three lengths, code at two, math at the last."""
    return (
        # 8 completions at 8K, 16 afterwards; harder prompts at 24K and 32K
        _math("8k", 8 * K, rollouts=8, steps=2000, rows="math"),  # dips, back in 1K to 2K
        _math("16k", 16 * K, rollouts=16, steps=500, rows="math"),  # 55 to 62 % by 500
        _math("24k", 24 * K, rollouts=16, steps=500, rows="math_hard_24k"),
        _code("24k", 24_000, rows=first_code_rows, steps=1000, until=CONVERGED),
        # All problems. From epoch to epoch the temperature goes from 0.6 to 1.0 and the
        # rollouts from 8 to 16: both ends are the paper's, that the first epoch has the one
        # and the rest the other is ours. What is always solved goes, nothing else does.
        _code("32k-1", 32_768, rows="code", steps=67, drop_solved=True),  # an epoch of 8,520
        _code(
            "32k-2",
            32_768,
            rows="code",
            steps=1000,
            temperature=1.0,
            rollouts=16,
            until=CONVERGED,
            drop_solved=True,
        ),
        _math("32k", 32 * K, rollouts=16, steps=500, rows="math_hard_32k"),
    )


def _math(length: str, tokens: int, *, rollouts: int, steps: int, rows: str) -> StageConfig:
    """Batch, rollouts and rate as printed; steps and temperature are ours."""
    return StageConfig(
        name=f"math_rl/{length}",
        domain="math",
        train_files=(f"data/{rows}_train.parquet",),
        total_training_steps=steps,
        train_batch_size=128,
        rollout_n=rollouts,
        learning_rate=1e-6,
        temperature=0.6,  # ours: that of the code stages
        top_p=0.95,  # ours: that of the evaluation
        max_new_tokens=tokens,
        modes=UNFLAGGED,
        overlong="zero",  # no shaping is named; 1.1 (2506.13284) skips overlong ones at 8K and 16K
        reward=ONE_OR_ZERO,
    )


def _code(
    length: str,
    tokens: int,
    *,
    rows: str,
    steps: int,
    temperature: float = 0.6,
    rollouts: int = 8,
    until: UntilConfig | None = None,
    drop_solved: bool = False,
) -> StageConfig:
    """Batch, rate, lengths and temperature as printed; steps are ours."""
    solved = FilterConfig(kind="epoch", easy_resample=0.0, hard_resample=1.0)
    return StageConfig(
        name=f"code_rl/{length}",
        domain="code",
        train_files=(f"data/{rows}_train.parquet",),
        total_training_steps=steps,
        train_batch_size=128,
        rollout_n=rollouts,
        learning_rate=5e-6,
        temperature=temperature,
        top_p=0.95,  # ours
        max_new_tokens=tokens,
        modes=UNFLAGGED,
        overlong="zero",
        filter=solved if drop_solved else FilterConfig(),
        until=until,
        reward=ONE_OR_ZERO,
    )


def _benchmarks() -> tuple[BenchmarkConfig, ...]:
    """Temperature 0.6, top-p 0.95, 32,768 tokens; 64 samples of AIME, 8 of LiveCodeBench.

    Held-out rows of ours stand for the benchmarks between stages; those are the test files.
    """
    protocol: dict[str, Any] = {
        "temperature": 0.6,
        "top_p": 0.95,
        "max_new_tokens": 32_768,
        "greedy": False,
    }
    return (
        BenchmarkConfig(
            name="math",
            file="data/math_val.parquet",
            test_file="data/aime_test.parquet",
            limit=30,
            k=64,
            **protocol,
        ),
        BenchmarkConfig(
            name="code",
            file="data/code_val.parquet",
            test_file="data/livecodebench_v5_test.parquet",
            limit=64,
            k=8,
            **protocol,
        ),
    )
