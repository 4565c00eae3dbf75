"""The shell script's flags, by what `--dry-run` says: each does what it says or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.data.rows import write_rows
from recipe.cascaded_rl.run_cascaded_rl import main
from tests.recipe.conftest import Done
from tests.support import make_rows

Shell = Callable[..., Done]


def planned(out: str) -> list[str]:
    """Names of the stages in the plan's table."""
    lines = out.split("state")[1].splitlines()[1:]
    return [line.split()[0] for line in lines[: lines.index("") if "" in lines else None]]


@pytest.fixture
def command(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """The same command in this process."""
    monkeypatch.chdir(bench)

    def call(*arguments: str) -> Done:
        try:
            status = main([*arguments, "--output_dir", str(tmp_path / "output"), "--dry-run"])
        except SystemExit as stopped:  # argparse's own
            status = int(stopped.code or 0)
        return Done(status, *capsys.readouterr())

    return call


def test_all_stages_are_those_there_is_data_for_and_the_rest_is_said(
    shell: Shell, tmp_path: Path
) -> None:
    done = shell("--model", "start", "--data_dir", "./data", "--gpus", "8", "--dry-run")
    assert (done.status, done.err) == (0, "")
    assert planned(done.out) == ["if_rl", "math_rl", "code_rl"]
    assert "left out: rlhf: " in done.out and "preference_train.parquet is not there" in done.out
    assert "left out: swe_rl: " in done.out and "swe_train.parquet is not there" in done.out
    assert "left out: the reward model of if_rl: " in done.out
    assert "the cascade starts from " in done.out
    assert done.out.count("trainer.n_gpus_per_node=8") == 3
    assert done.out.count("trainer.nnodes=1") == 3
    assert not (tmp_path / "output").exists()


def test_eight_gpus_are_what_is_asked_for_by_default(command: Shell) -> None:
    assert command("--model", "start").out == command("--model", "start", "--gpus", "8").out
    assert command("--model", "start", "--gpus", "4").out.count("n_gpus_per_node=4") == 3


def test_a_hub_name_is_a_model(shell: Shell) -> None:
    done = shell("--model", "Qwen/Qwen3-8B", "--gpus", "8", "--dry-run")
    assert done.status == 0
    assert "the cascade starts from Qwen/Qwen3-8B" in done.out
    assert done.out.count("actor_rollout_ref.model.path=") == 3


def test_stages_without_a_parent_start_from_the_model_and_say_so(shell: Shell) -> None:
    done = shell("--stages", "math_rl,code_rl", "--model", "start", "--dry-run")
    assert done.status == 0
    assert planned(done.out) == ["math_rl", "code_rl"]
    assert "math_rl starts from " in done.out and "; if_rl is not finished in " in done.out


def test_stages_with_neither_parent_nor_model_say_what_to_type(shell: Shell) -> None:
    done = shell("--stages", "math_rl,code_rl", "--dry-run")
    assert done.status == 2
    assert "math_rl starts from if_rl, which is not finished" in done.err
    assert "--model Qwen/Qwen3-8B" in done.err


def test_all_stages_with_no_model_say_what_to_type(shell: Shell) -> None:
    done = shell("--dry-run")
    assert done.status == 2 and "no --model is given" in done.err and "name one:" in done.err


def test_resuming_where_nothing_ran_says_what_to_type(shell: Shell) -> None:
    done = shell("--resume", "code_rl", "--dry-run")
    assert done.status == 2
    assert "nothing to resume code_rl from: math_rl is not finished" in done.err
    assert "--stages code_rl --model" in done.err


def test_logical_gpus_are_asked_of_processors(shell: Shell) -> None:
    flags = ("--model", "start", "--gpus", "2", "--dry-run")
    for done in (shell(*flags, "--platform", "cpu"), shell(*flags, CASCADE_PLATFORM="cpu")):
        assert done.status == 0
        assert done.out.count("VERL_PLATFORM=cpu") == 3
        assert done.out.count("trainer.n_gpus_per_node=2") == 3
        assert done.out.count("+ray_kwargs.ray_init.num_gpus=2") == 3


def test_the_engine_is_a_flag_or_a_variable(command: Shell, shell: Shell) -> None:
    for done in (
        command("--model", "start", "--engine", "local"),
        shell("--model", "start", "--dry-run", CASCADE_ENGINE="local"),
    ):
        assert done.status == 0 and "cascade_rl.engines.verl.main" not in done.out
    wrong = shell("--model", "start", "--dry-run", CASCADE_ENGINE="vllm")
    assert wrong.status == 2 and "CASCADE_ENGINE is 'vllm'; expected verl or local" in wrong.err


def test_a_reward_model_is_trained_where_there_are_preferences(command: Shell) -> None:
    done = command("--model", "start", "--data_dir", "more", "--engine", "local",
                   "--set=reward_model.max_tokens=64")  # fmt: skip
    assert done.status == 0
    assert planned(done.out) == ["reward_model", "rlhf", "if_rl", "math_rl", "code_rl"]
    on_verl = command("--model", "start", "--data_dir", "more")
    assert planned(on_verl.out) == ["if_rl", "math_rl", "code_rl"]
    assert "it would need a GPU beside those that train" in on_verl.out


def test_a_reward_model_that_is_served_judges_on_verl(command: Shell) -> None:
    done = command("--model", "start", "--reward_url", "http://127.0.0.1:8001/score")
    assert done.status == 0
    assert planned(done.out) == ["rlhf", "if_rl", "math_rl", "code_rl"]


def test_selecting_rlhf_selects_its_reward_model(command: Shell) -> None:
    done = command("--model", "start", "--data_dir", "more", "--engine", "local", "--stages=rlhf")
    assert done.status == 0 and "rlhf starts from " in done.out


REFUSED = {
    "a stage nobody knows": (("--stages", "mathrl"), "did you mean 'math_rl'?"),
    "a stage to resume nobody knows": (("--resume", "nothing"), "stages here:"),
    "a stage without rows": (("--stages", "swe_rl"), "swe_train.parquet does not exist"),
    "RLHF without a reward model": (("--stages", "rlhf"), "--reward_url http://"),
    "GPUs of the local engine": (("--engine", "local", "--gpus", "8"), "is for verl"),
    "two devices": (("--engine=local", "--gpus=0", "--platform=cuda"), "contradict each other"),
    "no GPU on verl": (("--gpus", "0"), "--platform cpu"),
    "less than none": (("--gpus", "-1"), "expected a number of GPUs"),
    "a word for GPUs": (("--gpus", "many"), "invalid int value"),
    "no such engine": (("--engine", "vllm"), "invalid choice"),
    "half a flag": (("--stage", "math_rl"), "unrecognized arguments"),
    "no data": (("--data_dir", "nowhere"), "there are no rows for any stage"),
    "no config": (("--config", "none.yaml"), "--config none.yaml cannot be read"),
    "no such model": (("--model", "./nothing"), "is not a directory"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused(name: str, command: Shell) -> None:
    arguments, said = REFUSED[name]
    done = command("--model", "start", *arguments)
    assert done.status == 2 and said in done.err and "Traceback" not in done.err


def test_a_config_of_ones_own_is_read_with_its_paths(
    command: Shell, bench: Path, tmp_path: Path
) -> None:
    make_rows(tmp_path / "mine.jsonl")
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"model: {bench / 'start'}\n"
        "stages: [{name: math_rl, domain: math, train_files: [mine.jsonl], max_new_tokens: 64}]\n"
    )
    done = command("--config", str(config), "--engine", "local")
    assert done.status == 0 and planned(done.out) == ["math_rl"]


def test_a_train_file_that_shows_another_sets_items_is_still_refused(
    command: Shell, bench: Path, tmp_path: Path
) -> None:
    from cascade_rl.data.rows import read_rows

    (tmp_path / "leaky").mkdir()
    for file in (bench / "data").iterdir():
        (tmp_path / "leaky" / file.name).write_bytes(file.read_bytes())
    held = read_rows(tmp_path / "leaky/math_val.parquet", "problem")
    rows = read_rows(tmp_path / "leaky/code_train.parquet", "problem")
    write_rows(tmp_path / "leaky/code_train.parquet", [*rows, *held])
    done = command("--model", "start", "--data_dir", str(tmp_path / "leaky"))
    assert done.status == 2 and "show an item of math" in done.err
