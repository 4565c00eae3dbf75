from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from cascade_rl.config import LocalConfig
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.sampler import Request, SamplingParams, row_key
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import CheckpointError, TrainingError
from cascade_rl.types import Checkpoint
from tests.engines.helpers import CHAT, LOCAL

TWO = LOCAL.model_copy(update={"processes": 2})


@pytest.fixture
def team() -> Iterator[Team]:
    team = Team(TWO)
    yield team
    team.close()


def children(pid: int) -> list[psutil.Process]:
    alive = [c for c in psutil.Process(pid).children() if c.status() != psutil.STATUS_ZOMBIE]
    return [c for c in alive if "process import serve" in str(c.cmdline())]


def test_what_a_helper_raises_is_raised_here_and_it_serves_on(
    team: Team, start: Checkpoint
) -> None:
    [helper] = team._others
    helper.ask("load_frozen", "x", Loading(start.path / "nowhere", CHAT))
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        helper.result()
    helper.ask("sample", "no such slot", [], None, [])
    with pytest.raises(RuntimeError, match="KeyError"):
        helper.result()
    team.load("evaluate", Loading(start.path, CHAT))


def test_a_helper_that_fails_while_it_samples_is_no_endless_wait(
    team: Team, start: Checkpoint
) -> None:
    team.load("evaluate", Loading(start.path, CHAT))
    beyond = Request((5, 10**6), (row_key(1),))  # no such token: the second process is given it
    requests = [Request((5, 9, 7), (row_key(0),)), beyond]
    with pytest.raises(RuntimeError, match="IndexError"):
        list(team.sample("evaluate", requests, SamplingParams(1.0, 1.0, 0, 4), (2,)))


def test_a_consumer_that_stops_early_leaves_nothing_in_the_pipes(
    team: Team, start: Checkpoint
) -> None:
    team.load("evaluate", Loading(start.path, CHAT))
    requests = [Request((5, 9, 7), tuple(row_key(i, j) for j in range(3))) for i in range(6)]
    params = SamplingParams(1.0, 1.0, 0, 10)
    stopped = team.sample("evaluate", requests, params, (2,))
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    found = list(team.sample("evaluate", requests, params, (2,)))
    assert sorted((g.request, g.sample) for g in found) == [
        (i, j) for i in range(6) for j in range(3)
    ]


def test_a_helper_that_dies_ends_training_with_a_sentence(team: Team, start: Checkpoint) -> None:
    team.load("evaluate", Loading(start.path, CHAT))
    [child] = children(os.getpid())
    child.kill()
    with pytest.raises(TrainingError, match="a process of the team ended with status -9"):
        team.forget("evaluate")


def test_helpers_end_with_the_team_and_with_a_killed_parent() -> None:
    code = (
        "import time\n"
        "from cascade_rl.config import LocalConfig\n"
        "from cascade_rl.engines.local.workers import Team\n"
        "team = Team(LocalConfig(processes=2))\n"
        "team.forget('nothing')\n"  # answered once the helper has started
        "print('ready', flush=True)\n"
        "time.sleep(100)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout as output:
        assert output.readline() == "ready\n"
    [child] = children(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the helper outlived its parent"
        time.sleep(0.1)


def test_one_process_starts_no_other() -> None:
    before = len(children(os.getpid()))
    team = Team(LocalConfig())
    assert len(children(os.getpid())) == before
    team.close()
