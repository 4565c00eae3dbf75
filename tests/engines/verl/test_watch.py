"""A job that is silent, gone, or done without having trained: noticed, and nothing of it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.engines.verl import watch
from cascade_rl.engines.verl.job import Job
from cascade_rl.engines.verl.watch import (
    Lines,
    Outcome,
    cause,
    end_processes,
    remove_abandoned,
    run,
)
from tests.engines.verl.helpers import VERL, folders, of_verl, verl_job

CHILD = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time;"
CHILD += " time.sleep(600)'], start_new_session=True); "
QUICK = VERL.model_copy(update={"heartbeat_s": 2.0})


def watched(folder: Path, program: str, poll: Any = lambda: None) -> tuple[Outcome, list[Any]]:
    folder.mkdir(exist_ok=True)
    job: Job = verl_job(folder, QUICK)
    events: list[Any] = []
    line = [sys.executable, "-c", program.replace("EVENTS", repr(str(job.events)))]
    return run(job, line, {}, events.append, poll), events


def test_a_silent_job_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    program = CHILD + "open(EVENTS, 'a').write('{}' + chr(10)); "
    program += "print('the last words', flush=True); time.sleep(600)"
    began = time.monotonic()
    outcome, _ = watched(tmp_path, program)
    assert time.monotonic() - began < 20
    assert "reported nothing for 2 seconds" in outcome.why
    assert outcome.tail == "the last words"
    assert of_verl() == set()


def test_a_job_that_reports_is_left_alone(tmp_path: Path) -> None:
    program = (
        "import time\n"
        "for step in range(8):\n"
        "    time.sleep(0.5)\n"
        "    print('{\"step\": %d}' % step, file=open(EVENTS, 'a'))"
    )
    outcome, events = watched(tmp_path, program)
    assert outcome.why == "" and [e["step"] for e in events] == list(range(8))


def test_a_job_that_ends_leaves_no_child(tmp_path: Path) -> None:
    outcome, _ = watched(tmp_path, CHILD + "sys.exit(3)")
    assert outcome.why == "verl ended with exit status 3"
    assert of_verl() == set()


def test_what_the_driver_raises_ends_the_job(tmp_path: Path) -> None:
    def poll() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(tmp_path, CHILD + "time.sleep(600)", poll)
    assert of_verl() == set()


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_a_process_that_outlives_its_kill_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    monkeypatch.setattr(watch, "ENDING_S", 0.5)
    monkeypatch.setattr(watch, "end_processes", left.append)
    program = "open(EVENTS, 'a').write('{}' + chr(10)); import time; time.sleep(15)"
    began = time.monotonic()
    try:
        outcome, _ = watched(tmp_path, program)
        assert time.monotonic() - began < 12
        assert "reported nothing" in outcome.why
    finally:
        end_processes(left[0])
    assert of_verl() == set()


DRIVER = """
import sys
from pathlib import Path
from tests.engines.verl.test_watch import watched
watched(Path(sys.argv[1]), '''
import cascade_rl.engines.verl.plugin, time
open(EVENTS, "a").write("{}" + chr(10))
time.sleep(600)
''')
"""


def test_a_driver_that_is_killed_takes_its_job_along_and_the_next_one_cleans_up(
    tmp_path: Path,
) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)])
    try:
        events = tmp_path / "events.jsonl"
        wait_for(events.exists)
        assert of_verl()
        remove_abandoned(Path("/tmp"))
        assert folders([driver.pid])  # it is in use
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        wait_for(lambda: not of_verl())
        assert folders([driver.pid])  # nobody was left to remove it
        remove_abandoned(Path("/tmp"))
        assert folders([driver.pid]) == []
    finally:
        driver.kill()
        driver.wait()


def wait_for(true: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = Lines(path)
    assert list(lines.new()) == []
    path.write_text('{"step": 1}\n{"st')
    assert list(lines.new()) == [{"step": 1}]
    with path.open("a") as file:
        file.write('ep": 2}\n')
    assert list(lines.new()) == [{"step": 2}]


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "micro_batch_tokens"),
        ("torch.OutOfMemoryError: CUDA out of memory", "one whole row is the least"),
        ("ray.exceptions.ActorDiedError: The actor died unexpectedly", "died"),
        ("OSError: [Errno 28] No space left on device", "space"),
        ("nothing that anybody knows", ""),
    ],
)
def test_a_likely_cause_is_read_off_the_log(log: str, word: str) -> None:
    found = cause(f"line\n{log}\nline")
    assert word in found and bool(word) == bool(found)
