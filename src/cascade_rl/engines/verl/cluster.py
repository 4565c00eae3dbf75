"""A Ray cluster that someone started: its living nodes, their GPUs, and the paths each one sees.

The rule: Ray is asked in a process of its own, so that this one stays free of it, and for a bounded
time, because a cluster that is gone answers nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.errors import ConfigError

ASKING_S = 60.0
_MARK = "CASCADE-NODES "
_ASK = f"""
import json, sys, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
address, paths = sys.argv[1], json.loads(sys.argv[2])
ray.init(address=address, logging_level="ERROR", log_to_driver=False)
@ray.remote(num_cpus=0)
def unseen(paths):
    import os
    return [path for path in paths if not os.access(path, os.R_OK)]
nodes = [node for node in ray.nodes() if node["Alive"]]
asked = [unseen.options(scheduling_strategy=On(n["NodeID"], soft=False)).remote(paths)
         for n in nodes if paths]
missing = ray.get(asked) or [[] for _ in nodes]
print({_MARK!r} + json.dumps([[n["NodeManagerAddress"], int(n["Resources"].get("GPU", 0)), m]
                              for n, m in zip(nodes, missing)]))
"""


@dataclass(frozen=True, slots=True)
class Node:
    """A living node: its address, its GPUs, and which of the paths it cannot read."""

    address: str
    gpus: int
    unseen: tuple[str, ...]


def nodes_of(address: str, paths: Sequence[Path] = ()) -> list[Node]:
    """The nodes of the cluster at an address. Raises ConfigError where it does not answer."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK, address, json.dumps([str(path) for path in paths])],
            capture_output=True,
            text=True,
            timeout=ASKING_S,
            env={**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
        )
    except subprocess.TimeoutExpired:
        raise _silent(address, f"no answer in {ASKING_S:.0f} seconds") from None
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
            return [Node(where, gpus, tuple(missing)) for where, gpus, missing in found]
    raise _silent(address, " ".join(done.stderr.strip().splitlines()[-1:]))


def _silent(address: str, why: str) -> ConfigError:
    return ConfigError(
        f"Ray at {address} cannot be reached: {why}",
        hint="start it:  ray start --head,  or leave verl.ray_address out",
    )


def refuse_unshared(address: str, paths: Sequence[Path]) -> None:
    """Raise ConfigError where a node of the cluster cannot read a path that a job needs."""
    for node in nodes_of(address, paths):
        if node.unseen:
            raise ConfigError(
                f"node {node.address} of the Ray cluster does not see {node.unseen[0]}",
                hint="keep the output, the data and the start model on storage that all nodes "
                "mount at the same path",
            )
