"""The shell script trains: from the model, from what is finished, and again from a stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.store import Run
from recipe.cascaded_rl.run_cascaded_rl import main
from tests.engines.helpers import tiny_model
from tests.recipe.conftest import SMALL, Done

LOCAL = ["--engine", "local", "--platform", "cpu", *SMALL]
Command = Callable[..., Done]


@pytest.fixture(scope="module")
def output(bench: Path) -> Path:
    return bench / "output"


@pytest.fixture
def command(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The script's command in this process."""
    monkeypatch.chdir(bench)

    def call(*arguments: str) -> Done:
        return Done(main([*LOCAL, *arguments]), *capsys.readouterr())

    return call


def committed(output: Path) -> dict[str, float]:
    """When each finished stage was committed, by name."""
    return {r.name: r.contract["finished"] for r in Run(output).stages() if r.contract}


def trained(done: Done) -> list[str]:
    return [line.split(" (")[0] for line in done.out.splitlines() if line.endswith(": training")]


def test_every_stage_of_the_data_is_trained_in_order(
    shell: Callable[..., Done], output: Path
) -> None:
    done = shell("--model", "start", "--data_dir", "./data", *LOCAL, output=output)
    assert done.status == 0, done.err
    assert trained(done) == ["if_rl", "math_rl", "code_rl"]
    assert "left out: rlhf" in done.out and (output / "report.html").exists()
    again = shell(*LOCAL, output=output)  # the model is the one that the run began with
    assert again.status == 0 and trained(again) == []


def test_stages_start_from_their_parent_in_the_output(command: Command, output: Path) -> None:
    before = committed(output)
    done = command("--stages", "math_rl,code_rl", "--output_dir", str(output))
    assert done.status == 0 and trained(done) == []
    assert f"math_rl starts from if_rl in {output}" in done.out
    assert committed(output) == before


def test_resume_keeps_what_is_before_a_stage_and_trains_what_follows(
    command: Command, output: Path
) -> None:
    before = committed(output)
    done = command("--resume", "math_rl", "--output_dir", str(output))
    assert done.status == 0 and trained(done) == ["math_rl", "code_rl"]
    after = committed(output)
    assert after["if_rl"] == before["if_rl"]
    assert after["math_rl"] > before["math_rl"] and after["code_rl"] > before["code_rl"]
    assert len(list((output / "stages/replaced").glob("*/*"))) == 2


def test_with_another_model_a_finished_parent_is_no_parent(
    command: Command, output: Path, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "other", seed=1, context=65536).path
    done = command("--stages", "code_rl", "--model", str(model), "--output_dir", str(output),
                   "--dry-run")  # fmt: skip
    assert done.status == 0
    assert f"code_rl starts from {model}; math_rl is not finished in {output}" in done.out


def test_other_settings_than_those_of_the_parent_are_told_apart(
    command: Command, output: Path
) -> None:
    done = command("--stages", "code_rl", "--set=local.micro_batch_tokens=999",
                   "--output_dir", str(output), "--dry-run")  # fmt: skip
    assert done.status == 2
    assert "not finished" in done.err and f"--model {output}/stages/math_rl-" in done.err


def test_stages_follow_each_other_over_several_commands(command: Command, tmp_path: Path) -> None:
    output = tmp_path / "alone"
    first = command("--stages", "math_rl", "--model", "start", "--output_dir", str(output))
    assert first.status == 0 and trained(first) == ["math_rl"]
    assert "; if_rl is not finished in " in first.out
    second = command("--stages", "code_rl", "--output_dir", str(output))
    assert second.status == 0 and trained(second) == ["code_rl"]
    assert f"code_rl starts from math_rl in {output}" in second.out
    third = command("--resume", "code_rl", "--output_dir", str(output))
    assert third.status == 0 and trained(third) == ["code_rl"]
    assert list(committed(output)) == ["math_rl", "code_rl"]


def test_a_gap_between_two_stages_is_no_parent(command: Command, tmp_path: Path) -> None:
    output = tmp_path / "gap"
    done = command("--stages", "if_rl,code_rl", "--model", "start", "--output_dir", str(output))
    assert done.status == 0 and trained(done) == ["if_rl", "code_rl"]
    records = {record.name: record for record in Run(output).stages()}
    assert records["code_rl"].parent == records["if_rl"].key


def test_rlhf_brings_its_reward_model_along(command: Command, tmp_path: Path) -> None:
    output = tmp_path / "rlhf"
    done = command("--stages", "rlhf,if_rl", "--data_dir", "more", "--model", "start",
                   "--output_dir", str(output))  # fmt: skip
    assert done.status == 0, done.err
    assert trained(done) == ["reward_model", "rlhf", "if_rl"]
    records = {record.name: record for record in Run(output).stages()}
    assert records["rlhf"].inputs == {"reward_model": records["reward_model"].key}
    assert records["if_rl"].inputs == {"reward_model": records["reward_model"].key}
