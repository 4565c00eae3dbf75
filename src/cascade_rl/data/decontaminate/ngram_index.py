"""Which items have an n-gram: sorted arrays of 64-bit keys, so that ten million prompts fit.

Items are numbered from 0 in the order in which they are added, benchmark after benchmark. One
rule: an n-gram in more than 1 % of a benchmark's items, and in two of them at least, says nothing
about any of them; it is left out for that benchmark and listed in `common`. Items with the same
words count as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cascade_rl.data.decontaminate.ngrams import Grams, loaded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Items = NDArray[np.uint32]

COMMON_SHARE = 0.01
_CHUNK = 1 << 22
"""Pairs that are sorted at once while items are added: 48 MB."""
_MOST_BITS = 24


@dataclass(frozen=True, slots=True)
class KeyTable:
    """Pairs of key and item, sorted; `first[k]` is the place of the first key from k << shift.

    `bits` has a 1 for every value of a key's upper bits, so that most others are known at once.
    """

    keys: Keys
    items: Items
    first: NDArray[np.uint32]
    shift: int
    bits: NDArray[np.uint8]
    bit_shift: int

    @staticmethod
    def of(keys: Keys, items: Items) -> KeyTable:
        """A table of pairs that are sorted already."""
        shift = 64 - min(_MOST_BITS, max(3, len(keys).bit_length()))
        edges = np.arange(1 << (64 - shift), dtype=np.uint64) << np.uint64(shift)
        first = np.append(np.searchsorted(keys, edges), len(keys)).astype(np.uint32)
        bit_shift = shift - 3
        flags = np.zeros(1 << (64 - bit_shift), dtype=bool)
        flags[keys >> np.uint64(bit_shift)] = True
        bits = np.packbits(flags, bitorder="little")
        return KeyTable(keys, items, first, shift, bits, bit_shift)

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Places in `keys` of those that some item has."""
        if not len(self.keys):
            return np.empty(0, dtype=np.int64)
        kernel = loaded()
        if kernel is not None:
            return kernel.find(keys, self.keys, self.first, self.shift, self.bits, self.bit_shift)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.flatnonzero(self.keys[places] == keys)

    def items_of(self, key: int) -> list[int]:
        """The items that have the key, in order."""
        low = int(np.searchsorted(self.keys, np.uint64(key), "left"))
        high = int(np.searchsorted(self.keys, np.uint64(key), "right"))
        return [int(item) for item in self.items[low:high]]


@dataclass(frozen=True, slots=True)
class Index:
    """N-grams and whole prompts of all items, and the n-grams too common to count.

    `common[b]` holds key and number of items of the benchmark; `same_as[i]` is the first item
    with the words of item i.
    """

    ngrams: KeyTable
    wholes: KeyTable
    common: tuple[dict[int, int], ...]
    same_as: Items
    sizes: tuple[int, ...]  # different items of each benchmark


