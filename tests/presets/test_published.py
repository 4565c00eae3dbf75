"""Presets hold the published values: those of the papers' tables, written here by hand.

Columns are the tables' own. Nemotron-Cascade: 2512.13607, Tables 14 to 20 and sections 4.2 to 4.7.
AceReason: 2505.16400, math RL and code RL. Dolci: Olmo 3 Think 7B's RL.
"""

from __future__ import annotations

from typing import Any

import pytest

from cascade_rl.cli.plan import changed
from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.configfile import parse_config
from cascade_rl.presets import PRESETS
from cascade_rl.presets.nemotron_cascade import BODY

SFT = ("train_batch_size", "learning_rate", "max_tokens", "total_training_steps")
RL = (
    "train_batch_size", "rollout_n", "learning_rate", "total_training_steps", "max_new_tokens",
    "temperature", "overlong",
)  # fmt: skip
ZERO, SKIPPED = "zero", "exclude"

# Tables 17 and 20: the 8B models share math RL and SWE RL; lengths are 24, 32 and 40 times 1,024
MATH_8B = {
    "math_rl/24k": (128, 8, 2e-6, 190, 24576, 1.0, SKIPPED),
    "math_rl/32k": (128, 8, 2e-6, 240, 32768, 1.0, ZERO),
    "math_rl/40k": (128, 8, 2e-6, 70, 40960, 0.8, ZERO),
}
SWE_8B = {
    "swe_rl/16k": (128, 16, 2.5e-6, 30, 16384, 1.0, SKIPPED),
    "swe_rl/24k": (128, 16, 2.5e-6, 30, 16384, 1.0, ZERO),
}
SFT_8B = {"sft/1": (256, 5e-5, 16384, 20_000), "sft/2": (256, 2e-5, 32768, 32_000)}
ACEREASON = {
    "math_rl/8k": (128, 8, 1e-6, 2000, 8192, 0.6, ZERO),
    "math_rl/16k": (128, 16, 1e-6, 500, 16384, 0.6, ZERO),
    "math_rl/24k": (128, 16, 1e-6, 500, 24576, 0.6, ZERO),
    "code_rl/24k": (128, 8, 5e-6, 1000, 24000, 0.6, ZERO),
    "code_rl/32k-1": (128, 8, 5e-6, 67, 32768, 0.6, ZERO),
    "code_rl/32k-2": (128, 16, 5e-6, 1000, 32768, 1.0, ZERO),
    "math_rl/32k": (128, 16, 1e-6, 500, 32768, 0.6, ZERO),
}
TABLES: dict[str, dict[str, tuple[Any, ...]]] = {
    "nemotron-cascade-8b": {
        **SFT_8B,
        "rlhf": (256, 8, 2e-6, 800, 12288, 0.6, ZERO),
        "if_rl/1": (256, 8, 2e-6, 2300, 8192, 0.6, ZERO),
        "if_rl/2": (256, 8, 2e-6, 800, 8192, 0.6, ZERO),
        **MATH_8B,
        "code_rl/44k": (128, 8, 4e-6, 64, 45056, 1.0, ZERO),
        "code_rl/48k": (128, 8, 4e-6, 26, 49152, 0.8, ZERO),
        **SWE_8B,
    },
    "nemotron-cascade-8b-thinking": {
        **SFT_8B,
        "rlhf": (256, 8, 2e-6, 800, 12288, 0.6, ZERO),
        "if_rl/1": (256, 8, 2e-6, 550, 8192, 0.6, ZERO),
        "if_rl/2": (256, 8, 2e-6, 300, 16384, 0.6, SKIPPED),
        **MATH_8B,
        "code_rl": (128, 8, 4e-6, 64, 45056, 1.2, ZERO),
        **SWE_8B,
    },
    "nemotron-cascade-14b-thinking": {
        "sft/1": (256, 5e-5, 16384, 22_000),
        "sft/2": (256, 5e-5, 32768, 41_000),
        "rlhf": (256, 8, 2e-6, 900, 12288, 0.6, ZERO),
        "if_rl/1": (256, 8, 2e-6, 800, 8192, 0.6, ZERO),
        "if_rl/2": (256, 8, 2e-6, 120, 16384, 0.6, SKIPPED),
        "math_rl/28k": (128, 8, 2.5e-6, 120, 28672, 1.2, SKIPPED),
        "math_rl/40k": (128, 8, 2.5e-6, 100, 40960, 1.1, ZERO),
        "code_rl": (128, 8, 4e-6, 64, 57344, 1.0, ZERO),
        "swe_rl": (128, 16, 2.5e-6, 120, 16384, 1.0, SKIPPED),
    },
    "nemotron-cascade-reward-model": {"reward_model": (256, 2e-6, 16384, 320)},
    "acereason-7b": ACEREASON,
    "acereason-14b": ACEREASON,
    "dolci-think": {
        "rlhf": (64, 8, 1e-6, 323, 32768, 1.0, ZERO),
        "if_rl": (64, 8, 1e-6, 466, 32768, 1.0, ZERO),
        "math_rl": (64, 8, 1e-6, 472, 32768, 1.0, ZERO),
        "code_rl": (64, 8, 1e-6, 335, 32768, 1.0, ZERO),
    },
    # the founding recipe's table: 128, 8, 2e-6, 0.6, 64K tokens, RLHF of about 800 steps
    "founding-recipe": {
        "reward_model": (256, 2e-6, 16384, 800),
        "rlhf": (128, 8, 2e-6, 800, 65536, 0.6, ZERO),
        "if_rl": (128, 8, 2e-6, 500, 65536, 0.6, ZERO),
        "math_rl": (128, 8, 2e-6, 500, 65536, 0.6, ZERO),
        "code_rl": (128, 8, 2e-6, 500, 65536, 0.6, ZERO),
        "swe_rl": (128, 8, 2e-6, 500, 65536, 0.6, ZERO),
    },
}
MODELS = {
    "nemotron-cascade-8b": "Qwen/Qwen3-8B-Base",
    "nemotron-cascade-8b-thinking": "Qwen/Qwen3-8B-Base",
    "nemotron-cascade-14b-thinking": "Qwen/Qwen3-14B-Base",
    "nemotron-cascade-reward-model": "Qwen/Qwen2.5-72B-Instruct",
    "acereason-7b": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "acereason-14b": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
    "dolci-think": "allenai/Olmo-3-7B-Think-DPO",
    "founding-recipe": "Qwen/Qwen3-8B",
}
CASCADES = ("nemotron-cascade-8b", "nemotron-cascade-8b-thinking", "nemotron-cascade-14b-thinking")
CELLS = [(preset, stage) for preset, stages in TABLES.items() for stage in stages]


