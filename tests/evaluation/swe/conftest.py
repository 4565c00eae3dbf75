from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl.evaluation.swe.execute import Runner
from cascade_rl.evaluation.swe.instances import Instance, read_instances
from cascade_rl.sandbox.base import Limits
from cascade_rl.sandbox.client import default_sandbox
from tests.evaluation.swe.repositories import SPECS, make, write_rows

LIMITS = Limits(cpu_s=4.0, memory_mb=512)
"""Bounds for small tests."""


@pytest.fixture(scope="session")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ten repositories, and `issues.jsonl` in SWE-bench's shape beside it."""
    folder = tmp_path_factory.mktemp("swe") / "repos"
    write_rows(folder.parent / "issues.jsonl", [make(spec, folder) for spec in SPECS])
    return folder


@pytest.fixture(scope="session")
def instances(repos: Path) -> list[Instance]:
    """The ten issues."""
    return read_instances(repos.parent / "issues.jsonl", repos)


@pytest.fixture(scope="session")
def runner() -> Runner:
    """This machine's sandbox."""
    return Runner(default_sandbox(), LIMITS)
