"""Counting any number of rows in bounded memory: names, whole numbers, and prompts seen before.

One rule: what is counted is exact. Only the place of a value inside a distribution is rounded:
whole numbers below 2,048 are kept as they are and larger ones to 11 binary digits, so a quantile
is at most 0.1 % too low.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

DIGITS = 11
EXACT_BELOW = 1 << DIGITS
MAX_NAMES, MAX_NAME = 1000, 120
"""Different names that a tally holds, and characters of one."""
OTHERS = "(all others)"
SEPARATE = 24
"""At most so many neighbouring values have a bar each."""


class Tally:
    """How often each name came. From `MAX_NAMES` on, new names are counted together."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """One more of that name."""
        name = name if len(name) <= MAX_NAME else name[:MAX_NAME] + "..."
        known = name in self._counts or len(self._counts) < MAX_NAMES
        self._counts[name if known else OTHERS] += 1

    def sorted(self) -> dict[str, int]:
        """Counts by name, the most frequent first."""
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Bin:
    """How many values lie in [low, high], both included."""

    low: int
    high: int
    count: int


class Measure:
    """A distribution of whole numbers from 0 on."""

    def __init__(self) -> None:
        self.count = self.total = self.max = 0
        self.min: int | None = None
        self._values: Counter[int] = Counter()

    def add(self, value: int) -> None:
        """One more value."""
        self.count += 1
        self.total += value
        self.max = max(self.max, value)
        self.min = value if self.min is None else min(self.min, value)
        self._values[_rounded(value)] += 1

    @property
    def mean(self) -> float:
        """The exact mean; 0 without values."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> int:
        """The smallest value that at least this share of all values does not exceed."""
        rank, below = math.ceil(share * self.count), 0
        for value in sorted(self._values):
            below += self._values[value]
            if below >= rank:
                return value
        return 0

    def bins(self) -> list[Bin]:
        """A bin for each value where they lie close together, else bins that grow with it."""
        if self.min is None:
            return []
        if self.max < EXACT_BELOW and self.max - self.min < SEPARATE:
            return [Bin(v, v, self._values[v]) for v in range(self.min, self.max + 1)]
        found: list[Bin] = []
        values = sorted(self._values.items())
        place = 0
        for low, high in _growing():
            count = 0
            while place < len(values) and values[place][0] <= high:
                count += values[place][1]
                place += 1
            if count or found:
                found.append(Bin(low, high, count))
            if place == len(values):
                return found
        return found


def _rounded(value: int) -> int:
    extra = max(0, value.bit_length() - DIGITS)
    return value >> extra << extra


def _growing() -> Iterator[tuple[int, int]]:
    """(0, 0), (1, 1), (2, 2), (3, 3), (4, 5), (6, 7), (8, 11), (12, 15), (16, 23) and so on.

    They begin at values that `_rounded` keeps, so no value is counted in the wrong one.
    """
    yield from ((value, value) for value in range(4))
    low = 4
    while True:
        half = low + low // 2
        yield low, half - 1
        yield half, 2 * low - 1
        low *= 2


class Repeats:
    """How many texts were seen before: eight bytes of memory for each, whatever its length."""

    def __init__(self) -> None:
        self._digests = array("Q")

    def add(self, text: str) -> None:
        """One more text."""
        data = text.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=8).digest()
        self._digests.append(int.from_bytes(digest, "little"))

    def count(self) -> tuple[int, int]:
        """(different texts, texts that an equal one came before)."""
        different = len(np.unique(np.frombuffer(self._digests, dtype=np.uint64)))
        return different, len(self._digests) - different
