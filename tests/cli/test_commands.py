"""The small commands: init, data, doctor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cascade_rl.data.rows import read_problems
from cascade_rl.presets import PRESETS
from tests.cli.conftest import Done

Cascade = Callable[..., Done]


@pytest.mark.parametrize("name", PRESETS)
def test_init_prints_a_config_that_reads_back_equal(
    name: str, cascade: Cascade, tmp_path: Path
) -> None:
    from cascade_rl.configfile import parse_config

    printed = cascade("init", name)
    assert printed.status == 0
    assert parse_config(yaml.safe_load(printed.out)) == PRESETS[name]()


def test_plan_marks_what_differs_from_the_preset(cascade: Cascade) -> None:
    from cascade_rl.cli.plan import changed

    config = PRESETS["founding-recipe"]()
    assert changed(config) == []
    stages = tuple(s.model_copy(update={"learning_rate": 1e-6}) for s in config.stages[-1:])
    lines = changed(config.model_copy(update={"stages": (*config.stages[:-1], *stages)}))
    assert lines == ["stages.swe_rl.learning_rate: 2e-06 -> 1e-06"]


def test_a_path_that_was_resolved_is_no_difference_from_the_preset(tmp_path: Path) -> None:
    from cascade_rl.cli.plan import changed
    from cascade_rl.configfile import resolve_paths

    config = resolve_paths(PRESETS["nemotron-cascade-8b"](), tmp_path)
    assert changed(config) == []
    [stage, *rest] = config.stages
    elsewhere = stage.model_copy(update={"train_files": (str(tmp_path / "other.parquet"),)})
    [line] = changed(config.model_copy(update={"stages": (elsewhere, *rest)}))
    assert line.startswith("stages.sft/1.train_files: ")


def test_data_mini_writes_files_that_read_back(cascade: Cascade, tmp_path: Path) -> None:
    done = cascade("data", "mini", tmp_path, "--jsonl")
    assert done.status == 0
    for domain in ("chat", "instruction_following", "math", "code", "swe"):
        assert len(read_problems(tmp_path / domain / "val.jsonl")) >= 300


def test_doctor_says_what_this_machine_has(cascade: Cascade) -> None:
    done = cascade("doctor")
    assert done.status == 0
    for name in ("python", "torch", "threads", "sandbox", "disk", "chromium"):
        assert any(name in line for line in done.out.splitlines())


def test_no_arguments_show_the_help(cascade: Cascade) -> None:
    assert "Usage: cascade" in cascade("--help").out
