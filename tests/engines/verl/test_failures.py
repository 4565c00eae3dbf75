"""Jobs killed, stopped and cut off from outside: the stage ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cascade_rl.config import CascadeRLConfig
from cascade_rl.data.rows import write_rows
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.verl.engine import VerlEngine
from cascade_rl.store import Run
from cascade_rl.store.files import read_lines
from cascade_rl.types import Checkpoint
from tests.engines.helpers import CHAT, Recording, comma_problems, job_of, rl_stage
from tests.engines.verl.helpers import VERL, apart, folders, of_verl, workers

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]
CONFIG = rl_stage(total_training_steps=5, save_every=1, learning_rate=1e-3)
PATIENCE = VERL.model_copy(update={"retries": 1, "heartbeat_s": 45.0})
Moment = tuple[str, int]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert of_verl() == set() and folders([os.getpid()]) == []


def trained(start: Checkpoint, workspace: Recording) -> Checkpoint:
    engine = LocalEngine()
    try:
        job = job_of(start, CONFIG, comma_problems(12), verl=PATIENCE)
        return VerlEngine(engine).train(job, workspace)
    finally:
        engine.close()


@pytest.fixture(scope="module")
def whole(start: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """What the stage comes to when nothing happens to it."""
    return trained(start, Recording(tmp_path_factory.mktemp("whole") / "stage"))


class Breaking(Recording):
    """A workspace that sends a signal to a process of its job, once, at an event."""

    def __init__(self, directory: Path, at: Moment, title: str, number: int) -> None:
        super().__init__(directory)
        self._at, self._title, self._number = at, title, number
        self.sent = 0

    def emit(self, event: Any) -> None:
        super().emit(event)
        self._send((event["kind"], event["step"]))

    def rollouts(self, step: int, rows: Any) -> None:
        super().rollouts(step, rows)
        self._send(("rollouts", step))

    def _send(self, moment: Moment) -> None:
        if moment == self._at and not self.sent:
            found = workers(self._title, os.getpid())
            os.kill(found[0].pid, self._number)
            self.sent = 1


AFTER_A_STEP, BEFORE_THE_WEIGHTS = ("train", 1), ("rollouts", 2)
FAULTS = {
    "a trainer's rank is killed": (AFTER_A_STEP, "WorkerDict", signal.SIGKILL, "died"),
    "the sampler is killed": (AFTER_A_STEP, "TransformersServer", signal.SIGKILL, ""),
    "a rollout is stuck": (AFTER_A_STEP, "TransformersServer", signal.SIGSTOP, "reported nothing"),
    "the weights are lost": (
        BEFORE_THE_WEIGHTS, "TransformersServer", signal.SIGKILL, "did not reach the sampler",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_retry_comes_to_the_weights_of_a_stage_that_nothing_happened_to(
    start: Checkpoint, whole: Checkpoint, tmp_path: Path, fault: str
) -> None:
    """Optimizer, curriculum and random keys go on where the checkpoint left them."""
    at, title, number, said = FAULTS[fault]
    workspace = Breaking(tmp_path / "stage", at, title, number)
    done = trained(start, workspace)
    assert workspace.sent and done.step == 5
    alarms = [event["message"] for event in workspace.events if event["kind"] == "alarm"]
    assert len(alarms) == 1 and said in alarms[0]
    assert steps_of(tmp_path / "stage") == [1, 2, 3, 4, 5]
    assert apart(done, whole) < 1e-5 < 1e-3 < apart(start, whole)


def steps_of(folder: Path) -> list[int]:
    events = read_lines(folder / "events.jsonl")
    return [e["step"] for e in events if e["kind"] == "train"]


class Commands:
    """`cascade run` of one stage in processes of its own, as a user would type it."""

    def __init__(self, folder: Path, start: Checkpoint) -> None:
        write_rows(folder / "rows.jsonl", comma_problems(12))
        stage = CONFIG.model_copy(update={"train_files": (str(folder / "rows.jsonl"),)})
        config = CascadeRLConfig(
            model=str(start.path), engine="verl", stages=(stage,), chat=CHAT, verl=PATIENCE
        )
        self._config = folder / "cascade.yaml"
        self._config.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        self.output = folder / "out"
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *settings: str) -> subprocess.Popen[str]:
        words = ["run", str(self._config), "--output", str(self.output), *settings]
        program = "import sys; from cascade_rl.cli import main; sys.exit(main())"
        driver = subprocess.Popen(
            [sys.executable, "-c", program, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(driver)
        return driver

    @property
    def drivers(self) -> list[int]:
        return [driver.pid for driver in self.started]

    def trained_steps(self) -> int:
        logs = list(self.output.glob("stages/if_rl-*/events.jsonl"))
        return len(steps_of(logs[0].parent)) if logs else 0


@pytest.fixture
def commands(start: Checkpoint, tmp_path: Path) -> Iterator[Commands]:
    found = Commands(tmp_path, start)
    yield found
    for driver in found.started:
        if driver.poll() is None:
            driver.kill()
            driver.communicate()


def test_a_killed_driver_and_a_job_given_up_on_are_gone_on_from_by_the_same_command(
    commands: Commands,
) -> None:
    first = commands.run()
    wait_for(lambda: commands.trained_steps() >= 1, first)
    first.kill()
    first.communicate()
    wait_for(lambda: not of_verl())
    assert folders(commands.drivers)  # nobody was left to remove it

    second = commands.run("--set", "verl.retries=0")
    done = commands.trained_steps()
    wait_for(lambda: commands.trained_steps() > done, second)
    for sampler in workers("TransformersServer", second.pid):
        sampler.send_signal(signal.SIGSTOP)
    said, _ = second.communicate()
    assert second.returncode == 1, said
    assert "error: stage if_rl: verl reported nothing for 45 seconds" in said
    assert "the same command goes on from the last checkpoint" in said
    assert of_verl() == set() and folders(commands.drivers) == []

    third = commands.run()
    said, _ = third.communicate()
    assert third.returncode == 0, said
    assert commands.trained_steps() == 5 and Run(commands.output).stages()[-1].done
    assert of_verl() == set() and folders(commands.drivers) == []


def wait_for(
    true: Callable[[], object], of: subprocess.Popen[str] | None = None, seconds: float = 300.0
) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        assert of is None or of.poll() is None, of.communicate()[0]
        time.sleep(0.05)
