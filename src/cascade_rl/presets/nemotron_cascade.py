"""Nemotron-Cascade (arXiv 2512.13607): the unified 8B, 8B-Thinking and 14B-Thinking.

One rule: where the body and the tables of appendix D differ, the stage has the table's value,
which is that of one model, and `BODY` has the body's as `--set` settings. "Ours" marks what the
paper does not say.

Rows are read from `data/` beside the config. The reward model and the judge of patches are
served: they are other models of 72B, which no stage of this cascade trains. The first is the
preset `nemotron-cascade-reward-model`. One surprise: the base has 32,768 positions and the longest
stages write more than that; the paper does not say how. Raise `max_position_embeddings` in the
base's config.json first, as `docs/paper.md` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from cascade_rl.config import (
    AnyStage,
    BenchmarkConfig,
    CascadeRLConfig,
    ChatConfig,
    FilterConfig,
    ModeShares,
    OptimizerConfig,
    RewardConfig,
    RewardModelStageConfig,
    SFTStageConfig,
    StageConfig,
    VerifierConfig,
)
from cascade_rl.presets.saving import saving

K = 1024
REWARD_MODEL_URL = "http://127.0.0.1:8001/score"  # ours: where `cascade serve-rm` answers
JUDGE_URL = "http://127.0.0.1:8002/v1"  # ours: any OpenAI-compatible server
JUDGE_MODEL = "moonshotai/Kimi-Dev-72B"  # section 4.7

THINK = ModeShares(think=1.0, no_think=0.0)
NO_THINK = ModeShares(think=0.0, no_think=1.0)
HALF_HALF = ModeShares(think=0.5, no_think=0.5)

Overlong = Literal["zero", "exclude"]
ZERO: Overlong = "zero"  # overlong filtering False
SKIPPED: Overlong = "exclude"  # True; that it leaves the statistics too is our reading

_RLHF_BODY = ("rlhf.train_batch_size=128", "rlhf.total_training_steps=800")  # section 4.3
_IF_BODY = ("if_rl.train_batch_size=128",)  # section 4.4, as what follows
_IF_BODY_UNIFIED = ("if_rl/1.total_training_steps=2000", "if_rl/2.total_training_steps=1000")
_IF_BODY_THINKING = (
    "if_rl/1.total_training_steps=500",
    "if_rl/2.total_training_steps=300",
    "if_rl.overlong=exclude",
)
BODY: Mapping[str, tuple[str, ...]] = {
    "nemotron-cascade-8b": (*_RLHF_BODY, *_IF_BODY, *_IF_BODY_UNIFIED),
    "nemotron-cascade-8b-thinking": (*_RLHF_BODY, *_IF_BODY, *_IF_BODY_THINKING),
    "nemotron-cascade-14b-thinking": (
        *_RLHF_BODY,
        *_IF_BODY,
        *_IF_BODY_THINKING,
        f"code_rl.max_new_tokens={48 * K}",  # section 4.6: 44K to 48K
    ),
}
"""By preset: the values of the paper's body where its tables have others, as `--set` takes them.

