"""The founding recipe's commands and its snippet on verl: two logical GPUs, one step a stage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cascade_rl import mini
from cascade_rl.config import BenchmarkConfig, StageConfig, VerlConfig
from cascade_rl.data.rows import write_rows
from cascade_rl.digests import weights_digest
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.local.model import load_tokenizer
from cascade_rl.engines.scorer import RewardModelScorer
from cascade_rl.engines.scorer_server import ScorerServer
from cascade_rl.store import Run
from cascade_rl.types import Checkpoint, Problem
from recipe.cascaded_rl import (
    CascadedRLTrainer,
    CascadeRLConfig,
    create_default_cascade_stages,
)
from tests.engines.helpers import Recording, job_of, pairs, reward_model_stage
from tests.recipe.conftest import SMALL, STEP, Done
from tests.recipe.test_runs import trained

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600)]
VERL = ["--gpus", "2", "--platform", "cpu", "--set=verl.verifier_workers=1", *SMALL]


@pytest.fixture(scope="module")
def output(bench: Path) -> Path:
    pytest.importorskip("verl")
    return bench / "output-verl"


def keys(output: Path) -> dict[str, str]:
    return {record.name: record.key for record in Run(output).stages() if record.contract}


def parents(output: Path) -> dict[str, str | None]:
    return {record.name: record.parent for record in Run(output).stages() if record.contract}


def test_the_command_trains_every_stage_there_are_rows_for(
    shell: Callable[..., Done], output: Path
) -> None:
    done = shell("--model", "start", "--data_dir", "./data", *VERL, output=output)
    assert done.status == 0, done.out + done.err
    assert trained(done) == ["if_rl", "math_rl", "code_rl"]
    known, started = keys(output), parents(output)
    assert started["math_rl"] == known["if_rl"] and started["code_rl"] == known["math_rl"]
    assert (output / "report.html").exists()


def test_stages_and_resume_go_on_from_what_is_there(
    shell: Callable[..., Done], output: Path
) -> None:
    done = shell("--stages", "math_rl,code_rl", *VERL, output=output)
    assert done.status == 0, done.out + done.err
    assert trained(done) == [] and f"math_rl starts from if_rl in {output}" in done.out
    done = shell("--resume", "code_rl", *VERL, output=output)
    assert done.status == 0, done.out + done.err
    assert trained(done) == ["code_rl"]
    assert [path.name.split("-")[0] for path in (output / "stages/replaced").glob("*/*")] == [
        "code_rl"
    ]


@pytest.fixture
def served(bench: Path, tmp_path: Path) -> Iterator[str]:
    """A reward model of the start model's shape, trained for a moment, behind HTTP."""
    start = Checkpoint("start", 0, bench / "start", weights_digest(bench / "start"))
    engine = LocalEngine()
    folder = Recording(tmp_path / "reward_model")
    model = engine.train(job_of(start, reward_model_stage(), pairs(8)), folder)
    engine.close()
    server = ScorerServer(RewardModelScorer(model.path), "rm")
    server.start()
    yield server.url
    server.close()


def with_what_it_reads(stage: StageConfig, url: str) -> StageConfig:
    """A default stage at one step, with the judge of its answers."""
    reward = {
        "chat": {"model_url": url},
        "instruction_following": {"model_url": url},
        "swe": {"swe_similarity": "lexical"},
    }.get(stage.domain, {})
    return stage.model_copy(update={**STEP, "reward": stage.reward.model_copy(update=reward)})


def test_the_snippet_trains_every_default_stage_with_verls_own_pool(
    bench: Path, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("verl.single_controller.ray")
    shutil.copytree(bench / "data", tmp_path / "data")
    problems = [row for row in mini.rows("swe/train", 0) if isinstance(row, Problem)]
    for split, rows in (("train", problems[:4]), ("val", problems[4:6])):
        write_rows(tmp_path / "data" / f"swe_{split}.parquet", rows)
    monkeypatch.chdir(tmp_path)
    tokenizer = load_tokenizer(bench / "start")
    resource_manager = ray.ResourcePoolManager(resource_pool_spec={"pool": [2]}, mapping={})

    stages = [with_what_it_reads(stage, served) for stage in create_default_cascade_stages()]
    config = CascadeRLConfig(
        stages=stages,
        cascade_checkpoint_dir=str(tmp_path / "checkpoints"),
        model=str(bench / "start"),
        engine="verl",
        verl=VerlConfig(platform="cpu", verifier_workers=1),
        benchmarks=(
            BenchmarkConfig(name="math", file="data/math_val.parquet", k=1, max_new_tokens=8),
        ),
        allow_overlap=("math_rl:math", *(f"{stage.name}:val_files" for stage in stages)),
    )
    trainer = CascadedRLTrainer(
        cascade_config=config,
        tokenizer=tokenizer,
        role_worker_mapping={},
        resource_pool_manager=resource_manager,
    )
    trainer.fit()
    assert list(keys(tmp_path / "checkpoints")) == [stage.name for stage in stages]
    assert [s.split("_")[0] for s in keys(tmp_path / "checkpoints")] == [
        "rlhf", "if", "math", "code", "swe",
    ]  # fmt: skip