def of(preset: str) -> CascadeRLConfig:
    return PRESETS[preset]()


def rl(preset: str) -> dict[str, StageConfig]:
    return {s.name: s for s in of(preset).stages if isinstance(s, StageConfig)}


def test_every_published_preset_has_its_table() -> None:
    assert set(TABLES) == {name for name in PRESETS if not name.startswith("mini")}


@pytest.mark.parametrize("preset", TABLES)
def test_the_stages_are_the_papers_in_order_from_its_model(preset: str) -> None:
    config = of(preset)
    assert [stage.name for stage in config.stages] == list(TABLES[preset])
    assert (config.model, config.preset, config.name) == (MODELS[preset], preset, preset)


@pytest.mark.parametrize(("preset", "stage"), CELLS)
def test_a_stage_of_rl_saves_often_enough_to_go_on_from(preset: str, stage: str) -> None:
    """Values of ours: a stage of 26 steps at the default would save at its end alone."""
    found = of(preset).stage(stage)
    often = 5 if found.total_training_steps <= 100 else 10
    assert found.save_every == (often if isinstance(found, StageConfig) else 50)


@pytest.mark.parametrize("preset", TABLES)
def test_no_stage_is_bound_to_an_engine(preset: str) -> None:
    assert {stage.engine for stage in of(preset).stages} == {None}


@pytest.mark.parametrize(("preset", "stage"), CELLS)
def test_a_stage_has_the_values_of_its_column(preset: str, stage: str) -> None:
    found = of(preset).stage(stage)
    keys = RL if isinstance(found, StageConfig) else SFT
    assert tuple(getattr(found, key) for key in keys) == TABLES[preset][stage]


