"""What is missing is said before anything starts, with what to type next."""

from __future__ import annotations

import importlib.metadata
import shlex
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.cli.run import run
from cascade_rl.config import AnyStage, CascadeRLConfig, VerlConfig
from cascade_rl.configfile import resolved_yaml
from cascade_rl.data.rows import write_rows
from cascade_rl.engines.verl import checks
from cascade_rl.engines.verl.checks import (
    check_cascade,
    check_installed,
    check_machine,
    check_rows,
    check_stage,
)
from cascade_rl.engines.verl.cluster import Node
from cascade_rl.engines.verl.settings import MAIN
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.trainer import make_engines
from cascade_rl.types import Checkpoint, Row
from tests.engines.helpers import (
    CHAT,
    comma_problems,
    conversations,
    job_of,
    pairs,
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
    [{"nodes": 2}, {"rollout": "vllm"}],
    ids=["several nodes", "vllm"],
)
def test_the_cpu_platform_has_its_own_sampler_and_ray_of_one_node(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"verl\.(nodes is 2|rollout is vllm)"):
        check_machine(VERL.model_copy(update=values))


REFUSED = {
    "lora": rl_stage(lora={}),
    "filter": rl_stage(filter={"kind": "batch"}, updates_per_batch=2),
    "moments": rl_stage(optimizer={"moments": "int8"}),
    "group-token-mean": rl_stage(loss_aggregation="group-token-mean", kl_coef=0.1),
    "which 2 GPUs cannot share": rl_stage(train_batch_size=1, rollout_n=3),
    "shared equally by 2 GPUs": sft_stage(train_batch_size=3),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_a_stage_that_verl_cannot_train_is_refused_by_name(what: str) -> None:
    with pytest.raises(ConfigError, match=what) as error:
        check_stage(REFUSED[what], VERL)
    assert error.value.hint


@pytest.mark.parametrize("stage", [sft_stage(), reward_model_stage()], ids=["sft", "reward_model"])
def test_without_rl_a_stage_stays_on_one_machine(stage: AnyStage) -> None:
    with pytest.raises(ConfigError, match=r"runs on the GPUs of this machine alone"):
        check_stage(stage, VerlConfig(nodes=2, ray_address="auto"))
    check_stage(stage, VERL)


def test_a_later_stage_is_refused_before_the_first_one_starts() -> None:
    stages = [rl_stage(name="a/1", engine="local"), rl_stage(name="a/2")]
    config = CascadeRLConfig(stages=stages, engine="verl", verl=VERL)
    with pytest.raises(ConfigError, match=r"a/2: verl cannot carry") as error:
        check_cascade(config)
    assert error.value.hint == "start it fresh:  --set a/2.optimizer.state=fresh"


def test_reward_model_and_judge_take_a_gpu_each_beside_the_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cascade_rl.engines.verl.checks._own_gpus", lambda: 8)
    check_machine(VerlConfig(gpus_per_node=7), scorers=1)
    with pytest.raises(ConfigError, match=r"8 GPUs asked for training and 1 beside them .* 8 seen"):
        check_machine(VerlConfig(gpus_per_node=8), scorers=1)


@pytest.mark.parametrize(
    ("nodes", "gpus", "parts", "fits"),
    [(1, 8, 4, True), (1, 8, 3, False), (2, 6, 4, False), (2, 8, 16, True), (1, 8, 16, False)],
)
def test_tensor_parallel_divides_the_gpus(nodes: int, gpus: int, parts: int, fits: bool) -> None:
    verl = VerlConfig(nodes=nodes, gpus_per_node=gpus, tensor_parallel=parts)
    stage = rl_stage(train_batch_size=48)
    if fits:
        check_stage(stage, verl)
        return
    with pytest.raises(ConfigError, match=rf"verl\.tensor_parallel is {parts}; expected") as error:
        check_stage(stage, verl)
    assert "--set verl.tensor_parallel" in error.value.hint


@pytest.fixture
def seen_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray of one node with eight GPUs, which sees all files; vLLM is installed."""
    monkeypatch.setattr(checks, "_check_rollout", lambda _: None)
    monkeypatch.setattr(checks, "nodes_of", lambda _: [Node("10.0.0.7", 8, ())])
    monkeypatch.setattr(checks, "refuse_unshared", lambda *_: None)


@pytest.mark.usefixtures("seen_gpus")
@pytest.mark.parametrize(("parts", "fits"), [(2, True), (4, True), (8, False)])
def test_tensor_parallel_divides_the_start_models_heads(
    parts: int, fits: bool, start: Checkpoint
) -> None:
    verl = VerlConfig(ray_address="auto", tensor_parallel=parts)
    stage = rl_stage(train_batch_size=8)
    config = CascadeRLConfig(model=str(start.path), stages=[stage], engine="verl", verl=verl)
    if fits:
        check_cascade(config)
        return
    with pytest.raises(ConfigError, match=r"has 4 attention heads and 2 heads of keys"):
        check_cascade(config)


@pytest.mark.usefixtures("seen_gpus")
def test_a_stretched_benchmark_wants_a_gpu_where_the_command_is_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values: dict[str, Any] = {
        "stages": [rl_stage(train_batch_size=8)],
        "engine": "verl",
        "verl": VerlConfig(ray_address="auto"),
        "benchmarks": [{"name": "math", "file": "mini:math/val", "yarn_factor": 2.0}],
    }
    monkeypatch.setattr(checks, "_own_gpus", lambda: 0)
    with pytest.raises(ConfigError, match=r"benchmark math has a yarn_factor") as error:
        check_cascade(CascadeRLConfig(**values))
    assert "yarn_factor: 1" in error.value.hint and "node with a GPU" in error.value.hint
    check_cascade(CascadeRLConfig(**values, local={"device": "cpu"}))
    monkeypatch.setattr(checks, "_own_gpus", lambda: 1)
    check_cascade(CascadeRLConfig(**values))


@pytest.mark.parametrize(
    ("stage", "rows", "message"),
    [
        (rl_stage(max_prompt_tokens=4), comma_problems(4), r"prompt of row p0 is \d+ tokens"),
        (sft_stage(max_tokens=8), conversations(4), r"row s0 is \d+ tokens; the limit is 8"),
        (reward_model_stage(max_tokens=8), pairs(4), r"pair r0 is \d+ tokens; the limit is 8"),
    ],
    ids=["rl", "sft", "reward_model"],
)
def test_a_row_that_does_not_fit_is_refused_by_its_name(
    stage: AnyStage, rows: list[Row], message: str, start: Checkpoint
) -> None:
    with pytest.raises(DataError, match=message):
        check_rows(job_of(start, stage, rows, verl=VERL))


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
