"""The embedded default: the whole cascade on two CPU cores, offline, from generated rows.

Its lengths, rates and batch sizes are tuned to the generated tasks (`docs/log.md`), not taken
from any paper. What it shares with the papers is the order of the stages and their rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cascade_rl.config import (
    AnyStage,
    BenchmarkConfig,
    CascadeRLConfig,
    ChatConfig,
    LocalConfig,
    ModeShares,
    OptimizerConfig,
    RewardConfig,
    RewardModelStageConfig,
    SFTStageConfig,
    StageConfig,
)

Domain = Literal["chat", "instruction_following", "math", "code", "swe"]

ANSWER_TOKENS: dict[Domain, int] = {
    "chat": 64,
    "instruction_following": 64,
    "math": 48,
    "code": 64,
    "swe": 88,
}
"""Longest completion, with room to spare: what is cut off is a completion wasted."""

STEPS: dict[Domain, int] = {
    "chat": 56,
    "instruction_following": 70,
    "math": 54,
    "code": 56,
    "swe": 60,
}

LEARNING_RATES: dict[Domain, float] = {
    "chat": 2e-4,
    "instruction_following": 2e-4,
    "math": 3e-4,
    "code": 2.5e-4,
    "swe": 3e-4,
}
"""Peaks, falling linearly to 0. Higher ones undo the stages before (`docs/log.md`)."""

_JUDGED_BY = {"chat": "chat_utility", "swe": "swe_resolved"}
_PROMPT_TOKENS = 256


def mini() -> CascadeRLConfig:
    """Two SFT stages, reward model, judge and five RL stages; 64 `val` problems a domain."""
    return _config("mini", (*_warm_start(), *_rl()), _benchmarks(limit=64, k=4))


def mini_full() -> CascadeRLConfig:
    """The same cascade, 300 problems a domain: 16 samples each, and 4 at temperature .6."""
    cool = tuple(
        benchmark.model_copy(
            update={"name": f"{benchmark.name}@t0.6", "temperature": 0.6, "greedy": False, "k": 4}
        )
        for benchmark in _benchmarks(limit=300, k=16)
    )
    return _config("mini-full", (*_warm_start(), *_rl()), (*_benchmarks(limit=300, k=16), *cool))


def mini_conflict() -> CascadeRLConfig:
    """Long answers by instruction, then short ones by preference, to the same questions.

    The ledger must say that RLHF undid IF-RL.
    """
    return _conflict("mini-conflict", "instructions")


def mini_conflict_disjoint() -> CascadeRLConfig:
    """The twin: the same amounts, but the demand for length has prompts of its own."""
    return _conflict("mini-conflict-disjoint", "disjoint-instructions")


def _conflict(name: str, instructions: str) -> CascadeRLConfig:
    stages = (
        _sft("sft", "conflict/sft", 400, 2e-3),
        _reward_model("conflict/pairs", "sft"),
        _grpo(
            "if_rl",
            "instruction_following",
            rows=f"mini:conflict/{instructions}-train",
            steps=30,
        ).model_copy(update={"parent": "sft"}),
        _grpo("rlhf", "chat", steps=30, inputs={"reward_model": "reward_model"}),
    )
    benchmark = BenchmarkConfig(
        name="instruction_following",
        file=f"mini:conflict/{instructions}-val",
        test_file=f"mini:conflict/{instructions}-test",
        mode="no_think",
        max_new_tokens=ANSWER_TOKENS["instruction_following"],
    )
    return _config(name, stages, (benchmark,))


def _config(
    name: str, stages: Sequence[AnyStage], benchmarks: Sequence[BenchmarkConfig]
) -> CascadeRLConfig:
    return CascadeRLConfig(
        name=name,
        preset=name,
        model="mini:model",
        stages=tuple(stages),
        benchmarks=tuple(benchmarks),
        chat=ChatConfig(system=None),
        local=LocalConfig(
            dtype="float32", device="cpu", processes=2, sample_batch=1024, verifier_workers=2
        ),
    )


def _optimizer(warmup: int) -> OptimizerConfig:
    return OptimizerConfig(warmup_steps=warmup, schedule="linear", state="fresh")


def _sft(name: str, file: str, steps: int, rate: float) -> SFTStageConfig:
    return SFTStageConfig(
        name=name,
        train_files=(f"mini:{file}",),
        total_training_steps=steps,
        train_batch_size=16,
        learning_rate=rate,
        optimizer=_optimizer(20),
        max_prompt_tokens=_PROMPT_TOKENS,
        max_tokens=2 * _PROMPT_TOKENS,
        save_every=200,
    )


def _warm_start() -> tuple[AnyStage, ...]:
    """SFT in two stages, and the two models that judge: both start from the second."""
    judge = _sft("judge", "judge/train", 140, 1e-3).model_copy(
        update={"role": "judge", "parent": "sft/2"}
    )
    return (
        _sft("sft/1", "sft/1", 700, 2e-3),
        _sft("sft/2", "sft/2", 700, 1.5e-3),
        _reward_model("pairs", "sft/2"),
        judge,
    )


def _reward_model(pairs: str, parent: str) -> RewardModelStageConfig:
    separator = "-" if "/" in pairs else "/"
    return RewardModelStageConfig(
        name="reward_model",
        parent=parent,
        train_files=(f"mini:{pairs}{separator}train",),
        val_files=(f"mini:{pairs}{separator}val",),
        total_training_steps=480,
        train_batch_size=24,
        learning_rate=1.5e-3,
        optimizer=_optimizer(10),
        max_tokens=_PROMPT_TOKENS,
    )


def _rl() -> tuple[StageConfig, ...]:
    """RLHF, IF-RL, math, code and SWE RL, each in the mode its domain is asked in."""
    return (
        _grpo("rlhf", "chat", inputs={"reward_model": "reward_model"}),
        # Gated by the reward model: the verifier alone undoes what RLHF taught (`docs/log.md`).
        _grpo(
            "if_rl", "instruction_following", inputs={"reward_model": "reward_model"}, gated=True
        ),
        _grpo("math_rl", "math"),
        _grpo("code_rl", "code"),
        _grpo("swe_rl", "swe", inputs={"judge": "judge"}),
    )


def _grpo(
    name: str,
    domain: Domain,
    *,
    rows: str | None = None,
    steps: int | None = None,
    inputs: dict[Literal["reward_model", "judge"], str] | None = None,
    gated: bool = False,
) -> StageConfig:
    # A truncated patch is unparsable (-1) like any other; as 0 it would pay never to end.
    overlong: Literal["zero", "mask_loss"] = "mask_loss" if domain == "swe" else "zero"
    think = 1.0 if _mode(domain) == "think" else 0.0
    return StageConfig(
        name=name,
        domain=domain,
        train_files=(rows or f"mini:{domain}/train",),
        total_training_steps=steps or STEPS[domain],
        train_batch_size=24,
        rollout_n=8,
        learning_rate=LEARNING_RATES[domain],
        optimizer=_optimizer(5),
        temperature=1.0,
        top_p=1.0,
        max_new_tokens=ANSWER_TOKENS[domain],
        max_prompt_tokens=_PROMPT_TOKENS,
        modes=ModeShares(think=think, no_think=1.0 - think),
        overlong=overlong,
        reward=RewardConfig(
            kind="gated_if" if gated else "auto", swe_floor=0.5 if domain == "swe" else 0.0
        ),
        inputs=inputs or {},
        save_every=20,
    )


def _mode(domain: Domain) -> Literal["think", "no_think"]:
    return "no_think" if domain == "instruction_following" else "think"


def _benchmarks(limit: int, k: int) -> tuple[BenchmarkConfig, ...]:
    return tuple(
        BenchmarkConfig(
            name=domain,
            file=f"mini:{domain}/val",
            test_file=f"mini:{domain}/test",
            limit=limit,
            verifier=_JUDGED_BY.get(domain, "auto"),
            mode=_mode(domain),
            k=k,
            max_new_tokens=tokens,
        )
        for domain, tokens in ANSWER_TOKENS.items()
    )
