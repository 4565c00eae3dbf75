"""A cascade as one file: pydantic models whose defaults are the founding recipe's table.

One rule: nothing is merged and nothing is interpolated at run time. What a run used is what
`configfile.resolved_yaml` prints, and the published papers' values live in `presets`, not here.
Reading and writing YAML is `configfile`'s part, the parts of a stage are in `options`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from cascade_rl.errors import ConfigError
from cascade_rl.options import (
    EntropyAlarmConfig,
    FilterConfig,
    GateConfig,
    LoRAConfig,
    MismatchConfig,
    Model,
    ModeShares,
    OptimizerConfig,
    RewardConfig,
    Share,
    Steps,
    UntilConfig,
    VerifierConfig,
)

__all__ = [
    "BUILTIN",
    "AnyStage",
    "BenchmarkConfig",
    "CascadeRLConfig",
    "ChatConfig",
    "EntropyAlarmConfig",
    "FilterConfig",
    "GateConfig",
    "LoRAConfig",
    "LocalConfig",
    "MismatchConfig",
    "ModeShares",
    "Model",
    "OptimizerConfig",
    "RewardConfig",
    "RewardModelStageConfig",
    "SFTStageConfig",
    "StageConfig",
    "TrackerConfig",
    "UntilConfig",
    "VerifierConfig",
    "VerlConfig",
    "create_default_cascade_stages",
]  # fmt: skip

BUILTIN = "mini:"
"""Prefix of rows and models that are generated rather than read, e.g. `mini:math/train`."""


class _Stage(Model):
    name: str = Field(pattern=r"^[A-Za-z0-9_\-]+(/[A-Za-z0-9_\-.]+)?$")
    train_files: tuple[str, ...] = Field(min_length=1)
    val_files: tuple[str, ...] = ()
    total_training_steps: Steps = 800
    train_batch_size: Steps = 128
    learning_rate: float = Field(2e-6, gt=0.0)
    optimizer: OptimizerConfig = OptimizerConfig()
    lora: LoRAConfig | None = None
    parent: str | None = None
    engine: Literal["local", "verl"] | None = None
    seed: int | None = None
    max_prompt_tokens: int = Field(8192, ge=1)
    save_every: Steps = 50
    eval_every: int = Field(0, ge=0)
    gate: GateConfig | None = None

    @property
    def family(self) -> str:
        """The part of the name before `/`: stages of one family carry optimizer state."""
        return self.name.split("/")[0]


class SFTStageConfig(_Stage):
    """Supervised fine-tuning on conversations; the loss falls on assistant turns."""

    kind: Literal["sft"] = "sft"
    role: Literal["policy", "judge"] = "policy"
    max_tokens: Steps = 16384


class RewardModelStageConfig(_Stage):
    """Bradley-Terry on a scalar head over preference pairs (section 4.2)."""

    kind: Literal["reward_model"] = "reward_model"
    role: Literal["reward_model"] = "reward_model"
    train_batch_size: Steps = 256
    max_tokens: Steps = 16384


class StageConfig(_Stage):
    """One RL stage (GRPO); a stage without `kind` is one. Defaults: the founding recipe."""

    kind: Literal["rl"] = "rl"
    role: Literal["policy"] = "policy"
    domain: Literal["math", "code", "instruction_following", "swe", "chat", "blend"]
    rollout_n: Steps = 8
    temperature: float = Field(0.6, gt=0.0)
    top_p: float = Field(0.95, gt=0.0, le=1.0)
    top_k: int = Field(0, ge=0)
    max_new_tokens: Steps = 65536
    modes: ModeShares = ModeShares()
    overlong: Literal["zero", "mask_loss", "exclude"] = "zero"
    filter: FilterConfig = FilterConfig()
    updates_per_batch: Steps = 1
    clip_ratio_low: float = Field(0.2, gt=0.0)
    clip_ratio_high: float = Field(0.2, gt=0.0)
    kl_coef: float = Field(0.0, ge=0.0)
    entropy_coef: float = 0.0
    loss_aggregation: Literal["token-mean", "group-token-mean", "sequence-mean"] = "token-mean"
    norm_adv_by_std: bool = True
    until: UntilConfig | None = None
    entropy_alarm: EntropyAlarmConfig = EntropyAlarmConfig()
    mismatch: MismatchConfig = MismatchConfig()
    reward: RewardConfig = RewardConfig()
    verifier_options: VerifierConfig = VerifierConfig()
    inputs: Mapping[Literal["reward_model", "judge"], str] = {}
    infra_limit: Share = 0.05

    @field_validator("rollout_n")
    @classmethod
    def _group(cls, value: int) -> int:
        if value < 2:
            raise ValueError(f"rollout_n is {value}; a group needs at least 2 completions")
        return value

    @model_validator(mode="after")
    def _splits(self) -> Self:
        if self.train_batch_size % self.updates_per_batch:
            raise ValueError(
                f"train_batch_size {self.train_batch_size} does not divide into "
                f"updates_per_batch {self.updates_per_batch}"
            )
        return self

    @property
    def has_reward_model(self) -> bool:
        """Whether a stage or a server is its reward model."""
        return "reward_model" in self.inputs or self.reward.model_url is not None

    @model_validator(mode="after")
    def _one_judge(self) -> Self:
        if "reward_model" in self.inputs and self.reward.model_url is not None:
            raise ValueError("inputs.reward_model and reward.model_url are two; expected one")
        if "judge" in self.inputs and self.reward.judge_url is not None:
            raise ValueError("inputs.judge and reward.judge_url are two judges; expected one")
        return self

    @property
    def reward_kind(self) -> Literal["verifier", "preference", "gated_if", "swe", "auto"]:
        """The reward that `auto` stands for in this stage's domain.

        `blend` keeps `auto`: each row is rewarded after its own domain.
        """
        if self.reward.kind != "auto" or self.domain == "blend":
            return self.reward.kind
        if self.domain == "chat":
            return "preference"
        if self.domain == "swe":
            return "swe"
        if self.domain == "instruction_following" and self.has_reward_model:
            return "gated_if"
        return "verifier"


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("kind", "rl"))
    return str(getattr(value, "kind", "rl"))


AnyStage = Annotated[
    Annotated[SFTStageConfig, Tag("sft")]
    | Annotated[RewardModelStageConfig, Tag("reward_model")]
    | Annotated[StageConfig, Tag("rl")],
    Discriminator(_kind),
]


class BenchmarkConfig(Model):
    """A protocol: which problems, judged how, sampled how. It is stored with each result.

    `file` is read for gates, curves and choices; `test_file` only by
    `cascade eval --split test`. Of each the first `limit` (`test_limit`) problems count, or all.
    `verifier: auto` follows each row's ability.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_\-.@]+$")
    file: str
    test_file: str | None = None
    limit: int | None = Field(None, ge=1)
    test_limit: int | None = Field(None, ge=1)
    verifier: str = "auto"
    verifier_options: VerifierConfig = VerifierConfig()
    mode: Literal["think", "no_think"] | None = None
    k: int = Field(4, ge=0)
    greedy: bool = True
    temperature: float = Field(1.0, gt=0.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    top_k: int = Field(0, ge=0)
    max_new_tokens: Steps = 32768
    yarn_factor: float = Field(1.0, ge=1.0)
    seed: int = 0


class ChatConfig(Model):
    """`cascade` installs our ChatML template; `own` keeps the model's and refuses modes."""

    template: Literal["cascade", "own"] = "cascade"
    system: str | None = "You are a helpful and harmless assistant."


class LocalConfig(Model):
    """The one-machine engine. All but `verifier_*` and `sampler_memory` changes the numbers.

    `processes` share each step's sampling and gradients; each computes on `threads` threads.
    `sampler: auto` takes vLLM on a GPU where it is installed, and gives it `sampler_memory` of
    the GPU's memory. What `auto` comes to is not in a stage's key: it differs by machine.
    """

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    processes: int = Field(1, ge=1)
    threads: int = Field(1, ge=1)
    micro_batch_tokens: int = Field(16384, ge=1)
    sample_batch: int = Field(256, ge=1)
    sampler: Literal["auto", "native", "vllm"] = "auto"
    sampler_memory: float = Field(0.4, gt=0.0, lt=1.0)
    gradient_checkpointing: bool = False
    verifier_workers: int = Field(1, ge=1)
    verifier_deadline_s: float = Field(20.0, gt=0.0)


class VerlConfig(Model):
    """The cluster engine: verl on Ray. What is said of a GPU holds of a rank where there is none.

    `platform: cpu` runs the whole path without GPUs, for tests and dry runs, with the
    `transformers` rollout. `offload` keeps weights and moments in main memory between uses.
    Without `ray_address` the job brings its own Ray, on this machine.
    """

    nodes: int = Field(1, ge=1)
    gpus_per_node: int = Field(8, ge=1)
    ray_address: str | None = None
    platform: Literal["cuda", "cpu"] = "cuda"
    rollout: Literal["auto", "vllm", "transformers"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    tensor_parallel: int = Field(1, ge=1)
    gpu_memory: float = Field(0.5, gt=0.0, lt=1.0)
    micro_batch_tokens: int = Field(16384, ge=1)
    sample_batch: int = Field(256, ge=1)
    gradient_checkpointing: bool = True
    offload: bool = False
    verifier_workers: int = Field(8, ge=1)
    verifier_deadline_s: float = Field(20.0, gt=0.0)
    heartbeat_s: float = Field(1800.0, gt=0.0)
    """A job that reports nothing for so long is ended."""
    retries: int = Field(2, ge=0)
    """How often a stage whose job failed goes on from its last checkpoint."""

    @property
    def ranks(self) -> int:
        """Trainer processes, one a GPU."""
        return self.nodes * self.gpus_per_node


class TrackerConfig(Model):
    """What is written beside the event log. Cannot change weights."""

    tensorboard: bool = True


class CascadeRLConfig(Model):
    """A whole cascade: a start model, stages in order, and the benchmarks they are held to."""

    name: str = "cascade"
    preset: str | None = None
    model: str = "Qwen/Qwen3-8B-Base"
    seed: int = 0
    data_seed: int = 0
    engine: Literal["local", "verl"] = "local"
    stages: tuple[AnyStage, ...]
    benchmarks: tuple[BenchmarkConfig, ...] = ()
    chat: ChatConfig = ChatConfig()
    local: LocalConfig = LocalConfig()
    verl: VerlConfig = VerlConfig()
    trackers: TrackerConfig = TrackerConfig()
    allow_overlap: tuple[str, ...] = ()
    """Pairs of sets that may share prompts, `STAGE:OTHER`; other pairs are refused (`overlap`)."""
    allow_unsafe_sandbox: bool = False
    cascade_checkpoint_dir: str | None = None
    algorithm: Mapping[str, Any] = {}
    actor_rollout_ref: Mapping[str, Any] = {}

    @model_validator(mode="after")
    def _names(self) -> Self:
        if not self.stages:
            raise ValueError("stages is empty; expected at least one stage")
        for what, names in (
            ("stage", [s.name for s in self.stages]),
            ("benchmark", [b.name for b in self.benchmarks]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{what} name {twice[0]!r} is used twice; names must differ")
        return self

    def stage(self, name: str) -> AnyStage:
        """The stage of that exact name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        message, hint = _unknown_stage(name, [s.name for s in self.stages])
        raise ConfigError(message, hint=hint)

    def select(self, name: str) -> list[str]:
        """Names of the one stage, or of all stages of the family, called `name`."""
        found = [s.name for s in self.stages if name in (s.name, s.family)]
        if not found:
            message, hint = _unknown_stage(name, [s.name for s in self.stages])
            raise ConfigError(message, hint=hint)
        return found


def _unknown_stage(name: str, known: Sequence[str]) -> tuple[str, str]:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"stages here: {', '.join(known)}"
    return f"no stage or family is called {name!r}", hint


# --- the founding recipe ----------------------------------------------------------------------


def create_default_cascade_stages() -> list[StageConfig]:
    """The founding recipe's five RL stages in order: RLHF, IF-RL, math, code, SWE."""

    def stage(
        name: str, domain: Any, steps: int, inputs: Mapping[Any, str] | None = None
    ) -> StageConfig:
        return StageConfig(
            name=name,
            domain=domain,
            train_files=(f"data/{domain}_train.parquet",),
            val_files=(f"data/{domain}_val.parquet",),
            total_training_steps=steps,
            inputs=inputs or {},
        )

    return [
        stage("rlhf", "chat", 800),
        stage("if_rl", "instruction_following", 500),
        stage("math_rl", "math", 500),
        stage("code_rl", "code", 500),
        stage("swe_rl", "swe", 500),
    ]
