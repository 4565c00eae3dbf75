"""Texts that overlap: sets of word 5-grams, found by MinHash, decided by their true Jaccard.

Two rules. What MinHash proposes is always verified, so a pair under the threshold is never
joined. And what is found depends on the two texts alone, not on the order they came in: a pair
is proposed when any band of their signatures is equal, and there are so many bands that a pair
at the threshold is missed once in a thousand at most.

Texts that share a long instruction fill a band with thousands that are not alike. A crowd is
parted by its next bands, so the time stays near linear; in a crowd more may be missed.

Memory holds the bands, some 400 bytes a text; the sets lie in a file.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from datasketch import MinHash

WIDTH = 5
PERMUTATIONS = 128
MISSED = 0.001
"""Share of pairs at the threshold that MinHash may fail to propose."""
CROWD = 128
"""Texts with one band in common that are compared with each other."""
_BATCH = 4096
_ODD = np.random.default_rng(20251213).integers(1 << 62, size=PERMUTATIONS, dtype=np.uint64) * 2 + 1

Words = Sequence[str]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Texts = np.ndarray[Any, np.dtype[np.int64]]


def bands_for(threshold: float) -> tuple[int, int]:
    """(bands, hashes in each): the longest bands that miss less than MISSED at the threshold."""
    for size in range(PERMUTATIONS // 2, 1, -1):
        count = PERMUTATIONS // size
        if (1 - threshold**size) ** count < MISSED:
            return count, size
    return PERMUTATIONS, 1


def shingles(words: Words) -> Hashes:
    """The set of 5-grams as sorted 64-bit hashes; a shorter text is one shingle."""
    hashes = np.fromiter(map(_word_hash, words), np.uint64, len(words))
    width = min(WIDTH, len(hashes))
    if not width:
        return hashes
    count = len(hashes) - width + 1
    mixed = np.zeros(count, np.uint64)
    for place in range(width):
        mixed += hashes[place : place + count] * _ODD[place]
    return np.unique(mixed ^ (mixed >> np.uint64(31)))


def jaccard(first: Hashes, second: Hashes) -> float:
    """Shared shingles over all shingles of two sets; 0 for empty ones."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / max(1, len(first) + len(second) - shared)


