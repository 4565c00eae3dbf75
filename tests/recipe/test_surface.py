"""The founding recipe's names, its YAML, and its preprocessing."""

from __future__ import annotations

import json
from pathlib import Path

import cascade_rl
from cascade_rl.blocks import with_blocks
from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.configfile import load_config, parse_config
from cascade_rl.data.rows import read_problems
from cascade_rl.presets import PRESETS
from recipe import cascaded_rl
from recipe.cascaded_rl import preprocess_dolci_dataset
from recipe.cascaded_rl.run_cascaded_rl import OWN_CONFIG, read
from tests.recipe.dolci import COUNT, write_dolci


def test_the_names_are_those_of_the_package() -> None:
    from recipe.cascaded_rl import (
        CascadedRLTrainer,
        CascadeRLConfig,
        StageConfig,
        create_default_cascade_stages,
    )

    assert CascadedRLTrainer is cascade_rl.CascadedRLTrainer
    assert CascadeRLConfig is cascade_rl.CascadeRLConfig
    assert StageConfig is cascade_rl.StageConfig
    assert create_default_cascade_stages is cascade_rl.create_default_cascade_stages
    assert set(cascaded_rl.__all__) <= set(cascade_rl.__all__)


def test_the_documented_snippet_makes_a_trainer(tmp_path: Path) -> None:
    config = cascaded_rl.CascadeRLConfig(
        stages=cascaded_rl.create_default_cascade_stages()[2:4],
        cascade_checkpoint_dir=str(tmp_path / "checkpoints"),
    )
    trainer = cascaded_rl.CascadedRLTrainer(
        cascade_config=config,
        tokenizer=None,
        role_worker_mapping=None,
        resource_pool_manager=None,
    )
    assert trainer.output == tmp_path / "checkpoints"
    assert [stage.name for stage in trainer.config.stages] == ["math_rl", "code_rl"]


def test_the_yaml_loads_unchanged_and_is_the_preset_but_for_the_length() -> None:
    loaded = load_config(OWN_CONFIG)
    assert {Path(file).parent for s in loaded.stages for file in s.train_files} == {
        OWN_CONFIG.parent / "data"
    }
    mine = with_blocks(parse_config(read(OWN_CONFIG)))
    preset = PRESETS["founding-recipe"]()
    stages = tuple(
        s.model_copy(update={"max_new_tokens": 16384}) if isinstance(s, StageConfig) else s
        for s in preset.stages
    )
    assert [s.model_dump() for s in mine.stages] == [s.model_dump() for s in stages]
    assert mine.benchmarks == preset.benchmarks


def test_the_blocks_of_the_yaml_fill_what_a_stage_leaves_out() -> None:
    values = read(OWN_CONFIG)
    for stage in values["stages"]:
        for key in ("rollout_n", "temperature", "top_p"):
            stage.pop(key, None)
    values["actor_rollout_ref"]["rollout"]["n"] = 4
    config: CascadeRLConfig = with_blocks(parse_config(values))
    assert {s.rollout_n for s in config.stages if isinstance(s, StageConfig)} == {4}


def test_preprocessing_splits_rows_by_domain(tmp_path: Path) -> None:
    source, out = write_dolci(tmp_path / "dolci.parquet"), tmp_path / "data"
    command = ["--input_path", str(source), "--output_dir", str(out), "--split_by_domain"]
    assert preprocess_dolci_dataset.main(command) == 0
    counts = {"math": COUNT, "code": 2 * COUNT, "instruction_following": COUNT, "chat": COUNT}
    for domain, count in counts.items():
        sides = [read_problems(out / f"{domain}_{side}.parquet") for side in ("train", "val")]
        assert sum(map(len, sides)) == count and all(sides)
        assert {problem.domain for side in sides for problem in side} == {domain}
        assert not any(p.prompt[0].content.startswith("user:") for side in sides for p in side)
    assert json.loads((out / "report.json").read_text())["dropped"] == {}


def test_preprocessing_without_an_output_says_so() -> None:
    assert preprocess_dolci_dataset.main(["--input_path", "none.parquet"]) == 2
