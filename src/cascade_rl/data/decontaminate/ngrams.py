"""Keys of the n-grams of problem texts: 64-bit hashes of n words in a row, boilerplate left out.

`grams` works on a batch of texts with the compiled kernel where it is there (`_ngrams.c`, built at
install) and in plain Python where not; both give the same keys, which a property test holds them
to. One rule: no n-gram spans a break, which is what stands in the place of boilerplate.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_rl.data.decontaminate.boilerplate import PHRASES, masked, stripped
from cascade_rl.data.normal import DROPPED, fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_START, _PRIME = 14695981039346656037, 0xFF51AFD7ED558CCD
_BASE = 0x9E3779B97F4A7C15
_MOST_DIGITS = 256
_BUCKETS = 1024
_BATCH_CHARACTERS = 1 << 17
"""Texts handed to the kernel at once: with their keys they fit into a core's cache."""


@dataclass(frozen=True, slots=True)
class Grams:
    """The keys of texts: those of text i are `keys[ends[i - 1] : ends[i]]`, in order.

    `wholes[i]` is the key of all words of text i that are no boilerplate, 0 where it has none.
    """

    keys: NDArray[np.uint64]
    ends: NDArray[np.int64]
    wholes: NDArray[np.uint64]


def grams(texts: Sequence[str], n: int) -> Grams:
    """The n-gram keys of every text; n = 0 gives wholes only."""
    kernel = loaded()
    return plain_grams(texts, n) if kernel is None else kernel.grams(texts, n)


# --- in plain Python --------------------------------------------------------------------------


def plain_grams(texts: Iterable[str], n: int) -> Grams:
    """What `grams` gives, without the kernel."""
    keys: list[int] = []
    ends: list[int] = []
    wholes: list[int] = []
    for text in texts:
        words = masked(stripped(text))
        keys += (key for _, key in windows(words, n))
        ends.append(len(keys))
        wholes.append(whole_key(words))
    return Grams(
        np.array(keys, dtype=np.uint64),
        np.array(ends, dtype=np.int64),
        np.array(wholes, dtype=np.uint64),
    )


def window_ends(words: Sequence[str | None], n: int) -> list[int]:
    """The place of the last word of every n words in a row without a break (None)."""
    found: list[int] = []
    run = 0
    for place, word in enumerate(words):
        run = 0 if word is None else run + 1
        if run >= n > 0:
            found.append(place)
    return found


def windows(words: Sequence[str | None], n: int) -> list[tuple[int, int]]:
    """(place of the last word, key) of every n words in a row without a break (None)."""
    power = pow(_BASE, n - 1, _MASK + 1) if n else 0
    hashes = [0 if word is None else word_hash(word) for word in words]
    found: list[tuple[int, int]] = []
    rolling = last = 0
    for place in window_ends(words, n):
        if place == last + 1 and found:
            rolling = (rolling - hashes[place - n] * power) * _BASE + hashes[place]
        else:
            rolling = 0
            for value in hashes[place - n + 1 : place + 1]:
                rolling = rolling * _BASE + value
        rolling, last = rolling & _MASK, place
        found.append((place, _finish(rolling)))
    return found


def whole_key(words: Iterable[str | None]) -> int:
    """The key of all words together, breaks left out; 0 for none."""
    total = 0
    for word in words:
        if word is not None:
            total = (total * _BASE + word_hash(word)) & _MASK
    return _finish(total) if total else 0


@lru_cache(maxsize=1 << 18)
def word_hash(word: str) -> int:
    """64 bits of a word, eight bytes after eight; never 0, which is a break."""
    data = word.encode("utf-8", "surrogatepass")
    if word.isdecimal():
        data = data[:_MOST_DIGITS]
    found = _START ^ len(data)
    for start in range(0, len(data), 8):
        found = ((found ^ int.from_bytes(data[start : start + 8], "little")) * _PRIME) & _MASK
        found ^= found >> 32
    return _finish(found)


