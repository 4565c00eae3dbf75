"""Every published preset plans as it stands, and says what it misses before anything starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.cli import status_of
from cascade_rl.data.rows import read_rows, write_rows
from cascade_rl.presets import PRESETS
from tests.presets.rows import write_all, write_start_model

PUBLISHED = [name for name in PRESETS if not name.startswith("mini")]
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cascade(capsys: pytest.CaptureFixture[str]) -> Say:
    """One command line in this process: its status, what it printed, what it complained of."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = status_of([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are typed: `data/` is beside what they read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_plans_by_its_name_with_its_rows_beside_it(
    name: str, folder: Path, cascade: Say
) -> None:
    write_all(PRESETS[name](), folder)
    status, out, err = cascade("plan", name, "--json")
    assert (status, err) == (0, "")
    assert [s["name"] for s in json.loads(out)["stages"]] == [
        s.name for s in PRESETS[name]().stages
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_stage_of_a_preset_is_a_job_on_verl(name: str, folder: Path, cascade: Say) -> None:
    config = PRESETS[name]()
    write_all(config, folder)
    status, out, err = cascade(
        "run", name, "--output", folder / "out", "--engine", "verl", "--dry-run"
    )
    assert (status, err) == (0, "")
    assert out.count("VERL_USE_EXTERNAL_MODULES=") == len(config.stages)


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_init_prints_plans_from_a_start_model(name: str, folder: Path, cascade: Say) -> None:
    config = PRESETS[name]()
    write_all(config, folder)
    start = write_start_model(folder / "start", context=128 * 1024)
    _, printed, _ = cascade("init", name)
    file = folder / "mine.yaml"
    file.write_text(printed.replace(f"model: {config.model}\n", f"model: {start}\n"))
    status, out, err = cascade("plan", file)
    assert (status, err) == (0, "")
    changes = out.split("differs from preset")[1].strip().splitlines()[1:]
    assert changes == [f"  model: {config.model} -> {start}"]


def test_what_the_recipe_shares_is_only_reported(folder: Path, cascade: Say) -> None:
    write_all(PRESETS["nemotron-cascade-8b"](), folder)
    _, out, _ = cascade("plan", "nemotron-cascade-8b", "--json")
    shared = json.loads(out)["expected_overlaps"]
    assert len(shared) == 7  # SFT, IF-RL, math RL in three pairs, code RL, SWE RL
    assert any("swe_24k_train.parquet" in line for line in shared)


def test_prompts_that_may_not_be_shared_are_refused(folder: Path, cascade: Say) -> None:
    write_all(PRESETS["nemotron-cascade-8b"](), folder)
    rows = read_rows(folder / "data/math_val.parquet", "problem")
    write_rows(folder / "data/math_train.parquet", rows)
    status, _, err = cascade("plan", "nemotron-cascade-8b")
    assert status == 2 and "math_train.parquet show an item of math" in err


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_that_is_missing_is_named_with_its_rows_and_what_to_type(
    name: str, folder: Path, cascade: Say
) -> None:
    config = PRESETS[name]()
    write_all(config, folder)
    last = config.stages[-1]
    (folder / last.train_files[0]).unlink()
    readers = [s.name for s in config.stages if s.train_files == last.train_files]
    for command in (("plan", name), ("run", name, "--output", folder / "out")):
        status, _, err = cascade(*command)
        assert status == 2
        assert f"{folder / last.train_files[0]} does not exist: stage {readers[0]} reads" in err
        assert "(prompt, chosen" in err if last.kind == "reward_model" else "ability" in err
        assert "cascade data prepare" in err and "--set" in err
    assert not (folder / "out/stages").exists()


def test_all_that_is_missing_is_said_at_once(folder: Path, cascade: Say) -> None:
    status, _, err = cascade("plan", "nemotron-cascade-8b")
    assert status == 2
    assert err.count("does not exist") == 12
    assert "SFT rows (messages, source)" in err and "cascade data mix" in err
    assert "benchmark math reads" in err


def test_a_context_too_short_for_a_stage_is_refused(folder: Path, cascade: Say) -> None:
    write_all(PRESETS["nemotron-cascade-8b"](), folder)
    start = write_start_model(folder / "start", context=32 * 1024)
    status, _, err = cascade("plan", "nemotron-cascade-8b", "--set", f"model={start}")
    assert status == 2
    assert "stage math_rl/40k: max_new_tokens is 40960, but the model's context is 32768" in err
