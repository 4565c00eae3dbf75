"""difflib on the same diffs: `python swe_peer.py KIND SIZE`, standard library only."""

from __future__ import annotations

import difflib
import sys

from benchmarks.verifiers.duel import serve
from benchmarks.verifiers.swe_pairs import pairs


def ratio(first: str, second: str) -> float:
    """The published similarity of two new files."""
    a, b = (
        "\n".join(list(difflib.unified_diff([], text.splitlines(), lineterm=""))[2:])
        for text in (first, second)
    )
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


if __name__ == "__main__":
    pair = pairs(sys.argv[1], int(sys.argv[2]))[0]
    serve(lambda: int(ratio(*pair) >= 0))
