"""Rows packed to a token budget: best fit decreasing inside a window, so that lengths stream.

One rule: a pack names rows of the file beside it, it does not join them. Whoever trains on a
pack must start positions, attention and the loss mask anew at every row, and `lengths` says
where. A row is never split.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

WINDOW = 8192
"""Rows that are sorted together; memory holds so many lengths and the open packs."""
KEPT_OPEN = 64
"""Packs that wait for the next window, those with most room."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows by their place in the file, in that order, and the tokens of each."""

    rows: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Of all rows together."""
        return sum(self.lengths)


def best_fit(lengths: Iterable[int], budget: int, window: int = WINDOW) -> Iterator[Pack]:
    """Packs of at most `budget` tokens, every row in one of them.

    Of a window the longest row goes first, each into the pack that it fills most. Raises
    ValueError for a length over the budget: such rows are the caller's to drop.
    """
    numbered = enumerate(lengths)
    openings: list[tuple[int, int]] = []  # (room, pack), least room first
    packs: dict[int, list[tuple[int, int]]] = {}
    made = 0
    while found := list(islice(numbered, window)):
        for row, length in sorted(found, key=lambda item: (-item[1], item[0])):
            if length > budget:
                raise ValueError(f"row {row} is {length} tokens; the budget is {budget}")
            place = bisect_left(openings, (length, -1))
            if place == len(openings):
                room, pack = budget, made
                packs[pack] = []
                made += 1
            else:
                room, pack = openings.pop(place)
            packs[pack].append((row, length))
            insort(openings, (room - length, pack))
        full = openings[: max(0, len(openings) - KEPT_OPEN)]
        del openings[: len(full)]
        yield from _close([packs.pop(pack) for _, pack in full])
    yield from _close(list(packs.values()))


def _close(packs: list[list[tuple[int, int]]]) -> Iterator[Pack]:
    """In the order of their first rows, so that the shuffle of the file is not undone."""
    for pack in sorted(map(sorted, packs)):
        yield Pack(tuple(row for row, _ in pack), tuple(length for _, length in pack))
