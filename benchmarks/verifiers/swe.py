"""SWE similarity: pairs of diffs a second against difflib, and milliseconds against 50.

difflib takes half a minute for two diffs of 30,000 characters, so it is run at 10,000 only.
There we are asked for 56 times its rate, which is what 50 ms were at its 2.8 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.verifiers.duel import PEERS, ROOT, Duel, duel, serve
from benchmarks.verifiers.swe_pairs import KINDS, pairs

ALLOWED_MS = 50.0
ROUNDS = 7


def run() -> list[Duel]:
    found = [
        duel(
            f"swe_rl, 10,000 characters, {kind}, difflib",
            [*_ours("swe_rl", kind, 10_000), "serve"],
            [str(PEERS), "-m", "benchmarks.verifiers.swe_peer", kind, "10000"],
            at_least=56.0,
            rounds=2,
        )
        for kind in KINDS
    ]
    for measure in ("swe_rl", "changed_lines"):
        found += [_within(measure, kind, size) for kind in KINDS for size in (10_000, 30_000)]
    return found


def _within(measure: str, kind: str, size: int) -> Duel:
    """Our rate against 20 a second, which is 50 ms a pair. Seconds of the processor count."""
    reply = subprocess.run(
        [*_ours(measure, kind, size), "seconds"], capture_output=True, text=True, check=True
    )
    seconds = [float(word) for word in reply.stdout.split()]
    milliseconds = 1000.0 * statistics.median(seconds)
    name = f"{measure}, {size:,} characters, {kind}, {milliseconds:.1f} ms"
    rates = tuple(1.0 / s for s in seconds)
    return Duel(name, rates, (1000.0 / ALLOWED_MS,) * len(rates), at_least=1.0)


def _ours(measure: str, kind: str, size: int) -> Sequence[str]:
    path = f"PYTHONPATH={ROOT}:{ROOT / 'src'}"
    module = "benchmarks.verifiers.swe"
    return ["env", path, sys.executable, "-m", module, measure, kind, str(size)]


def _side(measure: str, kind: str, size: int, how: str) -> None:
    from cascade_rl.verifiers.similarity import SIMILARITIES

    similarity, work = SIMILARITIES[measure], pairs(kind, size)

    def once() -> int:
        for first, second in work:
            similarity({}, {"a.py": first}, {"a.py": second})
        return len(work)

    if how == "serve":
        serve(once)
        return
    for _ in range(ROUNDS):
        started = time.process_time()
        once()
        print((time.process_time() - started) / len(work))


if __name__ == "__main__":
    _side(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
