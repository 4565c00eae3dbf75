from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cascade_rl.cli import status_of

SHORT = {
    "name": "short",
    "model": "mini:model",
    "chat": {"system": None},
    "local": {"dtype": "float32"},
    "stages": [
        {
            "name": "sft",
            "kind": "sft",
            "train_files": ["mini:sft/1"],
            "total_training_steps": 2,
            "train_batch_size": 4,
            "max_tokens": 256,
        },
        {
            "name": "math_rl",
            "domain": "math",
            "train_files": ["mini:math/train"],
            "total_training_steps": 2,
            "train_batch_size": 2,
            "rollout_n": 2,
            "max_new_tokens": 8,
            "max_prompt_tokens": 320,
        },
    ],
    "benchmarks": [
        {
            "name": "math",
            "file": "mini:math/val",
            "test_file": "mini:math/test",
            "limit": 4,
            "test_limit": 4,
            "k": 2,
            "max_new_tokens": 8,
        }
    ],
}


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def cascade(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run one command line in this process."""

    def call(*arguments: str | Path) -> Done:
        status = status_of([str(argument) for argument in arguments])
        return Done(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def short_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade of two tiny stages, seconds long."""
    path = tmp_path_factory.mktemp("short") / "short.yaml"
    path.write_text(yaml.safe_dump(SHORT))
    return path


@pytest.fixture(scope="session")
def finished(short_config: Path) -> Path:
    """A directory in which that cascade ran to its end."""
    output = short_config.parent / "run"
    assert status_of(["run", str(short_config), "--output", str(output)]) == 0
    return output