def _finish(value: int) -> int:
    value ^= value >> 32
    value = (value * 0xD6E8FEB86659FD93) & _MASK
    value ^= value >> 32
    return value or 1


# --- by the kernel ----------------------------------------------------------------------------


@cache
def loaded() -> Kernel | None:
    """The compiled kernel, or None where the installation could not build it."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_ngrams{suffix}")
        if path.exists():
            return Kernel(ctypes.CDLL(str(path)))
    return None


class _Rules(ctypes.Structure):
    _fields_ = [
        ("fold", ctypes.c_void_p),
        ("pool", ctypes.c_void_p),
        ("dropped", ctypes.c_void_p),
        ("dropped_count", ctypes.c_int64),
        ("phrases", ctypes.c_void_p),
        ("phrase_ends", ctypes.c_void_p),
        ("buckets", ctypes.c_void_p),
        ("begins", ctypes.c_void_p),
    ]


class Kernel:
    """`_ngrams.c` with the tables it reads. Characters are folded in Python when first met."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._keys: Callable[..., int] = _function(library, "cascade_keys")
        self._suspects: Callable[..., int] = _function(library, "cascade_suspects")
        self._find: Callable[..., int] = _function(library, "cascade_find")
        self._fold = np.zeros(0x110000, dtype=np.uint32)
        self._pool = bytearray(1)  # place 0 is "not known"
        self._dropped = np.array(sorted(map(word_hash, DROPPED)), dtype=np.uint64)
        self._phrases, self._phrase_ends, self._buckets = _phrase_tables()
        self._begins = np.zeros(_BUCKETS, dtype=np.uint8)
        self._begins[[word_hash(p[0] or "") % _BUCKETS for p in PHRASES]] = 1
        self._make_room(1 << 16, 1 << 20)
        self._rules = self._pointers()

    def grams(self, texts: Sequence[str], n: int) -> Grams:
        """The n-gram keys of every text."""
        parts: list[Grams] = []
        start = size = 0
        for place, text in enumerate(texts):
            size += len(text)
            if size > _BATCH_CHARACTERS:
                parts.append(self._batch(texts[start : place + 1], n))
                start, size = place + 1, 0
        parts.append(self._batch(texts[start:], n))
        if len(parts) == 1:
            return parts[0]
        offsets = accumulate((len(part.keys) for part in parts), initial=0)
        return Grams(
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.ends + off for part, off in zip(parts, offsets, strict=False)]),
            np.concatenate([part.wholes for part in parts]),
        )

    def find(
        self,
        keys: NDArray[np.uint64],
        among: NDArray[np.uint64],
        first: NDArray[np.uint32],
        shift: int,
        bits: NDArray[np.uint8],
        bit_shift: int,
    ) -> NDArray[np.int64]:
        """Places in `keys` of those that are among the sorted ones; see `KeyTable`."""
        found = np.empty(len(keys), dtype=np.int64)
        count = self._find(
            keys.ctypes.data, len(keys), among.ctypes.data, first.ctypes.data, shift,
            bits.ctypes.data, bit_shift, found.ctypes.data,
        )  # fmt: skip
        return found[:count].copy()

    def _batch(self, texts: Sequence[str], n: int) -> Grams:
        clean = list(texts)
        data, ends = _joined(clean)
        flags = np.zeros(len(clean), dtype=np.uint8)
        if self._suspects(data, ends.ctypes.data, len(clean), flags.ctypes.data):
            suspects = np.flatnonzero(flags).tolist()
            for place in suspects:
                clean[place] = stripped(clean[place])
            data, ends = _joined(clean)
        key_ends = np.zeros(len(texts), dtype=np.int64)
        wholes = np.zeros(len(texts), dtype=np.uint64)
        done = 0
        while True:
            done, unknown = self._call(data, ends, n, key_ends, wholes)
            if done == len(texts):
                break
            if unknown >= 0:
                self._learn(set("".join(clean)))
            else:  # a text that is longer than the scratch, or more keys than expected
                self._make_room(2 * len(self._words), 2 * len(self._found))
        count = int(key_ends[-1]) if len(texts) else 0
        return Grams(self._found[:count].copy(), key_ends, wholes)

    def _make_room(self, text: int, keys: int) -> None:
        """Scratch that is kept from call to call, for fresh memory costs as much as its use."""
        self._scratch = np.empty(text + 8, dtype=np.uint8)
        self._masks = np.empty(text // 16 + 4, dtype=np.uint64)
        self._words = np.empty(text, dtype=np.uint64)
        self._found = np.empty(keys, dtype=np.uint64)

    def _call(
        self,
        data: bytes,
        ends: NDArray[np.int64],
        n: int,
        key_ends: NDArray[np.int64],
        wholes: NDArray[np.uint64],
    ) -> tuple[int, int]:
        """Texts done, and the code point that was not known or -1."""
        unknown = ctypes.c_int64(-1)
        done = self._keys(
            ctypes.byref(self._rules), data, ends.ctypes.data, len(ends), n,
            self._scratch.ctypes.data, self._masks.ctypes.data, self._words.ctypes.data,
            len(self._words), self._found.ctypes.data, len(self._found), key_ends.ctypes.data,
            wholes.ctypes.data, ctypes.byref(unknown),
        )  # fmt: skip
        return done, unknown.value

    def _learn(self, characters: Iterable[str]) -> None:
        for character in characters:
            if not character.isascii() and not self._fold[ord(character)]:
                folded = fold(character).encode("utf-8")
                assert len(folded) < 64, "the kernel gives a folding 64 bytes"
                self._fold[ord(character)] = len(self._pool)
                self._pool += folded + b"\0"
        self._rules = self._pointers()

    def _pointers(self) -> _Rules:
        self._held = np.frombuffer(bytes(self._pool), dtype=np.uint8)
        return _Rules(
            self._fold.ctypes.data, self._held.ctypes.data,
            self._dropped.ctypes.data, len(self._dropped),
            self._phrases.ctypes.data, self._phrase_ends.ctypes.data, self._buckets.ctypes.data,
            self._begins.ctypes.data,
        )  # fmt: skip


def _joined(texts: Sequence[str]) -> tuple[bytes, NDArray[np.int64]]:
    """The texts as UTF-8, one after another, and where each ends."""
    data = "".join(texts).encode("utf-8", "surrogatepass")
    sizes = list(map(len, texts))
    if len(data) != sum(sizes):  # not ASCII
        sizes = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    return data, np.cumsum(sizes, dtype=np.int64)


def _function(library: ctypes.CDLL, name: str) -> Callable[..., int]:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    shapes: dict[str, list[Any]] = {
        "cascade_keys": [pointer, ctypes.c_char_p, pointer, number, number, pointer, pointer,
                         pointer, number, pointer, number, pointer, pointer, pointer],
        "cascade_suspects": [ctypes.c_char_p, pointer, number, pointer],
        "cascade_find": [pointer, number, pointer, pointer, number, pointer, number, pointer],
    }  # fmt: skip
    function = getattr(library, name)
    function.argtypes, function.restype = shapes[name], number
    return function  # type: ignore[no-any-return]


def _phrase_tables() -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Word hashes of all phrases (0: any word), where each ends, and where a bucket begins.

    A phrase is in the bucket of its first two words; a bucket has its longest phrase first.
    """

    def bucket(phrase: Sequence[int]) -> int:
        return (phrase[0] + 31 * phrase[1]) % _BUCKETS

    hashed = [[0 if w is None else word_hash(w) for w in phrase] for phrase in PHRASES]
    hashed.sort(key=lambda phrase: (bucket(phrase), -len(phrase)))
    counts = np.bincount([bucket(phrase) for phrase in hashed], minlength=_BUCKETS)
    return (
        np.array([word for phrase in hashed for word in phrase], dtype=np.uint64),
        np.cumsum([len(phrase) for phrase in hashed], dtype=np.int64),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
