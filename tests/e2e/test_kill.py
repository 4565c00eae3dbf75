"""A short real cascade: weights handed over exactly, and the same bits after any kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cascade_rl.evaluation.ledger import Ledger, build_ledger
from cascade_rl.store import Run

ROOT = Path(__file__).parents[2]
Outcome = tuple[list[str], Ledger]


def start(output: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "tests.e2e.short_cascade", str(output), *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    _, errors = process.communicate(timeout=240)
    if process.returncode not in (0, -signal.SIGKILL):
        pytest.fail(errors.decode())
    return process.returncode


def outcome(output: Path) -> Outcome:
    run = Run(output)
    digests = [str((stage.contract or {}).get("weights_digest")) for stage in run.stages()]
    return digests, build_ledger(run.scores())


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unbroken") / "out"


@pytest.fixture(scope="session")
def unbroken(whole: Path) -> tuple[Outcome, float]:
    output = whole
    begin = time.monotonic()
    assert finish(start(output)) == 0
    found = outcome(output)
    assert len(set(found[0])) == len(found[0]), "every stage must change the weights"
    return found, time.monotonic() - begin


def test_a_stage_starts_from_the_very_weights_its_parent_had_in_memory(
    unbroken: tuple[Outcome, float], whole: Path
) -> None:
    run = Run(whole)
    start, *stages = run.stages()
    ended = {start.key: run.start_digest()}
    for stage in stages:
        digests = {e["when"]: e["digest"] for e in run.events(stage) if e["kind"] == "params"}
        assert stage.contract and stage.parent
        assert digests["start"] == ended[stage.parent]
        assert digests["end"] == stage.contract["weights_digest"]
        ended[stage.key] = digests["end"]


def kill_and_continue(output: Path, kills: int, seconds: float, seed: int) -> int:
    """Kill the cascade at random moments after its start-up until it has died `kills` times."""
    rng = random.Random(seed)
    died = 0
    while True:
        process = start(output, "--delay") if died < kills else start(output)
        if died < kills:
            # a first run takes `seconds` in all; each later one must get past its start-up
            time.sleep(rng.uniform(0.45, 0.7) * seconds if died % 2 else rng.uniform(0, seconds))
            process.send_signal(signal.SIGKILL)
        code = finish(process)
        if code == 0:
            return died
        died += 1


def check_killed_at_random(unbroken: tuple[Outcome, float], folder: Path, kills: int) -> None:
    expected, seconds = unbroken
    died = attempt = 0
    while died < kills:
        output = folder / f"random-{attempt}"
        died += kill_and_continue(output, min(4, kills - died), seconds, seed=attempt)
        assert outcome(output) == expected
        attempt += 1


POINTS = ("sync:2", "commit:1", "sync:17", "evaluated:3", "commit:2")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", POINTS[:2])
def test_killed_during_a_save_or_before_a_commit_it_ends_the_same(
    unbroken: tuple[Outcome, float], tmp_path: Path, point: str
) -> None:
    assert finish(start(tmp_path / "out", "--die-at", point)) == -signal.SIGKILL
    assert finish(start(tmp_path / "out")) == 0
    assert outcome(tmp_path / "out") == unbroken[0]


@pytest.mark.timeout(900)
def test_killed_at_six_random_moments_it_ends_the_same(
    unbroken: tuple[Outcome, float], tmp_path: Path
) -> None:
    check_killed_at_random(unbroken, tmp_path, kills=6)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS[2:])
def test_killed_at_any_other_named_point_it_ends_the_same(
    unbroken: tuple[Outcome, float], tmp_path: Path, point: str
) -> None:
    assert finish(start(tmp_path / "out", "--die-at", point)) == -signal.SIGKILL
    assert finish(start(tmp_path / "out")) == 0
    assert outcome(tmp_path / "out") == unbroken[0]


@pytest.mark.slow
def test_killed_at_twenty_five_random_moments_it_ends_the_same(
    unbroken: tuple[Outcome, float], tmp_path: Path
) -> None:
    check_killed_at_random(unbroken, tmp_path, kills=25)