class NearIndex:
    """Texts by number, in the order they are added; a context manager that owns one file.

    `add` all texts first, then ask. Texts are alike only if their `numbers` (0: any) are equal.
    """

    def __init__(self, file: Path, threshold: float) -> None:
        self.threshold = threshold
        self.verified = 0
        self._count, self._size = bands_for(threshold)
        self._minhash = MinHash(num_perm=PERMUTATIONS, hashfunc=_same)
        self._path, self._ends, self._numbers = file, array("q", [0]), array("Q")
        self._bands = array("Q")
        self._crowded = np.zeros((0, 0), bool)
        self._lookup: list[tuple[Hashes, Texts]] = []

    def __enter__(self) -> Self:
        self._file = self._path.open("w+b")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, words: Words, numbers: int = 0) -> int:
        """Keep a text and return its number."""
        found = shingles(words)
        self._file.write(found.tobytes())
        self._ends.append(self._ends[-1] + len(found))
        self._numbers.append(numbers)
        self._bands.frombytes(self._bands_of(found).tobytes())
        return len(self) - 1

    def finish(self) -> None:
        """Between the last `add` and the first question."""
        self._file.flush()
        total = self._ends[-1]
        empty = np.empty(0, np.uint64)
        self._sets = np.memmap(self._path, np.uint64, "r", shape=(total,)) if total else empty
        table = np.frombuffer(self._bands, np.uint64).reshape(len(self), self._count)
        self._table = np.ascontiguousarray(table.T)
        self._crowded = np.zeros(self._table.shape, bool)
        self._bands = array("Q")

    def similarity(self, first: int, second: int) -> float | None:
        """The Jaccard of two texts, or None where it or their numbers keep them apart."""
        numbers = self._numbers[second]
        return self._compare(self._set(first), self._numbers[first], second, numbers)

    def query(
        self, words: Words, numbers: int, allowed: Callable[[int], bool]
    ) -> tuple[int, float] | None:
        """(number, Jaccard) of the text most like this one, of those allowed; None for none."""
        found = shingles(words)
        alike = [
            order[_range(values, value)]
            for (values, order), value in zip(self._sorted(), self._bands_of(found), strict=True)
        ]
        texts, bands = np.unique(np.concatenate(alike), return_counts=True)
        if len(texts) > CROWD:  # those that share most bands, all that share as many as the last
            texts = texts[bands >= np.partition(bands, -CROWD)[-CROWD]]
        best: tuple[int, float] | None = None
        for other in filter(allowed, texts.tolist()):
            likeness = self._compare(found, numbers, other, self._numbers[other])
            if likeness is not None and (best is None or likeness > best[1]):
                best = other, likeness
        return best

    def join(self, union: Callable[[int, int], None], find: Callable[[int], int]) -> None:
        """Call `union` on texts over the threshold until all that are connected are joined."""
        for band in range(self._count if len(self) else 0):
            for bucket in self._buckets(band, np.arange(len(self)), 0):
                self._join_bucket(band, bucket.tolist(), union, find)

    def _join_bucket(
        self,
        band: int,
        bucket: Sequence[int],
        union: Callable[[int, int], None],
        find: Callable[[int], int],
    ) -> None:
        """Each text against one of every group until one of the group is like it."""
        groups: list[list[int]] = []
        for text in bucket:
            mine, apart = [text], []
            for group in groups:
                joined = find(text) == find(group[0])
                if joined or any(self._new_pair(band, text, other) for other in group):
                    union(text, group[0])
                    mine += group
                else:
                    apart.append(group)
            groups = [*apart, mine]

    def _new_pair(self, band: int, first: int, second: int) -> bool:
        """Whether two texts are over the threshold; False where an earlier band has asked."""
        met = self._table[:band, first] == self._table[:band, second]
        if (met & ~self._crowded[:band, first]).any():
            return False
        return self.similarity(first, second) is not None

    def _buckets(self, band: int, texts: Texts, depth: int) -> Iterator[Texts]:
        """Of some texts those that share a band, two or more; crowds by further bands too."""
        values, order = _sort(self._table[(band + depth) % self._count, texts])
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        ends = np.r_[starts[1:], len(values)]
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            bucket = texts[order[start:end]]
            if len(bucket) <= CROWD or depth + 1 == self._count:
                yield bucket
            else:
                self._crowded[band, bucket] = True
                yield from self._buckets(band, bucket, depth + 1)

    def _sorted(self) -> list[tuple[Hashes, Texts]]:
        """(values, texts) of every band in order of value, made at the first question."""
        if not self._lookup:
            self._lookup = [_sort(band) for band in self._table]
        return self._lookup

    def _bands_of(self, found: Hashes) -> Hashes:
        self._minhash.clear()
        for start in range(0, len(found), _BATCH):  # a batch is a matrix of 128 columns
            high = found[start : start + _BATCH] >> np.uint64(32)
            self._minhash.update_batch(high.tolist())
        used = self._minhash.hashvalues[: self._count * self._size].astype(np.uint64)
        bands = used.reshape(self._count, self._size) * _ODD[: self._size]
        mixed: Hashes = bands.sum(axis=1, dtype=np.uint64)
        return mixed ^ (mixed >> np.uint64(29))

    def _set(self, number: int) -> Hashes:
        return self._sets[self._ends[number] : self._ends[number + 1]]

    def _compare(self, found: Hashes, numbers: int, other: int, theirs: int) -> float | None:
        if numbers and theirs and numbers != theirs:
            return None
        size, others = len(found), self._ends[other + 1] - self._ends[other]
        if min(size, others) / max(size, others, 1) < self.threshold:
            return None
        self.verified += 1
        likeness = jaccard(found, self._set(other))
        return likeness if likeness >= self.threshold else None


def _sort(values: Hashes) -> tuple[Hashes, Texts]:
    order = np.argsort(values, kind="stable")
    return values[order], order


def _range(values: Hashes, value: np.uint64) -> slice:
    """Where a value stands in sorted ones."""
    return slice(np.searchsorted(values, value, "left"), np.searchsorted(values, value, "right"))


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    text = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def _same(value: int) -> int:
    return value
