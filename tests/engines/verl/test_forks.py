"""A worker that is forked is the one that was asked for, and ends with the process it came from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cascade_rl.engines.verl import forks
from tests.engines.verl.test_watch import wait_for

SERVER = """
import os, socket, sys, time
from cascade_rl.engines.verl import forks

def work(number, arguments):
    held = "HELD" in os.environ
    print(os.getpid(), arguments, os.environ["ASKED"], held, os.getcwd(), flush=True)
    if arguments == ["wait"]:
        time.sleep(600)

forks._run = work
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("ready", flush=True)
    forks.serve(listener)
"""


def ended(pid: int) -> bool:
    """Whether it runs no more; who has to bury it is not ours to say."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def server(address: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "HELD": "1"}
    command = [sys.executable, "-c", SERVER, str(address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as found:
        assert said(found) == "ready"
        yield found
        found.kill()


def said(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    return server.stdout.readline().strip()


def ask(address: Path, folder: Path, *arguments: str) -> None:
    environment = {**os.environ, forks.SOCKET: str(address), "ASKED": "yes"}
    command = [sys.executable, forks.__file__, *arguments]
    subprocess.run(command, env=environment, cwd=folder, check=True, timeout=60)


def test_a_fork_has_the_arguments_environment_and_folder_of_what_ray_started(
    server: subprocess.Popen[str], address: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for _ in range(2):
        ask(address, folder, "worker.py", "--id=é 1")
        pid, _, rest = said(server).partition(" ")
        assert rest == f"['worker.py', '--id=é 1'] yes False {folder}"
        wait_for(lambda: not psutil.pid_exists(int(pid)))  # noqa: B023


def test_forks_end_with_the_process_they_came_from(
    server: subprocess.Popen[str], address: Path, tmp_path: Path
) -> None:
    ask(address, tmp_path, "wait")
    pid = int(said(server).split()[0])
    assert psutil.pid_exists(pid)
    server.send_signal(signal.SIGKILL)
    wait_for(lambda: ended(pid))