Steps in the body are "about" so many.
"""


def nemotron_cascade_8b() -> CascadeRLConfig:
    """The unified model: half of RLHF and all of IF-RL without thinking."""
    return _config(
        "nemotron-cascade-8b",
        "Qwen/Qwen3-8B-Base",  # section 1
        (
            *_sft(rates=(5e-5, 2e-5), steps=(20_000, 32_000)),  # Table 14
            _rlhf(steps=800, modes=HALF_HALF),  # Table 15; section 4.3
            *_if_rl(
                modes=NO_THINK,  # section 4.4, and a plain binary verifier
                reward=RewardConfig(kind="verifier"),
                steps=(2300, 800),  # Table 16; the body has about 2000 and 1000
                lengths=(8 * K, 8 * K),  # section 4.4
                overlong=(ZERO, ZERO),  # Table 16
            ),
            *_math_rl_8b(),
            # Table 19: 44K then 48K, temperature 1.0 then 0.8, 90 steps in all. Where the one
            # becomes the other is ours: after the 64 steps that the other two models have.
            _code_rl("code_rl/44k", tokens=44 * K, steps=64, temperature=1.0),
            _code_rl("code_rl/48k", tokens=48 * K, steps=26, temperature=0.8),
            *_swe_rl_8b(),
        ),
        if_mode="no_think",  # appendix B
    )


def nemotron_cascade_8b_thinking() -> CascadeRLConfig:
    """8B-Thinking: every prompt is thought about, and IF-RL is gated by the reward model."""
    return _config(
        "nemotron-cascade-8b-thinking",
        "Qwen/Qwen3-8B-Base",  # section 1
        (
            *_sft(rates=(5e-5, 2e-5), steps=(20_000, 32_000)),  # Table 14
            _rlhf(steps=800, modes=THINK),  # Table 15
            # Table 16; the body has about 500 and 300 steps, and filters in both
            *_if_rl_thinking(steps=(550, 300), overlong=(ZERO, SKIPPED)),
            *_math_rl_8b(),
            _code_rl("code_rl", tokens=44 * K, steps=64, temperature=1.2),  # Table 19
            *_swe_rl_8b(),
        ),
        if_mode="think",
    )


def nemotron_cascade_14b_thinking() -> CascadeRLConfig:
    """14B-Thinking: two lengths in math RL, one in SWE RL."""
    return _config(
        "nemotron-cascade-14b-thinking",
        "Qwen/Qwen3-14B-Base",  # section 1
        (
            *_sft(rates=(5e-5, 5e-5), steps=(22_000, 41_000)),  # Table 14
            _rlhf(steps=900, modes=THINK),  # Table 15; the body has about 800
            # Table 16; the body has about 500 and 300 steps, and filters in both
            *_if_rl_thinking(steps=(800, 120), overlong=(ZERO, SKIPPED)),
            # Table 18: steps 0-120 and 120-220
            _math_rl(28 * K, steps=120, temperature=1.2, overlong=SKIPPED, learning_rate=2.5e-6),
            _math_rl(40 * K, steps=100, temperature=1.1, overlong=ZERO, learning_rate=2.5e-6),
            # Table 19; the body has 44K to 48K
            _code_rl("code_rl", tokens=56 * K, steps=64, temperature=1.0),
            # Table 20: steps 0-120
            _swe_rl("swe_rl", "swe_32k", prompt=32 * K, steps=120, overlong=SKIPPED),
        ),
        if_mode="think",
    )


def nemotron_cascade_reward_model() -> CascadeRLConfig:
    """The 72B reward model of RLHF and IF-RL: `cascade serve-rm` answers with what it trains."""
    return CascadeRLConfig(
        name="nemotron-cascade-reward-model",
        preset="nemotron-cascade-reward-model",
        model="Qwen/Qwen2.5-72B-Instruct",  # section 4.2, as all values here
        stages=(
            RewardModelStageConfig(
                name="reward_model",
                train_files=("data/preference_train.parquet",),
                total_training_steps=320,  # one epoch of 82K pairs
                train_batch_size=256,
                learning_rate=2e-6,
                optimizer=_adamw(),
                max_tokens=16 * K,  # ours
            ),
        ),
        chat=ChatConfig(template="own", system=None),  # section 4.3: in its own chat template
    )


# --- the stages, in order -----------------------------------------------------------------------


def _sft(rates: tuple[float, float], steps: tuple[int, int]) -> tuple[SFTStageConfig, ...]:
    """Two stages, of 16K and 32K tokens, one epoch each: section 3.1.1 and Table 14."""
    optimizer = OptimizerConfig(
        betas=(0.9, 0.95),
        weight_decay=1e-4,
        schedule="cosine",  # ours: down to its end over the steps run; the table's maximum is 100K
        min_learning_rate=0.0,
        state="fresh",  # ours
    )
    first, second = (
        SFTStageConfig(
            name=f"sft/{number}",
            train_files=(f"data/sft_{number}_train.parquet",),
            total_training_steps=count,
            train_batch_size=256,
            learning_rate=rate,
            optimizer=optimizer,
            max_tokens=tokens,
        )
        for number, rate, count, tokens in zip((1, 2), rates, steps, (16 * K, 32 * K), strict=True)
    )
    return first, second


def _rlhf(steps: int, modes: ModeShares) -> StageConfig:
    """Section 4.3 and Table 15. The prompts are some of the reward model's own."""
    return StageConfig(
        name="rlhf",
        domain="chat",
        train_files=("data/chat_train.parquet",),
        total_training_steps=steps,
        train_batch_size=256,  # Table 15; the body has 128
        rollout_n=8,
        learning_rate=2e-6,
        optimizer=_adamw(),
        temperature=0.6,
        top_p=0.95,
        max_new_tokens=12 * K,  # section 4.3
        modes=modes,
        overlong=ZERO,
        reward=RewardConfig(kind="preference", model_url=REWARD_MODEL_URL),
    )


