"""Two programs on the same work, in turns, on one core: the ratio of their rates.

Each side is a process of its own that loads, says it is ready, and does all of its work once
for every line it is sent (`serve`). Turns alternate, so what else the machine does meets both;
the ratio is the median over rounds of one round's two rates.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("BENCH_PYTHON", ROOT / ".venv-bench" / "bin" / "python"))
"""The interpreter of the peers' own environment: `make install-bench`, or BENCH_PYTHON."""


@dataclass(frozen=True, slots=True)
class Duel:
    """Rates of both sides in items a second, one a round, and the ratio that was asked for."""

    name: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    at_least: float

    @property
    def ratio(self) -> float:
        """Median over rounds of our rate over the peer's."""
        return statistics.median(a / b for a, b in zip(self.ours, self.peer, strict=True))

    @property
    def met(self) -> bool:
        """Whether the ratio reaches what was asked."""
        return self.ratio >= self.at_least

    def __str__(self) -> str:
        ours, peer = statistics.median(self.ours), statistics.median(self.peer)
        mark = "met" if self.met else "MISSED"
        return (
            f"{self.name:48} {ours:10.1f} {peer:10.1f}  ratio {self.ratio:5.2f}"
            f"  asked {self.at_least:4.2f}  {mark}"
        )


def serve(work: Callable[[], int]) -> None:
    """A side's life: ready, then for every line `work()`, which returns how many items it did."""
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        items = work()
        print(items / (time.perf_counter() - started), flush=True)


def duel(
    name: str,
    ours: Sequence[str],
    peer: Sequence[str],
    at_least: float,
    rounds: int = 5,
    *,
    pinned: bool = True,
    quiet: float | None = None,
) -> Duel:
    """Run both commands in turns, one unmeasured turn first, both pinned to the first core.

    `pinned=False` lets them use every core, for work that is about cores. Then `quiet` counts
    only rounds in which all other processes used at most that many cores, if there are three.
    """
    sides = [_start(command, pinned) for command in (ours, peer)]
    found: list[tuple[float, float, float]] = []  # our rate, the peer's, cores used by others
    try:
        for _ in range(rounds + 1):
            others, started = _others_seconds(sides), time.monotonic()
            ours_rate, peer_rate = (_turn(side) for side in sides)
            used = (_others_seconds(sides) - others) / (time.monotonic() - started)
            found.append((ours_rate, peer_rate, used))
    finally:
        for side in sides:
            assert side.stdin is not None
            side.stdin.close()
            side.wait(timeout=60)
    del found[0]
    calm = [one for one in found if quiet is not None and one[2] <= quiet]
    kept = calm if len(calm) >= 3 else found
    name += "" if quiet is None else f" ({len(calm)} of {rounds} rounds quiet)"
    return Duel(name, tuple(one[0] for one in kept), tuple(one[1] for one in kept), at_least)


def _others_seconds(sides: Sequence[subprocess.Popen[str]]) -> float:
    """Processor seconds of this machine so far, without those of the two sides."""
    from cascade_rl.rewards.pool_process import tree_seconds  # the peers have no psutil

    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # but idle and waiting
    return busy - sum(tree_seconds(side.pid) for side in sides)


def _start(command: Sequence[str], pinned: bool) -> subprocess.Popen[str]:
    pin = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if pinned else []
    paths = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    side = subprocess.Popen(
        [*pin, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert side.stdout is not None
    if side.stdout.readline().strip() != "ready":
        raise RuntimeError(f"{' '.join(command)} did not start")
    return side


def _turn(side: subprocess.Popen[str]) -> float:
    assert side.stdin is not None and side.stdout is not None
    side.stdin.write("go\n")
    side.stdin.flush()
    return float(side.stdout.readline())