class IndexBuilder:
    """Takes the items of one benchmark after another; memory holds their keys only, and once."""

    def __init__(self) -> None:
        self._chunks: list[tuple[Keys, Items]] = []  # each sorted by key
        self._pending: list[tuple[Keys, Items]] = []
        self._pending_count = 0
        self._wholes: list[Keys] = []
        self._ends: list[int] = []
        self.count = 0

    def add(self, found: Grams) -> None:
        """Items of the current benchmark, one a text."""
        lengths = np.diff(found.ends, prepend=0)
        numbers = np.arange(self.count, self.count + len(lengths), dtype=np.uint32)
        self._pending.append((found.keys, np.repeat(numbers, lengths)))
        self._pending_count += len(found.keys)
        self._wholes.append(found.wholes)
        self.count += len(lengths)
        if self._pending_count >= _CHUNK:
            self._sort_pending()

    def _sort_pending(self) -> None:
        if self._pending:
            keys = np.concatenate([keys for keys, _ in self._pending])
            items = np.concatenate([items for _, items in self._pending])
            order = np.argsort(keys, kind="stable")
            self._chunks.append((keys[order], items[order]))
        self._pending, self._pending_count = [], 0

    def end_benchmark(self) -> None:
        """The items added since the last call are one benchmark."""
        self._ends.append(self.count)

    def build(self) -> Index:
        """The index; the builder is empty after it."""
        self._sort_pending()
        wholes = np.concatenate(self._wholes) if self._wholes else np.empty(0, np.uint64)
        self._wholes = []
        same_as = self._first_of_equals(wholes)
        sizes = self._sizes(same_as)
        common: list[dict[int, int]] = [{} for _ in self._ends]
        total = sum(len(keys) for keys, _ in self._chunks)
        keys, items = np.empty(total, np.uint64), np.empty(total, np.uint32)
        start = total  # the arrays are filled from their ends
        for found, of in self._parts(total):
            found, of = self._without_common(*_sorted_pairs(found, same_as[of]), sizes, common)
            start -= len(found)
            keys[start : start + len(found)] = found
            items[start : start + len(found)] = of
        firsts = np.flatnonzero((same_as == np.arange(self.count)) & (wholes != 0))
        order = firsts[np.argsort(wholes[firsts], kind="stable")].astype(np.uint32)
        return Index(
            KeyTable.of(keys[start:], items[start:]),
            KeyTable.of(wholes[order], order),
            tuple(common),
            same_as,
            sizes,
        )

    def _parts(self, total: int) -> Iterator[tuple[Keys, Items]]:
        """All pairs, those of the highest keys first, some `_CHUNK` at a time.

        What was given out is cut off the chunks, so that no pair is in memory twice.
        """
        parts = total // _CHUNK + 1
        for part in range(parts - 1, -1, -1):
            bound = np.uint64(part * ((1 << 64) // parts))
            given: list[tuple[Keys, Items]] = []
            for keys, items in self._chunks:
                place = int(np.searchsorted(keys, bound))
                given.append((keys[place:].copy(), items[place:].copy()))
                keys.resize(place, refcheck=False)
                items.resize(place, refcheck=False)
            if given:
                yield np.concatenate([k for k, _ in given]), np.concatenate([i for _, i in given])
        self._chunks = []

    def _first_of_equals(self, wholes: Keys) -> Items:
        """For each item the first of its benchmark with the same words."""
        same_as = np.arange(self.count, dtype=np.uint32)
        start = 0
        for end in self._ends:
            _, first, inverse = np.unique(wholes[start:end], return_index=True, return_inverse=True)
            same = wholes[start:end] != 0  # items without words are not each other
            same_as[start:end][same] = (first[inverse] + start)[same]
            start = end
        return same_as

    def _sizes(self, same_as: Items) -> tuple[int, ...]:
        starts = [0, *self._ends][:-1]
        return tuple(
            int(np.count_nonzero(same_as[a:b] == np.arange(a, b)))
            for a, b in zip(starts, self._ends, strict=True)
        )

    def _without_common(
        self, keys: Keys, items: Items, sizes: Sequence[int], common: list[dict[int, int]]
    ) -> tuple[Keys, Items]:
        """The pairs without the n-grams that are common in the item's benchmark."""
        benchmark = np.searchsorted(self._ends, items, side="right")
        new = np.ones(len(keys), dtype=bool)
        new[1:] = (keys[1:] != keys[:-1]) | (benchmark[1:] != benchmark[:-1])
        starts = np.flatnonzero(new)
        counts = np.diff(starts, append=len(keys))
        limits = np.maximum(1, COMMON_SHARE * np.asarray(sizes)[benchmark[starts]])
        too_many = counts > limits
        for start, count in zip(starts[too_many], counts[too_many], strict=True):
            common[int(benchmark[start])][int(keys[start])] = int(count)
        kept = np.repeat(~too_many, counts)
        return keys[kept], items[kept]


def _sorted_pairs(keys: Keys, items: Items) -> tuple[Keys, Items]:
    """The pairs by key and then item, each once."""
    order = np.lexsort((items, keys))
    keys, items = keys[order], items[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]) | (items[1:] != items[:-1])
    return keys[new], items[new]
