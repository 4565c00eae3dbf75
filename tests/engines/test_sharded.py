"""Two ranks that hold half of the weights each end where one process does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.types import Checkpoint
from tests.engines.helpers import (
    Recording,
    conversations,
    job_of,
    pairs,
    reward_model_stage,
    sft_stage,
)

RANK = """
import sys
from pathlib import Path
from cascade_rl.engines.local import sharded
from tests.engines.test_sharded import job
from cascade_rl.engines.local.engine import LocalEngine
from tests.engines.helpers import Recording
from cascade_rl.types import Checkpoint
if sharded.rank():
    sharded.serve()
else:
    kind, model, digest, folder, die_at = sys.argv[1:]
    workspace = Recording(Path(folder), ("train", int(die_at)) if int(die_at) else None)
    engine = LocalEngine()
    try:
        engine.train(job(kind, Checkpoint("start", 0, Path(model), digest)), workspace)
    except ConnectionAbortedError:
        pass
    finally:
        engine.close()
        sharded.end()
    sharded.leave(0)
"""


def job(kind: str, start: Checkpoint) -> Any:
    if kind == "sft":
        return job_of(start, sft_stage(), [*conversations(10)])
    return job_of(start, reward_model_stage(), [*pairs(10)])


def two_ranks(kind: str, start: Checkpoint, folder: Path, die_at: int = 0) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (kind, str(start.path), start.weights_digest, str(folder), str(die_at))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, *arguments],
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
               "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    for process in processes:
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said


def losses(folder: Path) -> list[float]:
    [file] = folder.rglob("events.jsonl")
    events = map(json.loads, file.read_text().splitlines())
    return [event["loss"] for event in events if event["kind"] == "train"]


@pytest.mark.parametrize("kind", ["sft", "reward model"])
def test_two_ranks_end_where_one_process_does(kind: str, start: Checkpoint, tmp_path: Path) -> None:
    engine = LocalEngine()
    alone = engine.train(job(kind, start), Recording(tmp_path / "one"))
    engine.close()
    two_ranks(kind, start, tmp_path / "two")
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)
    one, two = (load_file(file) for file in (
        alone.path / "model.safetensors",
        tmp_path / "two" / "model" / "model.safetensors",
    ))  # fmt: skip
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        np.testing.assert_allclose(two[name].numpy(), tensor.numpy(), atol=2e-4)
    configs = [json.loads((folder / "config.json").read_text()) for folder in
               (alone.path, tmp_path / "two" / "model")]  # fmt: skip
    assert configs[0] == configs[1]


def test_ranks_that_were_killed_go_on_from_their_checkpoint(
    start: Checkpoint, tmp_path: Path
) -> None:
    two_ranks("sft", start, tmp_path / "whole")
    two_ranks("sft", start, tmp_path / "broken", die_at=3)
    two_ranks("sft", start, tmp_path / "broken")
    whole, broken = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "broken")
    )
    for name, tensor in whole.items():
        assert (broken[name] == tensor).all(), name