@pytest.mark.parametrize("preset", CASCADES)
def test_what_all_rl_stages_of_nemotron_cascade_share(preset: str) -> None:
    for stage in rl(preset).values():
        assert (stage.top_p, stage.kl_coef, stage.entropy_coef) == (0.95, 0.0, 0.0)
        assert (stage.updates_per_batch, stage.loss_aggregation) == (1, "token-mean")
        assert stage.norm_adv_by_std and stage.optimizer.betas == (0.9, 0.95)
        assert stage.top_k == (20 if stage.family == "if_rl" else 0)


@pytest.mark.parametrize("preset", CASCADES)
def test_sft_falls_in_a_cosine_to_nothing(preset: str) -> None:
    for stage in of(preset).stages[:2]:
        adamw = stage.optimizer
        assert (adamw.betas, adamw.weight_decay) == ((0.9, 0.95), 1e-4)
        assert (adamw.schedule, adamw.min_learning_rate) == ("cosine", 0.0)


@pytest.mark.parametrize("preset", CASCADES)
def test_filters_are_those_of_the_sections(preset: str) -> None:
    kinds = {s.family: s.filter.kind for s in rl(preset).values()}
    assert kinds == {
        "rlhf": "none", "if_rl": "batch", "math_rl": "epoch", "code_rl": "none", "swe_rl": "none",
    }  # fmt: skip
    shares = {
        (s.filter.hard_resample, s.filter.easy_resample)
        for s in rl(preset).values()
        if s.family == "math_rl"
    }
    assert shares == {(0.10, 0.01)}


def test_modes_are_halved_in_the_unified_models_rlhf_and_left_out_of_its_if_rl() -> None:
    shares = {s.family: s.modes.think for s in rl("nemotron-cascade-8b").values()}
    assert shares == {"rlhf": 0.5, "if_rl": 0.0, "math_rl": 1.0, "code_rl": 1.0, "swe_rl": 1.0}
    for preset in CASCADES[1:]:
        assert {s.modes.think for s in rl(preset).values()} == {1.0}


def test_only_the_thinking_models_if_rl_is_gated_by_the_reward_model() -> None:
    kinds = {p: {s.reward_kind for s in rl(p).values() if s.family == "if_rl"} for p in CASCADES}
    assert kinds == {
        "nemotron-cascade-8b": {"verifier"},
        "nemotron-cascade-8b-thinking": {"gated_if"},
        "nemotron-cascade-14b-thinking": {"gated_if"},
    }


def test_swe_prompts_grow_and_a_72b_judges_patches() -> None:
    prompts = {
        p: {s.name: s.max_prompt_tokens for s in rl(p).values() if s.family == "swe_rl"}
        for p in CASCADES
    }
    assert prompts == {
        "nemotron-cascade-8b": {"swe_rl/16k": 16384, "swe_rl/24k": 24576},
        "nemotron-cascade-8b-thinking": {"swe_rl/16k": 16384, "swe_rl/24k": 24576},
        "nemotron-cascade-14b-thinking": {"swe_rl": 32768},
    }
    for preset in CASCADES:
        rewards = [s.reward for s in rl(preset).values() if s.family == "swe_rl"]
        assert {(r.swe_similarity, r.judge_model) for r in rewards} == {
            ("judge", "moonshotai/Kimi-Dev-72B")
        }


BODY_VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "nemotron-cascade-8b": {
        "rlhf": {"train_batch_size": 128, "total_training_steps": 800},
        "if_rl/1": {"train_batch_size": 128, "total_training_steps": 2000},
        "if_rl/2": {"train_batch_size": 128, "total_training_steps": 1000},
    },
    "nemotron-cascade-8b-thinking": {
        "rlhf": {"train_batch_size": 128, "total_training_steps": 800},
        "if_rl/1": {"train_batch_size": 128, "total_training_steps": 500, "overlong": SKIPPED},
        "if_rl/2": {"train_batch_size": 128, "total_training_steps": 300, "overlong": SKIPPED},
    },
    "nemotron-cascade-14b-thinking": {
        "rlhf": {"train_batch_size": 128, "total_training_steps": 800},
        "if_rl/1": {"train_batch_size": 128, "total_training_steps": 500, "overlong": SKIPPED},
        "if_rl/2": {"train_batch_size": 128, "total_training_steps": 300, "overlong": SKIPPED},
        "code_rl": {"max_new_tokens": 49152},
    },
}


