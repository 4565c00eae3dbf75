"""Jobs of verl on two logical GPUs, and the processes that they leave behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cascade_rl.config import VerlConfig
from cascade_rl.engines.verl.job import Job
from tests.engines.helpers import CHAT, rl_stage

OURS = f"CASCADE_TEST={os.environ.setdefault('CASCADE_TEST', str(os.getpid()))}".encode()
"""In the environment of all that these tests start."""

VERL = VerlConfig(platform="cpu", gpus_per_node=2, verifier_workers=1, heartbeat_s=240.0, retries=0)


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
