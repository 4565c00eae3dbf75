"""Ranks and performances: by hand, against CodeElo's procedure, and in fields where the cap binds.

`codeelo` below is the procedure as CodeElo's published code defines it, in plain loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from cascade_rl.evaluation.codeforces.contests import Contest
from cascade_rl.evaluation.codeforces.rating import (
    CEILING,
    CODEELO,
    PAPER,
    Performance,
    RatingOptions,
    expected_ahead,
    humans_ahead,
    performance,
)
from cascade_rl.evaluation.codeforces.scoring import Result
from tests.evaluation.codeforces.helpers import contest

PLUS_ONE = RatingOptions(plus_one=True)
NO_CAP = RatingOptions(cap=None)


def codeelo(standing: Contest, points: float, penalty: float) -> int:
    """Rank: the place, from 0, of the first human strictly worse. Rating: whole numbers between 0
    and the best + 100, halved until neighbours, the lower kept, by 1 + the sum."""
    ordered = sorted(standing.humans, key=lambda h: (-h.points, h.penalty))
    worse = [h.points < points or (h.points == points and h.penalty > penalty) for h in ordered]
    rank = worse.index(True) if True in worse else len(ordered)
    low, high = 0, int(max(h.rating for h in ordered)) + 100
    while high - low > 1:
        middle = (low + high) // 2
        seed = 1 + sum(1 / (1 + 10 ** ((middle - h.rating) / 400)) for h in ordered)
        if seed < rank:
            high = middle
        else:
            low = middle
    return low


def field(seed: int, size: int, kind: str) -> Contest:
    rng = np.random.default_rng(seed)
    ratings = rng.normal(1400, 400, size).round().clip(0)
    points = rng.integers(0, 6, size) * (1.0 if kind == "icpc" else 500.0)
    humans = zip(ratings, points, rng.integers(0, 9, size) * 5.0, strict=True)
    rows = [(float(r), float(p), float(t) if kind == "icpc" else 0.0) for r, p, t in humans]
    return contest(rows, kind="icpc" if kind == "icpc" else "score")


def rated_as_codeelo(standing: Contest, points: float, penalty: float) -> int:
    ahead = humans_ahead(standing, Result((), points, penalty), CODEELO.ties)
    ratings = [human.rating for human in standing.humans]
    return performance(ahead + CODEELO.first_rank, ratings, CODEELO).rating


@pytest.mark.parametrize("kind", ["score", "icpc"])
@pytest.mark.parametrize("seed", range(15))
def test_codeelos_options_give_codeelos_rating_of_every_result(seed: int, kind: str) -> None:
    standing = field(seed, 40, kind)
    for solved in range(-1, 7):
        for penalty in (0.0, 20.0, 100.0) if kind == "icpc" else (0.0,):
            points = solved * (1.0 if kind == "icpc" else 500.0)
            assert rated_as_codeelo(standing, points, penalty) == codeelo(standing, points, penalty)


def test_ten_humans_of_1500_by_hand() -> None:
    ratings = [1500.0] * 10
    # 5 = 10 p means even odds; 1 + 10 p = 5 means 6 to 4, which is 400 log10(1.5) = 70.4.
    assert performance(5, ratings, PAPER) == Performance(1500, None)
    assert performance(5, ratings, PLUS_ONE) == Performance(1570, None)
    # One place from 0 less, and 1 + 10 p = 4: 7 to 3, 400 log10(7 / 3) = 147.2, which is capped.
    assert performance(4, ratings, CODEELO) == Performance(1599, "top")
    uncapped = RatingOptions(cap=None, plus_one=True, first_rank=0)
    assert performance(4, ratings, uncapped) == Performance(1647, None)


def test_the_printed_equation_is_one_place_under_elos_expectation_and_codeelo_one_over() -> None:
    ratings = np.random.default_rng(0).normal(1500, 300, 500)
    for ahead in (20, 100, 300):
        printed, elo, codeelo = (
            performance(ahead + options.first_rank, ratings, options).rating
            for options in (PAPER, PLUS_ONE, CODEELO)
        )
        assert printed < elo < codeelo
        # Elo's: the sum is the number who are ahead.
        assert expected_ahead(ratings, elo) >= ahead > expected_ahead(ratings, elo + 1)
        assert expected_ahead(ratings, printed) >= ahead + 1 > expected_ahead(ratings, printed + 1)
        assert expected_ahead(ratings, codeelo) >= ahead - 1 > expected_ahead(ratings, codeelo + 1)


def test_the_last_place_is_the_lower_end_of_the_bracket() -> None:
    assert performance(11, [1500.0] * 10, PAPER) == Performance(0, "bottom")


def test_the_first_place_of_a_div_4_field_gives_at_most_the_best_rating_plus_100() -> None:
    ratings = np.random.default_rng(1).normal(1000, 200, 8000).clip(0, 1399).round()
    for options in (PAPER, PLUS_ONE, CODEELO):
        found = performance(options.first_rank, ratings, options)
        assert found == Performance(1399 + 99, "top")


def test_without_a_cap_the_first_place_goes_as_far_as_the_equation() -> None:
    ratings = np.random.default_rng(1).normal(1000, 200, 8000).clip(0, 1399).round()
    printed = performance(1, ratings, NO_CAP)
    assert printed.bound is None and printed.rating > 2000
    assert expected_ahead(ratings, printed.rating) == pytest.approx(1, rel=0.01)
    # 1 + sum = 1 has no solution at all.
    endless = performance(1, ratings, RatingOptions(cap=None, plus_one=True))
    assert endless == Performance(CEILING - 1, "top")


def test_ranks_12_to_852_of_a_div_3_field_all_give_the_cap() -> None:
    ratings = np.random.default_rng(2).normal(1150, 300, 15_000).clip(0, 1599).round()
    for options in (PAPER, PLUS_ONE, CODEELO):
        found = {performance(rank, ratings, options) for rank in (12, 100, 400, 852)}
        assert found == {Performance(1698, "top")}
        assert performance(3000, ratings, options).rating < 1698


def test_the_top_places_of_a_div_2_field_give_2198() -> None:
    ratings = np.random.default_rng(3).normal(1350, 350, 9_000).clip(0, 2099).round()
    assert {performance(rank, ratings).rating for rank in range(1, 40)} == {2198}


def test_a_better_rank_never_gives_a_lower_rating() -> None:
    ratings = np.random.default_rng(4).normal(1500, 400, 200)
    for options in (PAPER, CODEELO, NO_CAP):
        found = [performance(rank, ratings, options).rating for rank in range(1, 202)]
        assert found == sorted(found, reverse=True)


def test_the_performance_solves_the_equation_to_a_point() -> None:
    ratings = np.random.default_rng(5).normal(1700, 500, 1000)
    for rank in (30, 200, 600, 900):
        rating = performance(rank, ratings).rating
        assert expected_ahead(ratings, rating) >= rank > expected_ahead(ratings, rating + 1)


HUMANS = [(1500.0, 1000.0, 0.0), (1400.0, 500.0, 0.0), (1300.0, 500.0, 0.0), (1200.0, 0.0, 0.0)]


@pytest.mark.parametrize(
    ("points", "behind", "ahead"),
    [(1500, 0, 0), (1000, 1, 0), (500, 3, 1), (400, 3, 3), (-1, 4, 4)],
)
def test_equal_results_rank_behind_or_ahead(points: float, behind: int, ahead: int) -> None:
    result = Result((), points, 0.0)
    assert humans_ahead(contest(HUMANS), result, "behind") == behind
    assert humans_ahead(contest(HUMANS), result, "ahead") == ahead


def test_penalty_orders_those_who_solved_as_many_under_icpc_rules_alone() -> None:
    rows: Sequence[tuple[float, float, float]] = [(1500, 3, 100), (1400, 3, 6), (1300, 3, 7)]
    result = Result(("A", "B", "C"), 3.0, 6.61)
    assert humans_ahead(contest(rows, kind="icpc"), result) == 1
    assert humans_ahead(contest(rows), result) == 3


def test_noise_that_makes_elo_hold_in_pairs_reads_players_above_the_field_100_points_high() -> None:
    """Where noise is such that Elo's odds hold between two people, the equation is biased.

    Performances with Gumbel noise of scale s = 400 / ln 10 make 'ahead' odds 10^(difference/400)
    in every pair. Somebody far above the field then has u = exp(-(y - r) / s), small, as the
    share ahead, and the mean of -s log u lies gamma s = 100.3 points over the rating.
    """
    rng = np.random.default_rng(6)
    scale, ratings = 400 / math.log(10), np.full(2000, 1500.0)
    shifts = []
    for player in (1500.0, 2300.0):
        found = []
        for _ in range(200):
            level = player + rng.gumbel(0, scale)
            ahead = int((ratings + rng.gumbel(0, scale, len(ratings)) > level).sum())
            uncapped = RatingOptions(cap=None, plus_one=True)
            found.append(performance(max(ahead, 1) + 1, ratings, uncapped).rating)
        shifts.append(float(np.mean(found)) - player)
    assert abs(shifts[0]) < 50
    assert shifts[1] == pytest.approx(np.euler_gamma * scale, abs=50)
