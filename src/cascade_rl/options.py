"""The parts of a stage's configuration: pydantic models, each with its defaults and its source.

`config` puts them together, and is where to import them from.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Steps = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Model(BaseModel):
    """Frozen, and an unknown key is an error rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(Model):
    """AdamW. `state: carry` keeps moments and step count inside a family of stages."""

    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    min_learning_rate: float = Field(0.0, ge=0.0)
    grad_clip: float = Field(1.0, gt=0.0)
    state: Literal["carry", "fresh"] = "carry"
    moments: Literal["float32", "int8"] = "float32"
    """`int8`: AdamW's two moments in blocks of 8-bit numbers (torchao), 2 bytes a weight, not 8."""


class LoRAConfig(Model):
    """Train low-rank updates of the named projections and nothing else (arXiv 2106.09685, PEFT).

    A finished stage is a whole model again: the updates are added to its weights.
    """

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    targets: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip


class FilterConfig(Model):
    """Dynamic filtering of groups without signal, read from outcomes, never shaped rewards.

    `batch` refills the batch with mixed groups (DAPO) for at most `max_rounds` generation
    rounds; `epoch` drops problems that were all right or all wrong in the last epoch and
    resamples them with the given probabilities (Nemotron-Cascade, section 4.5).
    """

    kind: Literal["none", "batch", "epoch"] = "none"
    hard_resample: Share = 0.10
    easy_resample: Share = 0.01
    max_rounds: int = Field(4, ge=1)


class ModeShares(Model):
    """Share of each mode in every batch; both 0 leaves prompts without a flag."""

    think: Share = 1.0
    no_think: Share = 0.0

    @model_validator(mode="after")
    def _sum(self) -> Self:
        if self.think + self.no_think not in (0.0, 1.0):
            raise ValueError(
                f"think and no_think add up to {self.think + self.no_think}; expected 1 (or 0)"
            )
        return self


class UntilConfig(Model):
    """End a stage early, by the mean of `metric` over the last `window` steps.

    When it is below or above a limit, or (`plateau`) when it exceeds the mean over the `window`
    steps before by less than this.
    """

    metric: Literal["truncation_ratio", "reward/mean", "entropy"] = "truncation_ratio"
    below: float | None = None
    above: float | None = None
    plateau: float | None = None
    min_steps: int = Field(50, ge=1)
    window: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if [self.below, self.above, self.plateau].count(None) != 2:
            raise ValueError("expected exactly one of `below`, `above` and `plateau`")
        return self


class EntropyAlarmConfig(Model):
    """Warn when a policy stops exploring, or falls apart; nothing else changes.

    The mean entropy over `window` steps is held against that of the stage's first `window`:
    under `collapse` times it, or over `explosion` times it.
    """

    collapse: Share = 0.1
    explosion: float = Field(3.0, gt=1.0)
    window: int = Field(5, ge=1)


class MismatchConfig(Model):
    """What to do where sampler and learner disagree about a token's probability.

    After a step whose `mismatch_kl` is over `limit` each token weighs min(p / q, `cap`) in the
    loss: p the learner's probability of it, q the sampler's (truncated importance sampling).
    """

    limit: float = Field(1e-3, ge=0.0)
    cap: float = Field(2.0, gt=0.0)


class RewardConfig(Model):
    """How the signals of a batch become rewards; `auto` follows the stage's domain."""

    kind: Literal["auto", "verifier", "preference", "gated_if", "swe"] = "auto"
    shaping: Literal["none", "tanh"] = "none"
    swe_similarity: Literal["judge", "lexical", "hybrid"] = "judge"
    swe_hybrid_weight: Share = 0.5
    swe_floor: Share = 0.0
    swe_lexical: Literal["swe_rl", "changed_lines"] = "swe_rl"
    swe_identical: Literal["text", "whitespace", "syntax"] = "text"
    model_url: str | None = None
    """A server of `cascade serve-rm` in place of `inputs: {reward_model: NAME}`; ends in /score."""
    judge_url: str | None = None
    """An OpenAI-compatible server that judges in place of `inputs: {judge: NAME}`; ends in /v1."""
    judge_model: str = ""
    language_penalty: bool = True

    @model_validator(mode="after")
    def _judge(self) -> Self:
        if (self.judge_url is None) != (self.judge_model == ""):
            raise ValueError("judge_url and judge_model go together: give both or none")
        return self


class VerifierConfig(Model):
    """How verifiers decide; each takes the options that concern it.

    Math: where the answer stands; credit for a close one, which a model learns to live on.
    Instructions: `official` copies the published checkers, gaps included, for scores that others
    report; `loose` is IFEval's second metric. Code: stop at the first failing test, or run all.
    """

    answer_pattern: Literal["boxed", "boxed_or_phrase", "last_number"] = "boxed"
    partial_credit: bool = False
    instruction_policy: Literal["strict_reward", "official"] = "strict_reward"
    loose: bool = False
    stop_at_first_failure: bool = True


class GateConfig(Model):
    """After a stage: a benchmark whose paired interval lies below -`max_drop` of its parent."""

    max_drop: float = Field(0.1, ge=0.0)
    benchmarks: tuple[str, ...] = ()
    action: Literal["warn", "stop", "rollback"] = "warn"
