"""Math: our verifier against verl's process pool and against one warm Math-Verify process.

Both peers get the same generated completions with MATH-500 references. verl's is the safe way
that people use (a pool of processes, a time limit for each answer); the warm process has no guard
at all: one hostile answer stops it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.verifiers.duel import PEERS, ROOT, Duel, duel
from benchmarks.verifiers.math_answers import Item, load

DATA = Path(os.environ.get("CASCADE_SHARED_DATA", ROOT.parent / "shared" / "data"))
MATH500 = DATA / "math" / "deepscaler_math500.json"
COUNT = int(os.environ.get("BENCH_MATH_COUNT", "500"))
SIDES = "benchmarks.verifiers.math_sides"


def run() -> list[Duel]:
    """The two duels, after a line on what the completions are."""
    if not MATH500.exists():
        print(f"{MATH500} is absent; set CASCADE_SHARED_DATA to the folder that holds it")
        return []
    print(describe(load(MATH500, COUNT)))
    ours = [sys.executable, "-m", SIDES, "ours", str(MATH500), str(COUNT)]
    peers = {"math: verl's process pool": ("verl", 4.0), "math: warm Math-Verify": ("warm", 1.0)}
    return [
        duel(name, ours, [str(PEERS), "-m", SIDES, side, str(MATH500), str(COUNT)], at_least, 3)
        for name, (side, at_least) in peers.items()
    ]


def describe(items: list[Item]) -> str:
    """How many answers are rewritten, decided without Math-Verify, and decided rightly."""
    from cascade_rl.verifiers.math import equal, final_answer
    from cascade_rl.verifiers.math.equality import decide

    pairs = [(final_answer(item.text) or "", item.reference) for item in items]
    fast = sum(decide(*pair) is not None for pair in pairs)
    agreed = sum(equal(*pair) is item.right for pair, item in zip(pairs, items, strict=True))
    shares = (
        f"{sum(item.rewritten for item in items) / len(items):.1%} of the answers are in another "
        f"form than the reference",
        f"{fast / len(items):.1%} decided without Math-Verify",
        f"{agreed / len(items):.1%} decided as they were made",
    )
    return "math: " + "; ".join(shares)
