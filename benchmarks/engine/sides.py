"""Both sides as processes that take turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.engine.work import Report, Work
from benchmarks.verifiers.duel import PEERS, ROOT

OURS = (sys.executable, "-m", "benchmarks.engine.side_ours")
TRL = (str(PEERS), str(Path(__file__).with_name("side_trl.py")))
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class Side:
    """A process that trains one step for each `step`."""

    def __init__(self, command: Sequence[str], work: Work) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the side)
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self._write(work.write())

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def step(self) -> Report:
        """Train a step. Raises RuntimeError with what the process said where it ended."""
        self._write("go\n")
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("step "):
                return Report(**json.loads(line.removeprefix("step ")))
        self._said.seek(0)
        raise RuntimeError(f"{self._process.args} ended:\n{self._said.read()[-3000:]}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._said.close()


@dataclass(frozen=True)
class Turns:
    """The measured steps of both sides; the first step, which warms up and compiles, apart."""

    ours: tuple[Report, ...]
    peer: tuple[Report, ...]
    ours_first: Report
    peer_first: Report

    def ratio(self, part: str) -> float:
        """Median over rounds of the peer's seconds a token over ours."""
        return statistics.median(
            (getattr(b, part) / b.tokens) / (getattr(a, part) / a.tokens)
            for a, b in zip(self.ours, self.peer, strict=True)
        )


def take_turns(work: Work, ours: str, peer: str, rounds: int) -> Turns:
    """`rounds` steps of each after one to warm up, each side in its dtype."""
    work = replace(work, steps=rounds + 1)
    sides = [Side(OURS, replace(work, dtype=ours)), Side(TRL, replace(work, dtype=peer))]
    try:
        found = [[side.step() for side in sides] for _ in range(rounds + 1)]
    finally:
        for side in sides:
            side.close()
    (ours_first, peer_first), *rest = found
    return Turns(tuple(a for a, _ in rest), tuple(b for _, b in rest), ours_first, peer_first)


def best_dtype(command: Sequence[str], work: Work, dtypes: Sequence[str]) -> str:
    """The dtype in which a side's second step takes least."""
    spent = {}
    for dtype in dtypes:
        side = Side(command, replace(work, dtype=dtype, steps=2))
        try:
            side.step()
            spent[dtype] = side.step().whole
        finally:
            side.close()
    return min(spent, key=lambda dtype: spent[dtype])