def _if_rl_thinking(
    steps: tuple[int, int], overlong: tuple[Overlong, Overlong]
) -> tuple[StageConfig, ...]:
    """Section 4.4: the thinking models' reward is R_IF + sigmoid(z(RM)), at 8K and then 16K."""
    return _if_rl(
        modes=THINK,
        reward=RewardConfig(kind="gated_if", model_url=REWARD_MODEL_URL),
        steps=steps,
        lengths=(8 * K, 16 * K),
        overlong=overlong,
    )


def _if_rl(
    modes: ModeShares,
    reward: RewardConfig,
    steps: tuple[int, int],
    lengths: tuple[int, int],
    overlong: tuple[Overlong, Overlong],
) -> tuple[StageConfig, ...]:
    """Section 4.4 and Table 16: IFEval's constraints, then the harder ones of IFBench-Train."""
    first, second = (
        StageConfig(
            name=f"if_rl/{number}",
            domain="instruction_following",
            train_files=(f"data/instruction_following_{number}_train.parquet",),
            total_training_steps=count,
            train_batch_size=256,  # Table 16; the body has 128
            rollout_n=8,
            learning_rate=2e-6,
            optimizer=_adamw(),
            temperature=0.6,
            top_p=0.95,
            top_k=20,  # section 4.4
            max_new_tokens=tokens,
            modes=modes,
            overlong=filtering,
            filter=FilterConfig(kind="batch"),  # section 4.4: mixed outcomes only (DAPO)
            reward=reward,
        )
        for number, count, tokens, filtering in zip((1, 2), steps, lengths, overlong, strict=True)
    )
    return first, second


def _math_rl_8b() -> tuple[StageConfig, ...]:
    """Table 17: steps 0-190, 190-430 and 430-500.

    Section 4.5 ends a stage where some 10 % of completions are truncated. The table has the steps
    at which that was so; `until: {metric: truncation_ratio, below: 0.1}` would look again.
    """
    return (
        _math_rl(24 * K, steps=190, temperature=1.0, overlong=SKIPPED, learning_rate=2e-6),
        _math_rl(32 * K, steps=240, temperature=1.0, overlong=ZERO, learning_rate=2e-6),
        _math_rl(40 * K, steps=70, temperature=0.8, overlong=ZERO, learning_rate=2e-6),
    )


def _math_rl(
    tokens: int, *, steps: int, temperature: float, overlong: Overlong, learning_rate: float
) -> StageConfig:
    """Section 4.5, Tables 17 and 18."""
    return StageConfig(
        name=f"math_rl/{tokens // K}k",
        domain="math",
        train_files=("data/math_train.parquet",),
        total_training_steps=steps,
        train_batch_size=128,
        rollout_n=8,
        learning_rate=learning_rate,
        optimizer=_adamw(),
        temperature=temperature,
        top_p=0.95,
        max_new_tokens=tokens,
        modes=THINK,
        overlong=overlong,
        filter=FilterConfig(kind="epoch", hard_resample=0.10, easy_resample=0.01),  # section 4.5
        reward=RewardConfig(kind="verifier"),
    )


