"""Matched characters, against difflib."""

from __future__ import annotations

import difflib
import random
import time

import pytest

from cascade_rl.verifiers import matching
from cascade_rl.verifiers.matching import matched_characters
from tests.verifiers.swe_data import Data, swebench_patches


def by_difflib(a: str, b: str) -> int:
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)


@pytest.mark.parametrize("small", [0, matching.SMALL])
@pytest.mark.parametrize("letters", ["ab", "abc  \n", "abcdefghij é😀"])
def test_they_are_difflibs(letters: str, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "SMALL", small)
    rng = random.Random(0)
    for n in range(150):
        a, b = ("".join(rng.choices(letters, k=rng.randint(0, 250))) for _ in range(2))
        if n % 2:  # long blocks, repeated, in another order
            b = a[60:120] + b[:20] + a[:100] + b[20:] + a[90:200]
        assert matched_characters(a, b) == by_difflib(a, b), (a, b)


def test_real_patches_match_as_difflib_says(shared_data: Data) -> None:
    rng = random.Random(1)
    patches = swebench_patches(shared_data)
    for _ in range(20):
        a, b = (patch[:2500] for patch in rng.sample(patches, 2))
        assert matched_characters(a, b) == by_difflib(a, b)


def test_a_limit_gives_a_lower_bound(shared_data: Data) -> None:
    text = "".join(swebench_patches(shared_data))
    a, b = text[:5000], text[70000:75000]
    exact = matched_characters(a, b)
    found = [matched_characters(a, b, limit) for limit in (0, 5_000, 20_000, 10**9)]
    assert found == sorted(found)
    assert found[0] < exact == found[-1]


def cpu_seconds(a: str, b: str, limit: int) -> float:
    started = time.process_time()
    matched_characters(a, b, limit)
    return time.process_time() - started


HOSTILE = [
    (" " * 300_000, "  \n" * 100_000),
    ("abc" * 100_000, "acb" * 100_000),
    ("ab" * 150_000 + "c", "ba" * 150_000),
    ("".join(random.Random(2).choices("abcdefgh", k=300_000)), "h" * 300_000),
    ("".join(random.Random(2).choices("ab", k=50_000)), "ab" * 25_000),
    ("a" * 300_000, "b" + "a" * 299_999),
    ("\ud800" * 30_000, "\ud801" * 30_000),
]


@pytest.mark.parametrize("pair", range(len(HOSTILE)))
def test_no_text_takes_long(pair: int) -> None:
    assert cpu_seconds(*HOSTILE[pair], 200_000) < 1.0
