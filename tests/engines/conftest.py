from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.types import Checkpoint
from tests.engines.helpers import tiny_model


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def engine() -> Iterator[LocalEngine]:
    engine = LocalEngine()
    yield engine
    engine.close()


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return tmp_path / "model"
