"""A Ray that runs already: seen before anything starts, used, and left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.verl.checks import check_machine
from cascade_rl.engines.verl.cluster import nodes_of, refuse_unshared
from cascade_rl.engines.verl.engine import VerlEngine
from cascade_rl.errors import ConfigError
from cascade_rl.types import Checkpoint
from tests.engines.helpers import Recording, comma_problems, job_of, rl_stage
from tests.engines.verl.helpers import AS_LOCALLY, VERL, apart, of_verl

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600)]
GPUS = 2


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of this machine with two logical GPUs, in a session of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        head = subprocess.Popen(
            [
                sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
                f"--port={port}", f"--num-gpus={GPUS}", "--num-cpus=64",
                "--include-dashboard=false", f"--temp-dir={folder}",
            ],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_AUTH_MODE", "disabled")
            try:
                _wait_for(f"127.0.0.1:{port}")
                yield f"127.0.0.1:{port}"
            finally:
                os.killpg(head.pid, signal.SIGKILL)
                head.wait()


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            nodes_of(address)
        except ConfigError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def test_nodes_are_counted_and_what_one_does_not_see_is_named(address: str, tmp_path: Path) -> None:
    [node] = nodes_of(address, [tmp_path])
    assert (node.gpus, node.unseen) == (GPUS, ())
    with pytest.raises(ConfigError, match=f"node {node.address} of the Ray cluster does not see"):
        refuse_unshared(address, [tmp_path, tmp_path / "elsewhere"])
    verl = VERL.model_copy(update={"ray_address": address, "gpus_per_node": 8})
    with pytest.raises(ConfigError, match="1 x 8 GPUs asked, seen by node: 2"):
        check_machine(verl)
    with pytest.raises(ConfigError, match="2 x 2 GPUs asked, seen by node: 2"):
        check_machine(verl.model_copy(update={"gpus_per_node": 2, "nodes": 2}))


def test_a_stage_trains_there_and_leaves_it_running(
    address: str, start: Checkpoint, engine: LocalEngine, tmp_path: Path
) -> None:
    before = of_verl()
    config = rl_stage(**AS_LOCALLY)
    problems = comma_problems(12)
    verl = VERL.model_copy(update={"ray_address": address})
    here, there = Recording(tmp_path / "local"), Recording(tmp_path / "verl")
    one = engine.train(job_of(start, config, problems), here)
    other = VerlEngine(engine).train(job_of(start, config, problems, verl=verl), there)
    assert apart(start, one) > 1e-3 and apart(one, other) < 1e-5
    assert of_verl() <= before
    assert [node.gpus for node in nodes_of(address)] == [GPUS]
