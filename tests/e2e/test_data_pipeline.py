"""The mini preset's data goes through the data commands, one after another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl import mini
from cascade_rl.cli import status_of
from cascade_rl.mini.model import build_model

Json = dict[str, object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    assert status_of(["data", "mini", str(folder / "data")]) == 0
    return folder


@pytest.fixture
def cascade(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run one command that must succeed; what it printed."""

    def call(*arguments: str | Path) -> str:
        status = status_of([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return call


@pytest.mark.parametrize("name", mini.NAMES)
def test_stats_of_every_generated_file(
    name: str, folder: Path, cascade: Callable[..., str]
) -> None:
    found = json.loads(cascade("data", "stats", folder / "data" / f"{name}.parquet", "--json"))
    rows = mini.rows(name, 0)
    assert (found["rows"], found["unreadable"]) == (len(rows), 0)
    assert found["counts"]["kind"] == {type(rows[0]).__name__.lower(): len(rows)}


def test_stats_of_the_whole_directory_as_table_and_page(
    folder: Path, cascade: Callable[..., str]
) -> None:
    page = folder / "stats.html"
    said = cascade("data", "stats", folder / "data", "--html", page)
    assert f"in {len(mini.NAMES)} files, 0 unreadable" in said and str(page) in said
    assert page.read_text(encoding="utf-8").count("<svg") > 10


def test_pass_rates_of_generated_problems_are_in_the_stats(
    folder: Path, cascade: Callable[..., str]
) -> None:
    from cascade_rl.data.rows import read_problems, write_rows

    build_model(folder / "model", 0)
    few, out = folder / "few.parquet", folder / "rated.parquet"
    write_rows(few, read_problems(folder / "data" / "instruction_following" / "val.parquet")[:8])
    cascade("data", "passrate", few, "--out", out, "--model", folder / "model",
            "--n", "4", "--max-new-tokens", "32")  # fmt: skip
    found = json.loads(cascade("data", "stats", out, "--json"))
    assert found["pass_rate"]["rows"] == 8
    [drops] = [d for d in found["drops"] if d["command"] == "passrate"]
    assert (drops["read"], drops["kept"]) == (8, 8)
