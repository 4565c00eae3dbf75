"""`cascade run` and what is asked of a finished run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done

Cascade = Callable[..., Done]


def test_a_run_ends_with_a_ledger_a_model_and_a_report(finished: Path, cascade: Cascade) -> None:
    assert (finished / "report.html").exists()
    shown = cascade("ledger", finished)
    assert shown.status == 0
    assert "after" in shown.out and "math_rl" in shown.out and "mean of 2 samples" in shown.out


def test_tensorboard_files_are_written_for_each_stage(finished: Path) -> None:
    assert {path.name for path in (finished / "tensorboard").iterdir()} == {"sft", "math_rl"}


def test_the_same_command_again_trains_nothing(
    finished: Path, short_config: Path, cascade: Cascade
) -> None:
    again = cascade("run", short_config, "--output", finished)
    assert again.status == 0
    assert "training" not in again.out and "report:" in again.out


def test_resume_trains_the_stage_and_what_follows_again(
    finished: Path, short_config: Path, cascade: Cascade
) -> None:
    again = cascade("run", short_config, "--output", finished, "--resume", "math_rl")
    assert again.status == 0
    assert "math_rl (2 of 2): training" in again.out and "sft (1 of 2)" not in again.out
    assert len(list((finished / "stages" / "replaced").iterdir())) == 1


def test_stages_outside_the_selection_are_left_alone(
    short_config: Path, cascade: Cascade, tmp_path: Path
) -> None:
    done = cascade("run", short_config, "--output", tmp_path / "run", "--stages", "sft")
    assert done.status == 0
    assert "sft (1 of 1): training" in done.out and "math_rl" not in done.out


def test_a_dry_run_writes_nothing(short_config: Path, cascade: Cascade, tmp_path: Path) -> None:
    done = cascade("run", short_config, "--output", tmp_path / "new", "--dry-run")
    assert done.status == 0 and "to train" in done.out
    assert not (tmp_path / "new").exists()


def test_plan_shows_what_is_done_and_json_has_the_keys(
    finished: Path, short_config: Path, cascade: Cascade
) -> None:
    assert cascade("plan", short_config, "--output", finished).out.count("done") == 2
    plan = json.loads(cascade("plan", short_config, "--output", finished, "--json").out)
    assert [stage["state"] for stage in plan["stages"]] == ["done", "done"]
    changed = cascade(
        "plan", short_config, "--output", finished, "--set", "math_rl.seed=5", "--json"
    )
    assert [s["state"] for s in json.loads(changed.out)["stages"]] == ["done", "to train"]


def test_ledger_json_is_the_documented_shape(finished: Path, cascade: Cascade) -> None:
    ledger = json.loads(cascade("ledger", finished, "--json").out)
    assert [row["name"] for row in ledger["stages"]] == ["start", "sft", "math_rl"]
    score = ledger["stages"][-1]["scores"]["math"]
    assert {"mean", "greedy", "pass", "stderr", "n", "change", "low", "high"} <= set(score)


def test_two_runs_are_pooled(finished: Path, cascade: Cascade) -> None:
    pooled = json.loads(cascade("ledger", finished, finished, "--json").out)
    assert pooled["stages"][0]["scores"]["math"]["deviation"] == 0.0


def test_a_look_at_the_test_split_is_recorded(finished: Path, cascade: Cascade) -> None:
    from cascade_rl.store import Run

    before = len(Run(finished).looks())
    looked = cascade("eval", finished, "--split", "test", "--json")
    assert looked.status == 0
    assert json.loads(looked.out)["stages"][-1]["scores"]["math"]["n"] == 4
    assert len(Run(finished).looks()) == before + 1
    assert "math_rl" in cascade("ledger", finished, "--test").out


def test_a_model_directory_is_evaluated_on_row_files(
    finished: Path, cascade: Cascade, tmp_path: Path
) -> None:
    [model] = finished.glob("stages/math_rl-*/model")
    done = cascade(
        "eval", model, "--benchmark", "mini:math/val", "--limit", "3", "--k", "2",
        "--max-new-tokens", "8", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    [row] = json.loads(done.out)["stages"]
    assert row["scores"]["math-val"]["n"] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_exits_130(
    number: signal.Signals, short_config: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    command = [
        sys.executable, "-m", "cascade_rl.cli", "run", str(short_config), "--output", str(output),
        "--set", "sft.total_training_steps=5000",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("sft: step"):
                process.send_signal(number)
                break
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "Run the same command to go on" in rest
    [checkpoint] = output.glob("stages/sft-*/checkpoints/step-*")
    assert int(checkpoint.name.removeprefix("step-")) >= 1