def _code_rl(name: str, *, tokens: int, steps: int, temperature: float) -> StageConfig:
    """Section 4.6 and Table 19. It names no dynamic filtering."""
    return StageConfig(
        name=name,
        domain="code",
        train_files=("data/code_train.parquet",),
        total_training_steps=steps,
        train_batch_size=128,
        rollout_n=8,
        learning_rate=4e-6,
        optimizer=_adamw(),
        temperature=temperature,
        top_p=0.95,
        max_new_tokens=tokens,
        modes=THINK,
        overlong=ZERO,
        reward=RewardConfig(kind="verifier"),
    )


def _swe_rl_8b() -> tuple[StageConfig, ...]:
    """Table 20: prompts of 16K for steps 0-30, of 24K for 30-60."""
    return (
        _swe_rl("swe_rl/16k", "swe_16k", prompt=16 * K, steps=30, overlong=SKIPPED),
        _swe_rl("swe_rl/24k", "swe_24k", prompt=24 * K, steps=30, overlong=ZERO),
    )


def _swe_rl(name: str, rows: str, *, prompt: int, steps: int, overlong: Overlong) -> StageConfig:
    """Section 4.7 and Table 20; a file holds both prompt sets, with and without other files."""
    return StageConfig(
        name=name,
        domain="swe",
        train_files=(f"data/{rows}_train.parquet",),
        total_training_steps=steps,
        train_batch_size=128,
        rollout_n=16,
        learning_rate=2.5e-6,
        optimizer=_adamw(),
        temperature=1.0,
        top_p=0.95,
        max_prompt_tokens=prompt,
        max_new_tokens=16 * K,  # section 4.7 has it for the 8B; for the 14B it is ours
        modes=THINK,
        overlong=overlong,
        reward=RewardConfig(
            kind="swe", swe_similarity="judge", judge_url=JUDGE_URL, judge_model=JUDGE_MODEL
        ),
    )


# --- what the stages share ----------------------------------------------------------------------


def _adamw() -> OptimizerConfig:
    """Tables 15 to 20; a constant rate and no weight decay are ours."""
    return OptimizerConfig(betas=(0.9, 0.95))


def _config(
    name: str,
    model: str,
    stages: tuple[AnyStage, ...],
    if_mode: Literal["think", "no_think"],
) -> CascadeRLConfig:
    return CascadeRLConfig(
        name=name,
        preset=name,
        model=model,
        stages=saving(stages),  # save_every is ours
        benchmarks=_benchmarks(if_mode),
        chat=ChatConfig(system="You are a helpful and harmless assistant."),  # section 3.1.2
    )


def _benchmarks(if_mode: Literal["think", "no_think"]) -> tuple[BenchmarkConfig, ...]:
    """Appendix B: temperature 0.6, top-p 0.95, averages of 8 or 64 samples.

    Held-out rows of ours stand for the benchmarks between stages, as many as an AIME has or a
    few more; the benchmarks themselves are the test files. SWE-bench Verified is not among them,
    it runs repositories.
    """
    sampling: dict[str, Any] = {"temperature": 0.6, "top_p": 0.95, "greedy": False}
    return (
        BenchmarkConfig(
            name="instruction_following",
            file="data/instruction_following_val.parquet",
            test_file="data/ifeval_test.parquet",
            limit=128,
            k=8,
            mode=if_mode,
            max_new_tokens=32 * K,
            verifier_options=VerifierConfig(instruction_policy="official"),  # prompt-strict
            **sampling,
        ),
        BenchmarkConfig(
            name="math",
            file="data/math_val.parquet",
            test_file="data/aime_test.parquet",
            limit=30,
            k=64,
            mode="think",
            max_new_tokens=64 * K - 4 * K,  # a budget of 64K, less 4K for the prompt (ours)
            yarn_factor=2.0,
            **sampling,
        ),
        BenchmarkConfig(
            name="code",
            file="data/code_val.parquet",
            test_file="data/livecodebench_v6_test.parquet",
            limit=64,
            k=8,
            mode="think",
            max_new_tokens=64 * K - 4 * K,
            yarn_factor=2.0,
            **sampling,
        ),
    )
