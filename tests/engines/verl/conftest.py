"""Tests of the cluster engine; what needs verl itself is skipped where it is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import pytest

WITHOUT_VERL = ("test_watch.py", "test_forks.py")


class Skipped(pytest.Module):
    """A module that is not imported."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip("verl is not installed (make install-verl)")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Skipped | None:
    if module_path.name in WITHOUT_VERL or importlib.util.find_spec("verl") is not None:
        return None
    return Skipped.from_parent(parent, path=module_path)