@pytest.mark.parametrize("preset", CASCADES)
def test_the_bodys_values_are_a_few_settings_away(preset: str) -> None:
    config = parse_config(of(preset).model_dump(mode="json"), BODY[preset])
    for stage, values in BODY_VALUES[preset].items():
        found = config.stage(stage).model_dump()
        assert {key: found[key] for key in values} == values
    meant = {f"stages.{stage}.{key}" for stage, values in BODY_VALUES[preset].items()
             for key in values}  # fmt: skip
    assert {line.split(":")[0] for line in changed(config)} <= meant


def test_the_harder_rows_and_difficulties_of_acereason_are_files_of_their_own() -> None:
    files = {p: [s.train_files[0] for s in of(p).stages] for p in ("acereason-7b", "acereason-14b")}
    hard = ["data/math_hard_24k_train.parquet", "data/math_hard_32k_train.parquet"]
    for preset, level in (("acereason-7b", 5), ("acereason-14b", 7)):
        assert files[preset] == [
            "data/math_train.parquet", "data/math_train.parquet", hard[0],
            f"data/code_level{level}_train.parquet",
            "data/code_train.parquet", "data/code_train.parquet", hard[1],
        ]  # fmt: skip


@pytest.mark.parametrize("preset", ["acereason-7b", "acereason-14b", "dolci-think"])
def test_models_with_a_template_of_their_own_keep_it(preset: str) -> None:
    config = of(preset)
    assert config.chat.template == "own"
    for stage in rl(preset).values():
        assert stage.modes.think + stage.modes.no_think == 0
        assert (stage.kl_coef, stage.entropy_coef, stage.updates_per_batch) == (0.0, 0.0, 1)
        assert not stage.reward.language_penalty


def test_code_rl_of_acereason_drops_what_was_always_solved_and_nothing_else() -> None:
    filters = {name: stage.filter for name, stage in rl("acereason-7b").items()}
    dropping = {name for name, one in filters.items() if one.kind == "epoch"}
    assert dropping == {"code_rl/32k-1", "code_rl/32k-2"}
    assert {(filters[n].easy_resample, filters[n].hard_resample) for n in dropping} == {(0.0, 1.0)}


def test_olmo_centres_advantages_and_clips_higher() -> None:
    for stage in rl("dolci-think").values():
        assert not stage.norm_adv_by_std
        assert (stage.clip_ratio_low, stage.clip_ratio_high) == (0.2, 0.272)
        assert (stage.max_prompt_tokens, stage.loss_aggregation) == (2048, "token-mean")
        assert stage.filter.kind == ("none" if stage.domain == "chat" else "batch")
    assert [s.name for s in rl("dolci-think").values()] == ["rlhf", "if_rl", "math_rl", "code_rl"]


def test_evaluation_follows_the_papers_protocol() -> None:
    for preset in (*CASCADES, "acereason-7b", "acereason-14b"):
        for benchmark in of(preset).benchmarks:
            assert (benchmark.temperature, benchmark.top_p) == (0.6, 0.95)
            assert benchmark.k == (64 if benchmark.name == "math" else 8)
    modes = {p: [b.mode for b in of(p).benchmarks] for p in CASCADES}
    assert modes["nemotron-cascade-8b"] == ["no_think", "think", "think"]
    assert modes["nemotron-cascade-14b-thinking"] == ["think", "think", "think"]
    assert [b.yarn_factor for b in of("nemotron-cascade-8b").benchmarks] == [1.0, 2.0, 2.0]


def test_the_founding_recipe_says_its_answers_and_compares_patches() -> None:
    stages = rl("founding-recipe")
    assert {s.top_p for s in stages.values()} == {0.95}
    assert stages["math_rl"].verifier_options.answer_pattern == "boxed_or_phrase"
    assert stages["swe_rl"].reward.swe_similarity == "lexical"
    assert {n for n, s in stages.items() if s.inputs} == {"rlhf", "if_rl"}
