"""SFT by verl and reward models by our learner, on two ranks: killed, stopped, left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cascade_rl.engines.base import SCRATCH
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.verl.engine import VerlEngine
from cascade_rl.errors import CheckpointError
from cascade_rl.store.workspace import last_checkpoint
from cascade_rl.types import Checkpoint
from tests.engines.helpers import (
    Recording,
    conversations,
    job_of,
    pairs,
    reward_model_stage,
    sft_stage,
    tiny_model,
)
from tests.engines.verl.helpers import VERL, apart, of_verl
from tests.engines.verl.test_watch import wait_for

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]
VALUES: dict[str, Any] = {"total_training_steps": 5, "save_every": 1, "learning_rate": 1e-3}
KINDS = {
    "sft": (sft_stage(**VALUES), conversations(10)),
    "reward_model": (reward_model_stage(**VALUES), pairs(10)),
}
AGAIN = VERL.model_copy(update={"retries": 1})


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert of_verl() == set()


class Killing(Recording):
    """A workspace during whose second step a rank of the job is killed."""

    killed = 0

    def emit(self, event: Any) -> None:
        super().emit(event)
        if event["kind"] == "train" and event["step"] == 2 and not self.killed:
            ranks = [p for p in of_verl() if psutil.Process(p).environ().get("RANK") == "1"]
            self.killed = ranks[0]
            os.kill(self.killed, signal.SIGKILL)


class Stopping(Recording):
    """A workspace that asks to stop in its second step."""

    def stopping(self) -> bool:
        return any(e["kind"] == "train" and e["step"] >= 2 for e in self.events)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_or_stopped_it_goes_on_to_the_weights_of_the_local_engine(
    kind: str, start: Checkpoint, engine: LocalEngine, tmp_path: Path
) -> None:
    """Moments, place in the rows and step go on where the checkpoint left them."""
    config, rows = KINDS[kind]
    whole = engine.train(job_of(start, config, rows), Recording(tmp_path / "local"))
    job, ours = job_of(start, config, rows, verl=AGAIN), VerlEngine(engine)
    workspace = Killing(tmp_path / "killed")
    killed = ours.train(job, workspace)
    alarms = [e for e in workspace.events if e["kind"] == "alarm"]
    assert workspace.killed and len(alarms) == 1
    with pytest.raises(KeyboardInterrupt):
        ours.train(job, Stopping(tmp_path / "stopped"))
    after = Recording(tmp_path / "stopped")
    stopped = ours.train(job, after)
    assert 1 < next(e["step"] for e in after.events if e["kind"] == "train") <= 5
    for found in (killed, stopped):
        assert found.step == 5 and apart(found, whole) < 1e-6


def test_sft_carries_its_moments_inside_a_family(
    start: Checkpoint, engine: LocalEngine, tmp_path: Path
) -> None:
    config, rows = KINDS["sft"]
    ends = []
    for ours in (engine, VerlEngine(engine)):
        folder = tmp_path / type(ours).__name__
        first = ours.train(job_of(start, config, rows, verl=VERL), Recording(folder / "1"))
        job = job_of(first, config, rows, verl=VERL, carry=last_checkpoint(folder / "1"))
        ends.append(ours.train(job, Recording(folder / "2")))
    fresh = engine.train(job_of(first, config, rows), Recording(tmp_path / "fresh"))
    assert apart(*ends) < 1e-6 < 1e-4 < apart(ends[0], fresh)


def test_moments_of_a_local_stage_are_refused(start: Checkpoint, tmp_path: Path) -> None:
    config, rows = KINDS["sft"]
    job = job_of(start, config, rows, verl=VERL, carry=tmp_path)
    with pytest.raises(CheckpointError, match="was not saved by verl"):
        VerlEngine(LocalEngine()).train(job, Recording(tmp_path / "stage"))


DRIVER = """
import sys
from pathlib import Path
from tests.engines.verl.test_ranks import train_for_ever
train_for_ever(Path(sys.argv[1]))
"""


def train_for_ever(folder: Path) -> None:
    config = reward_model_stage(total_training_steps=100_000, save_every=100_000)
    job = job_of(tiny_model(folder / "tiny"), config, pairs(10), verl=VERL)
    VerlEngine(LocalEngine()).train(job, Recording(folder / "stage"))


def test_ranks_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)])
    try:
        wait_for((tmp_path / "stage" / SCRATCH / "events.jsonl").exists, 240.0)
        assert len(of_verl()) >= 3
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        wait_for(lambda: not of_verl())
    finally:
        driver.kill()
        driver.wait()
