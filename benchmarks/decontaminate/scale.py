"""Memory and time at 1, 3 and 10 million short prompts, on either side of the comparison.

Each size is a process of its own: it indexes that many prompts, or it passes that many by an
index of a thousand. Seconds are the processor's, without drawing the prompts.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.decontaminate.documents import VOCABULARY, problem
from cascade_rl.data.decontaminate import Guard, RowSet, Tally, batches, examine
from cascade_rl.types import Problem

MILLIONS = (1, 3, 10)
LIMIT_GB = 4.0
NEAR_LINEAR = 1.5
"""Seconds a prompt at the largest size over those at the smallest."""
WORDS = 20


class Drawn:
    """`count` prompts of 20 words, and the seconds that drawing them took."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.seconds = count, seed, 0.0

    def __iter__(self) -> Iterator[Problem]:
        rng = np.random.default_rng(self.seed)
        for start in range(0, self.count, 10_000):
            begun = time.process_time()
            rows = []
            drawn = rng.integers(len(VOCABULARY), size=(10_000, WORDS)).tolist()
            for n, places in enumerate(drawn, start):
                text = " ".join([VOCABULARY[place] for place in places])
                rows.append(problem(f"p{n}", text + "?"))
            self.seconds += time.process_time() - begun
            yield from rows


def one(side: str, count: int) -> None:
    """One size of one side; prints seconds and gigabytes."""
    drawn = Drawn(count, seed=1)
    started = time.process_time()
    if side == "index":
        guard = Guard([RowSet("prompts", lambda: drawn)])
        again = next(batches(Drawn(10_000, seed=1)))
        assert all(guard.hits(again)), "an indexed prompt is found"
        assert not any(guard.hits(next(batches(Drawn(10_000, seed=2)))))
    else:
        few = list(Drawn(10_000, seed=2))[:1000]
        guard = Guard([RowSet("prompts", lambda: few)])
        started, tally = time.process_time(), Tally()
        for _ in examine(drawn, guard, tally):
            pass
        assert (tally.rows, tally.leaking) == (count, 0)
    seconds = time.process_time() - started - drawn.seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    print(f"{seconds:.2f} {peak:.3f}")


def main() -> bool:
    """All sizes of both sides; whether memory and time are as asked."""
    met = True
    for side in ("index", "stream"):
        rates = []
        for millions in MILLIONS:
            command = [sys.executable, "-m", "benchmarks.decontaminate.scale", side,
                       str(millions * 1_000_000)]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, peak = map(float, done.stdout.split())
            rates.append(seconds / millions)
            met = met and peak < LIMIT_GB
            print(
                f"{side:6} {millions:3} million prompts: {seconds:7.1f} s"
                f"  {seconds / millions:5.2f} µs a prompt  {peak:5.2f} GB",
                flush=True,
            )
        met = met and rates[-1] < NEAR_LINEAR * rates[0]
    print("met" if met else "MISSED")
    return met


if __name__ == "__main__":
    one(sys.argv[1], int(sys.argv[2]))
