"""Does the ledger see forgetting where there is some, and only there?

    python -m benchmarks.conflict [--output runs/conflict] [--seed 0]

Trains `mini-conflict`, whose preference for short answers meets a demand for long ones on the
same questions, and its disjoint twin. Exit status 1 unless the first is flagged and the second
is not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cascade_rl.cli.common import load
from cascade_rl.evaluation.ledger import Drop, build_ledger, forgotten
from cascade_rl.store import Run
from cascade_rl.trainer import CascadedRLTrainer


def flagged(preset: str, output: Path, seed: int) -> list[Drop]:
    """Train the preset and return what its ledger calls forgotten."""
    CascadedRLTrainer(load(preset, [f"seed={seed}"]), output=output).fit()
    ledger = build_ledger(Run(output).scores())
    for row in ledger["stages"]:
        means = {name: round(score["mean"], 3) for name, score in row["scores"].items()}
        print(f"{preset:<24} {row['name']:<14} {means}")
    return forgotten(ledger, 0.1)


def main() -> int:
    """Train both and say what was flagged."""
    parser = argparse.ArgumentParser(description="Forgetting is flagged where there is some.")
    parser.add_argument("--output", type=Path, default=Path("runs/conflict"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    met = []
    for preset, expected in (("mini-conflict", True), ("mini-conflict-disjoint", False)):
        drops = flagged(preset, arguments.output / preset, arguments.seed)
        for drop in drops:
            print(f"{preset}: {drop}")
        met.append(bool(drops) == expected)
        print("ok  " if met[-1] else "MISS", f"{preset}: {'' if drops else 'not '}flagged")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
