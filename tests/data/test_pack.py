"""Packs hold every row once, none over the budget, and hardly any room is left."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.data.mix.pack import best_fit


def utilisation(lengths: list[int], budget: int, window: int = 8192) -> float:
    packs = list(best_fit(lengths, budget, window))
    rows = Counter(row for pack in packs for row in pack.rows)
    assert rows == Counter(range(len(lengths)))
    for pack in packs:
        assert pack.lengths == tuple(lengths[row] for row in pack.rows)
        assert pack.rows == tuple(sorted(pack.rows)) and pack.tokens <= budget
    return sum(lengths) / (budget * len(packs))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 100), max_size=300),
    budget=st.integers(100, 400),
    window=st.integers(1, 64),
)
def test_every_row_is_in_one_pack_within_the_budget(
    lengths: list[int], budget: int, window: int
) -> None:
    packs = len(list(best_fit(lengths, budget, window)))
    if packs:
        utilisation(lengths, budget, window)
    assert packs >= -(-sum(lengths) // budget)


@pytest.mark.parametrize(("mean", "spread"), [(4000, 0.6), (4000, 1.0), (2500, 0.8), (6000, 0.5)])
def test_lengths_as_they_are_in_sft_fill_97_percent(mean: int, spread: float) -> None:
    draw = np.random.default_rng(0).lognormal(np.log(mean) - spread**2 / 2, spread, 20_000)
    lengths = [int(n) for n in draw if 16 <= n <= 16384]
    assert utilisation(lengths, 16384) >= 0.97


def test_a_window_smaller_than_the_file_costs_little() -> None:
    rng = random.Random(1)
    lengths = [int(rng.lognormvariate(8, 0.8)) % 16000 + 1 for _ in range(20_000)]
    whole = utilisation(lengths, 16384, len(lengths))
    assert utilisation(lengths, 16384, 1024) > whole - 0.01


def test_best_fit_fills_the_pack_with_least_room() -> None:
    packs = list(best_fit([6, 5, 4, 3, 2], 10))
    assert [pack.lengths for pack in packs] == [(6, 4), (5, 3, 2)]


def test_a_row_over_the_budget_is_an_error_and_never_split() -> None:
    with pytest.raises(ValueError, match="row 1 is 11 tokens; the budget is 10"):
        list(best_fit([3, 11], 10))


def test_memory_holds_a_window_and_the_open_packs() -> None:
    rng = random.Random(2)
    held = []
    tracemalloc.start()
    packs = best_fit((rng.randrange(1, 1000) for _ in range(40_000)), 4000, 512)
    for number, _ in enumerate(packs):
        if number % 1000 == 999:
            gc.collect()  # which also empties Python's own lists of spare tuples
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(held) == 5 and max(held) < 1.5 * held[0]
