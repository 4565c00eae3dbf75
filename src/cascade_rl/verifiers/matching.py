"""How many characters difflib's matching blocks hold, a hundred times faster than difflib.

Ratcliff and Obershelp: the longest common substring (the first in `a`, then the first in `b`,
where several are longest), then the same to its left and to its right. Long substrings are
found at once from the shared 24-grams and 12-grams of a rectangle, short ones by `str.find` in
the small rectangles that remain. A `limit` on the work keeps the blocks found so far, the
largest rectangles first: the count is then a lower bound, so that length never pays.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

GRAMS = (24, 12)
SMALL = 6_000
"""Area of a rectangle below which looking for grams costs more than it saves."""
MAX_PAIRS = 400_000
"""Equal grams of one rectangle up to which they are listed; beyond, `str.find` looks for them."""

Keys = NDArray[np.uint64]
Block = tuple[int, int, int]
"""(size, -start in a, -start in b): the largest block is the one difflib takes."""


def matched_characters(a: str, b: str, limit: int | None = None) -> int:
    """Sum of the sizes of `difflib.SequenceMatcher(None, a, b, autojunk=False)`'s blocks.

    `limit` is in units of about 0.2 microseconds; beyond it the sum is a lower bound.
    """
    if a == b:
        return len(a)
    search = _Search(a, b, math.inf if limit is None else limit)
    total = 0
    heap = [(0, 0, _Rectangle(0, len(a), 0, len(b), min(len(a), len(b))))]
    while heap and search.work < search.limit:
        rectangle = heapq.heappop(heap)[2]
        size, i, j = search.longest(rectangle)
        if size:
            total += size
            for part in rectangle.around(size, i, j):
                # No two rectangles begin at the same character of a.
                heapq.heappush(heap, (-part.area, part.a0, part))
    return total


@dataclass(slots=True)
class _Rectangle:
    """a[a0:a1] against b[b0:b1], where no common substring is longer than `bound`.

    `runs` are the common substrings of at least GRAMS[level] characters, all of them.
    """

    a0: int
    a1: int
    b0: int
    b1: int
    bound: int
    level: int = -1
    runs: list[Block] = field(default_factory=list)

    @property
    def area(self) -> int:
        return (self.a1 - self.a0) * (self.b1 - self.b0)

    def around(self, size: int, i: int, j: int) -> list[_Rectangle]:
        """What lies to the left and to the right of a block, with its runs cut to fit."""
        least = GRAMS[self.level] if self.runs else 0
        found = []
        if self.a0 < i and self.b0 < j:
            runs = [
                (min(s, i + p, j + q), p, q)
                for s, p, q in self.runs
                if i + p >= least and j + q >= least
            ]
            found.append(_Rectangle(self.a0, i, self.b0, j, size, self.level, runs))
        i, j = i + size, j + size
        if i < self.a1 and j < self.b1:
            runs = [
                (s - cut, p - cut, q - cut) if (cut := max(i + p, j + q)) > 0 else (s, p, q)
                for s, p, q in self.runs
                if s - p - i >= least and s - q - j >= least
            ]
            found.append(_Rectangle(i, self.a1, j, self.b1, size, self.level, runs))
        return found


class _Search:
    """Finds longest common substrings, and counts what that costs."""

    def __init__(self, a: str, b: str, limit: float) -> None:
        self.a, self.b = a, b
        self.codes_a, self.codes_b = _codes(a), _codes(b)
        self.grams_a, self.grams_b = _gram_keys(self.codes_a), _gram_keys(self.codes_b)
        self.work, self.limit = (len(a) + len(b)) // 4, limit

    def longest(self, at: _Rectangle) -> tuple[int, int, int]:
        """(size, start in a, start in b) of the block that difflib would take; size 0: none."""
        while not at.runs and at.level + 1 < len(GRAMS) and at.area > SMALL:
            at.level += 1
            runs = self._runs(at, GRAMS[at.level])
            if runs is None:
                at.level = len(GRAMS)
                break
            at.runs = runs
        if at.runs:
            self.work += len(at.runs) + 10
            size, i, j = max(at.runs)
            return size, -i, -j
        at.level = len(GRAMS)
        return self._scan(at)

    def _scan(self, at: _Rectangle) -> tuple[int, int, int]:
        """From left to right: is there a substring here that is longer than the best so far?"""
        a, b, find, a1, b0, b1, bound = self.a, self.b, self.b.find, at.a1, at.b0, at.b1, at.bound
        cost = 2 + (b1 - b0) // 200
        affordable = int(min(a1 - at.a0, max(self.limit - self.work, 0) // cost))
        best, best_i, best_j, i = 0, 0, 0, at.a0
        for i in range(at.a0, at.a0 + affordable):
            if i + best >= a1 or best >= bound:
                break
            j = find(a[i : i + best + 1], b0, b1)
            while j >= 0:
                best, best_i, best_j = best + 1, i, j
                most = min(a1 - i, b1 - j)
                while best < most and a[i + best] == b[j + best]:
                    best += 1
                j = find(a[i : i + best + 1], j + 1, b1) if i + best < a1 else -1
        self.work += (i - at.a0 + 1) * cost
        return best, best_i, best_j

    def _runs(self, at: _Rectangle, k: int) -> list[Block] | None:
        """Every longest run of equal characters of at least k; None where there are too many."""
        keys_a = self.grams_a[k][at.a0 : max(at.a1 - k + 1, at.a0)]
        keys_b = self.grams_b[k][at.b0 : max(at.b1 - k + 1, at.b0)]
        self.work += 200 + (len(keys_a) + len(keys_b)) // 2
        if not len(keys_a) or not len(keys_b):
            return []
        order = np.argsort(keys_b)
        ordered = keys_b[order]
        first = np.searchsorted(ordered, keys_a)
        shared = np.flatnonzero(ordered[np.minimum(first, len(ordered) - 1)] == keys_a)
        first = first[shared]
        counts = np.searchsorted(ordered, keys_a[shared], "right") - first
        pairs = int(counts.sum())
        if pairs == 0 or pairs > MAX_PAIRS:
            return None if pairs else []
        self.work += pairs // 3
        nth = np.arange(pairs) - np.repeat(np.cumsum(counts) - counts, counts)
        i = np.repeat(shared, counts) + at.a0
        j = order[np.repeat(first, counts) + nth] + at.b0
        # A run starts at a pair that no equal character precedes, and ends where none follows.
        starts = (i == at.a0) | (j == at.b0) | (self.codes_a[i - 1] != self.codes_b[j - 1])
        ends = (i + k == at.a1) | (j + k == at.b1)
        inside = ~ends
        ends[inside] = self.codes_a[i[inside] + k] != self.codes_b[j[inside] + k]
        start_i, start_j = _by_diagonal(i[starts], j[starts])
        end_i, _ = _by_diagonal(i[ends], j[ends])
        sizes = end_i - start_i + k
        return list(zip(sizes.tolist(), (-start_i).tolist(), (-start_j).tolist(), strict=True))


def _by_diagonal(
    i: NDArray[np.int64], j: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.lexsort((i, j - i))
    return i[order], j[order]


def _codes(text: str) -> Keys:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)


def _gram_keys(codes: Keys) -> dict[int, Keys]:
    """A 64-bit key of every gram. Different grams share one with a chance of about 1e-10."""
    keys = _mixed(codes, 0x9E3779B97F4A7C15)
    found = {}
    for k, factor in ((1, 3), (2, 5), (4, 7)):
        keys = _joined(keys, keys, k, factor)
        found[2 * k] = keys
    found[12] = _joined(found[8], found[4], 8, 11)
    found[6] = _joined(found[4], found[2], 4, 17)
    found[24] = _joined(found[12], found[12], 12, 13)
    return found


def _joined(left: Keys, right: Keys, k: int, factor: int) -> Keys:
    """Keys of grams whose first k characters are `left`'s and whose rest is `right`'s."""
    size = max(len(right) - k, 0)
    return _mixed(left[:size], 0xC2B2AE3D27D4EB4F + 2 * factor) + right[k : k + size]


def _mixed(keys: Keys, factor: int) -> Keys:
    mixed = keys * np.uint64(factor | 1)
    return mixed ^ (mixed >> np.uint64(29))
