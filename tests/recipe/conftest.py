from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cascade_rl.data.rows import write_rows
from recipe.cascaded_rl import preprocess_dolci_dataset
from tests.conftest import REPOSITORY
from tests.engines.helpers import pairs, tiny_model
from tests.recipe.dolci import write_dolci

SCRIPT = REPOSITORY / "recipe" / "cascaded_rl" / "run_cascaded_rl.sh"
STEP = {"total_training_steps": 1, "train_batch_size": 2, "rollout_n": 2, "max_new_tokens": 8}
SMALL = [
    *(f"--set={stage}.{key}={value}" for stage in ("rlhf", "if_rl", "math_rl", "code_rl")
      for key, value in STEP.items()),
    *(f"--set=reward_model.{key}={value}" for key, value in
      {"total_training_steps": 1, "train_batch_size": 2, "max_tokens": 256}.items()),
    "--set=benchmarks=[{name: math, file: data/math_val.parquet, k: 1, max_new_tokens: 8}]",
]  # fmt: skip
"""The recipe at a step a stage; its rows and order are untouched."""


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `data/` made of Dolci's rows, and a start model called `start`."""
    folder = tmp_path_factory.mktemp("recipe")
    tiny_model(folder / "start", context=65536)
    source, out = write_dolci(folder / "dolci.parquet"), folder / "data"
    command = ["--input_path", str(source), "--output_dir", str(out), "--split_by_domain"]
    assert preprocess_dolci_dataset.main(command) == 0
    (folder / "more").mkdir()
    for file in out.glob("*.parquet"):
        (folder / "more" / file.name).write_bytes(file.read_bytes())
    write_rows(folder / "more" / "preference_train.parquet", pairs(4))
    return folder


@pytest.fixture
def shell(bench: Path, tmp_path: Path) -> Callable[..., Done]:
    """The shell script from that directory, with an output of the test's own."""

    def call(*arguments: str, output: Path | None = None, **variables: str) -> Done:
        done = subprocess.run(
            [str(SCRIPT), *arguments, "--output_dir", str(output or tmp_path / "output")],
            cwd=bench,
            env={**os.environ, "PYTHON": sys.executable, **variables},
            capture_output=True,
            text=True,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call
