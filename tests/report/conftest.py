from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.showcase import make_run


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of nine stages."""
    return make_run(tmp_path_factory.mktemp("showcase"))
