"""`python -m benchmarks.verifiers [NAME ...]`: run the parts, print the table, fail on a miss."""

from __future__ import annotations

import importlib
import sys

from benchmarks.verifiers.duel import PEERS, Duel

PARTS = ("math", "code", "instructions", "swe", "scaling")
"""Modules of this package; each has `run() -> list[Duel]`."""


def main() -> int:
    if not PEERS.exists():
        print("error: the peers are not installed.\n  make install-bench")
        return 2
    names = sys.argv[1:] or PARTS
    duels: list[Duel] = []
    print(f"{'items a second':48} {'ours':>10} {'peer':>10}")
    for name in names:
        for found in importlib.import_module(f"benchmarks.verifiers.{name}").run():
            print(found, flush=True)
            duels.append(found)
    return 0 if all(found.met for found in duels) else 1


if __name__ == "__main__":
    sys.exit(main())
