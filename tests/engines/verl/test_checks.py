"""What is missing is said before anything starts, with what to type next."""

from __future__ import annotations

import importlib.metadata
import shlex
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.cli.run import run
from cascade_rl.config import CascadeRLConfig, VerlConfig
from cascade_rl.configfile import resolved_yaml
from cascade_rl.data.rows import write_rows
from cascade_rl.engines.verl.checks import (
    check_cascade,
    check_installed,
    check_machine,
    check_rows,
    check_stage,
)
from cascade_rl.engines.verl.settings import MAIN
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.trainer import make_engines
from cascade_rl.types import Checkpoint
from tests.engines.helpers import (
    CHAT,
    comma_problems,
    job_of,
    reward_model_stage,
    rl_stage,
    sft_stage,
)
from tests.engines.verl.helpers import VERL


def other_version(monkeypatch: pytest.MonkeyPatch, name: str, version: str | None) -> None:
    known = importlib.metadata.version

    def found(package: str) -> str:
        if package != name:
            return known(package)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(package)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)


def test_verl_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other_version(monkeypatch, "verl", "0.8.0")
    with pytest.raises(ConfigError, match=r"verl 0\.8\.0 is installed.*0\.9\.1"):
        check_installed()


@pytest.mark.parametrize("name", ["verl", "ray", "TransferQueue"])
def test_a_missing_package_is_named_with_what_to_type(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_version(monkeypatch, name, None)
    with pytest.raises(ConfigError, match=f"needs {name}, which is not installed") as error:
        check_installed()
    assert "pip install" in error.value.hint and "--engine local" in error.value.hint


def test_too_few_gpus_are_counted() -> None:
    with pytest.raises(ConfigError, match=r"1 x 64 GPUs asked, seen by node: \d"):
        check_machine(VerlConfig(gpus_per_node=64))


def test_a_ray_that_does_not_answer_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Ray at 127\.0\.0\.1:9 cannot be reached"):
        check_machine(VerlConfig(ray_address="127.0.0.1:9"))


@pytest.mark.parametrize(
    "values",
    [{"ray_address": "auto"}, {"nodes": 2}, {"rollout": "vllm"}],
    ids=["another cluster", "several nodes", "vllm"],
)
def test_the_cpu_platform_is_one_machine_with_its_own_sampler(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"platform"):
        check_machine(VERL.model_copy(update=values))


REFUSED = {
    "lora": rl_stage(lora={}),
    "filter": rl_stage(filter={"kind": "batch"}),
    "moments": rl_stage(optimizer={"moments": "int8"}),
    "eval_every": rl_stage(eval_every=2),
    "group-token-mean": rl_stage(loss_aggregation="group-token-mean", kl_coef=0.1),
    "which 2 GPUs cannot share": rl_stage(train_batch_size=1, rollout_n=3),
    "this one is sft": sft_stage(),
    "this one is reward_model": reward_model_stage(),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_a_stage_that_verl_cannot_train_is_refused_by_name(what: str) -> None:
    with pytest.raises(ConfigError, match=what) as error:
        check_stage(REFUSED[what], VERL, carries=False)
    assert error.value.hint


def test_a_later_stage_is_refused_before_the_first_one_starts() -> None:
    stages = [rl_stage(name="a/1"), rl_stage(name="a/2")]
    config = CascadeRLConfig(stages=stages, engine="verl", verl=VERL)
    with pytest.raises(ConfigError, match=r"a/2: verl does not carry") as error:
        check_cascade(config)
    assert error.value.hint == "start it fresh:  --set a/2.optimizer.state=fresh"


def test_a_prompt_that_does_not_fit_is_refused_by_its_row(start: Checkpoint) -> None:
    job = job_of(start, rl_stage(max_prompt_tokens=4), comma_problems(4), verl=VERL)
    with pytest.raises(DataError, match=r"prompt of row p0 is \d+ tokens; the limit is 4"):
        check_rows(job, comma_problems(4))


def test_engines_are_made_for_the_stages_that_name_them(tmp_path: Path) -> None:
    stage = {"name": "math_rl", "domain": "math", "train_files": ["mini:math/train"]}
    both = [stage, {**stage, "name": "code_rl", "engine": "verl"}]
    config = CascadeRLConfig.model_validate({"stages": both, "verl": VERL.model_dump()})
    assert sorted(make_engines(config)) == ["local", "verl"]


def test_a_dry_run_prints_the_command_of_each_stage_on_verl(
    start: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    write_rows(rows, comma_problems(4))
    stages = [rl_stage(name=name, train_files=[str(rows)]) for name in ("a_rl", "b_rl")]
    config = CascadeRLConfig(model=str(start.path), stages=stages, verl=VERL, chat=CHAT)
    file = tmp_path / "cascade.yaml"
    file.write_text(resolved_yaml(config))
    out = tmp_path / "out"
    assert run(str(file), output=out, engine="verl", dry_run=True) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if MAIN in line]
    assert len(lines) == 2 and not out.exists()
    first, second = map(shlex.split, lines)
    assert f'actor_rollout_ref.model.path="{start.path}"' in first
    model = next(part for part in second if part.startswith("actor_rollout_ref.model.path="))
    assert model.startswith(f'actor_rollout_ref.model.path="{out}/stages/a_rl-')
    assert "VERL_PLATFORM=cpu" in first and "trainer.total_training_steps=4" in first
