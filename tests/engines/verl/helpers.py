"""Jobs of verl on two logical GPUs, what they leave behind, and two models beside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

from cascade_rl.config import VerlConfig
from cascade_rl.engines.verl import PARENT
from cascade_rl.engines.verl.job import Job
from cascade_rl.engines.verl.watch import PREFIX
from cascade_rl.types import Checkpoint
from tests.engines.helpers import CHAT, rl_stage

OURS = f"CASCADE_TEST={os.environ.setdefault('CASCADE_TEST', str(os.getpid()))}".encode()
"""In the environment of all that these tests start."""

VERL = VerlConfig(platform="cpu", gpus_per_node=2, verifier_workers=1, heartbeat_s=240.0, retries=0)

AS_LOCALLY: dict[str, Any] = {
    "total_training_steps": 3, "learning_rate": 1e-3, "loss_aggregation": "group-token-mean",
    "overlong": "mask_loss", "optimizer": {"warmup_steps": 2},
}  # fmt: skip
"""A stage that both engines are to end with the same weights."""


def verl_job(folder: Path, verl: VerlConfig = VERL, **values: Any) -> Job:
    """A job that is written nowhere yet."""
    config = rl_stage(**values)
    return Job(folder, "key", 0, config, CHAT, verl, folder / "start")


def of_verl() -> set[int]:
    """Living processes of jobs of verl that this process's tests have started."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"CASCADE_VERL_JOB=" in environ and OURS in environ.split(b"\0"):
                found.add(int(entry.name))
    return found


def workers(title: str, driver: int) -> list[psutil.Process]:
    """The processes of a driver's job whose title has these words."""
    found = []
    for process in psutil.process_iter():
        try:
            titled = title in "".join(process.cmdline())
            if titled and process.environ().get(PARENT) == str(driver):
                found.append(process)
        except psutil.Error:
            continue
    return found


def folders(drivers: Iterable[int]) -> list[Path]:
    """What the jobs of these drivers have left of their private directories."""
    return [path for pid in drivers for path in Path("/tmp").glob(f"{PREFIX}{pid}-*")]


def apart(one: Checkpoint, other: Checkpoint) -> float:
    """The largest difference between the weights of two models."""
    ours, theirs = (load_file(c.path / "model.safetensors") for c in (one, other))
    assert ours.keys() == theirs.keys()
    return max(float((ours[n] - theirs[n]).abs().max()) for n in ours)
