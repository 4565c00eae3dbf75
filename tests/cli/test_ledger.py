"""The ledger as text: every benchmark is shown whatever the width, forgetting is said."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from cascade_rl.cli.ledger import show
from cascade_rl.evaluation.ledger import build_ledger, pool
from tests.cli.conftest import Done
from tests.evaluation.helpers import chain, evaluated


def shown(width: int = 200, runs: int = 1) -> str:
    names = [f"bench{i}" for i in range(12)]
    one = chain(
        {name: evaluated([4] * 64, greedy_P=[1] * 64) for name in names},
        {name: evaluated([2] * 64, greedy_P=[0] * 64) for name in names},
    )
    screen = Console(file=io.StringIO(), width=width)
    show(build_ledger(one) if runs == 1 else pool([one] * runs), screen)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 400])
def test_every_benchmark_is_shown_whole_at_any_width(width: int) -> None:
    text = shown(width)
    assert all(f"bench{i}" in text for i in range(12))
    assert text.count(".50 (.00)") == 12 and text.count("-.50 [-.50, -.50]") == 12


def test_what_was_forgotten_is_said_in_a_line_of_its_own() -> None:
    assert "forgotten: bench3 fell by 0.50 [0.50, 0.50] from start to s1" in shown()


def test_pooled_runs_show_their_deviation() -> None:
    assert "± .00" in shown(runs=2)


def test_a_fall_past_the_limit_sets_the_exit_status(tmp_path: Path) -> None:
    from cascade_rl.cli import status_of
    from tests.report.showcase import make_run

    run = make_run(tmp_path)
    assert status_of(["ledger", str(run)]) == 0
    assert status_of(["ledger", str(run), "--max-drop", "0.1"]) == 1
    assert status_of(["ledger", str(run), "--max-drop", "0.5"]) == 0


def test_json_goes_to_standard_output_alone(finished: Path, cascade: Callable[..., Done]) -> None:
    done = cascade("ledger", finished, "--json")
    assert json.loads(done.out) and done.err == ""
