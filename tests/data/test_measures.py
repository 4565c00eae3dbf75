"""Bounded counters say what a sort of all values would say, to 0.1 %."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.data.stats.measures import MAX_NAMES, OTHERS, Measure, Repeats, Tally

VALUES = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60)


def measured(values: list[int]) -> Measure:
    measure = Measure()
    for value in values:
        measure.add(value)
    return measure


@given(VALUES, st.floats(0.01, 1.0))
def test_a_quantile_is_that_of_the_sorted_values(values: list[int], share: float) -> None:
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    found = measured(values).quantile(share)
    assert exact * (1 - 1 / 1024) <= found <= exact
    assert found == exact or exact >= 2048


@given(VALUES)
def test_count_mean_and_maximum_are_exact(values: list[int]) -> None:
    measure = measured(values)
    assert (measure.count, measure.max) == (len(values), max(values))
    assert measure.mean == sum(values) / len(values)


@given(VALUES)
def test_each_bin_counts_the_values_within_its_bounds(values: list[int]) -> None:
    bins = measured(values).bins()
    assert sum(found.count for found in bins) == len(values)
    for found in bins:
        assert found.count == sum(found.low <= value <= found.high for value in values)
    for one, next_one in itertools.pairwise(bins):
        assert next_one.low == one.high + 1


def test_values_that_lie_close_together_have_a_bin_each() -> None:
    bins = measured([3, 5, 5, 9]).bins()
    assert [(b.low, b.high, b.count) for b in bins] == [
        (3, 3, 1), (4, 4, 0), (5, 5, 2), (6, 6, 0), (7, 7, 0), (8, 8, 0), (9, 9, 1),
    ]  # fmt: skip


def test_memory_is_bounded_whatever_is_measured_and_named() -> None:
    measure, tally = Measure(), Tally()
    for value in range(300_000):
        measure.add(value * 37)
    for value in range(2 * MAX_NAMES):
        tally.add(f"name {value} " + "x" * 1000)
    assert len(measure._values) < 20_000
    names = tally.sorted()
    assert names[OTHERS] == MAX_NAMES and len(names) == MAX_NAMES + 1
    assert max(map(len, names)) < 200


def test_names_come_by_how_often_they_were_seen() -> None:
    tally = Tally()
    for name in "abcbcc":
        tally.add(name)
    assert list(tally.sorted().items()) == [("c", 3), ("b", 2), ("a", 1)]


def test_repeats_are_the_texts_that_came_before() -> None:
    repeats = Repeats()
    for text in ["a", "b", "a", "a", "\ud800", "\ud800"]:
        repeats.add(text)
    assert repeats.count() == (3, 3)
    assert Repeats().count() == (0, 0)
