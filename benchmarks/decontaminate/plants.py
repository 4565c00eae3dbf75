"""Planted leaks: every one found, 8-word overlaps and innocent problems all kept."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.decontaminate.documents import Corpus, corpus
from cascade_rl.data.decontaminate import Guard, RowSet, Tally, examine


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows dropped and kept by what their ids say they are."""

    dropped: Counter[str]
    kept: Counter[str]
    seconds: float

    @property
    def right(self) -> bool:
        """All leaks dropped, all else kept."""
        return set(self.dropped) == {"leak"} and "leak" not in self.kept


def judge(made: Corpus, n: int = 9) -> Outcome:
    """Compare the rows with the items."""
    started = time.monotonic()
    guard = Guard([RowSet("items", lambda: made.items)], n)
    dropped: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for row, hits in examine(made.rows(), guard, Tally()):
        (dropped if hits else kept)[row.id.split("-")[0]] += 1
    return Outcome(dropped, kept, time.monotonic() - started)


def main() -> bool:
    """The full size: 100,000 documents of 300 words."""
    outcome = judge(corpus(documents=100_000, leaks=1000, innocent=10_000))
    print(
        f"{sum(outcome.dropped.values()) + sum(outcome.kept.values())} documents,"
        f" {outcome.seconds:.0f} s with drawing them"
    )
    for kind in ("leak", "close", "innocent", "document"):
        print(f"  {kind:10} dropped {outcome.dropped[kind]:6}   kept {outcome.kept[kind]:6}")
    print("met" if outcome.right else "MISSED")
    return outcome.right
