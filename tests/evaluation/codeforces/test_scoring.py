"""Points and penalties against the papers' printed values and against every order of attempts."""

from __future__ import annotations

import itertools
from statistics import fmean

import pytest

from cascade_rl.errors import DataError
from cascade_rl.evaluation.codeforces.attempts import Attempts
from cascade_rl.evaluation.codeforces.scoring import (
    expected_penalty,
    problem_minutes,
    problem_points,
    result_of,
)
from tests.evaluation.codeforces.helpers import contest, solved

POINTS = [325, 400, 437.5, 460, 475, 485.71, 493.75, 500]
MINUTES = [35, 20, 12.5, 8, 5, 2.857, 1.25, 0]


@pytest.mark.parametrize(("right", "points"), list(enumerate(POINTS, 1)))
def test_points_of_a_500_point_problem_are_those_of_the_paper(right: int, points: float) -> None:
    assert problem_points(500, right, 8) == pytest.approx(points, abs=0.005)


@pytest.mark.parametrize(("right", "minutes"), list(enumerate(MINUTES, 1)))
def test_minutes_of_penalty_are_those_of_the_paper(right: int, minutes: float) -> None:
    assert problem_minutes(right, 8) == pytest.approx(minutes, abs=0.0005)


@pytest.mark.parametrize("attempts", [1, 3, 6])
def test_expected_penalty_is_the_mean_over_every_order_of_the_attempts(attempts: int) -> None:
    for right in range(1, attempts + 1):
        answers = [True] * right + [False] * (attempts - right)
        orders = list(itertools.permutations(answers))
        mean = fmean(order.index(True) for order in orders)
        assert expected_penalty(right, attempts) == pytest.approx(mean, abs=1e-12)


def test_a_regular_round_adds_the_points_of_the_problems_solved() -> None:
    found = result_of(contest([(1500, 0, 0)], [500, 1000, 1500]), solved("c1", [8, 0, 4]))
    assert found.solved == ("A", "C")
    assert found.points == pytest.approx(500 + 1500 - 50 * 4 / 5)
    assert found.penalty == 0


def test_icpc_counts_problems_and_adds_minutes() -> None:
    icpc = contest([(1500, 0, 0)], [None] * 6, "icpc")
    found = result_of(icpc, solved("c1", [7, 7, 7, 6, 8, 0]))
    assert (found.points, len(found.solved)) == (5, 5)
    assert found.penalty == pytest.approx(3 * 1.25 + 2.857, abs=0.0005)
    assert f"{found.penalty:.2f}" == "6.61"


def test_points_never_fall_under_zero() -> None:
    assert problem_points(500, 1, 64) == 0
    assert problem_points(250, 1, 8) == 75


def test_a_problem_that_was_not_evaluated_is_refused_and_named() -> None:
    with pytest.raises(DataError, match="1 of 2 problems are not in the evaluation: B") as caught:
        result_of(contest([(1500, 0, 0)]), Attempts(8, {"c1A": 3}))
    assert "'c1B'" in caught.value.message and "'c1A'" in caught.value.message
    assert "--allow-missing" in caught.value.hint


def test_a_problem_that_was_not_evaluated_may_count_as_not_solved() -> None:
    found = result_of(contest([(1500, 0, 0)]), Attempts(8, {"c1A": 8}), allow_missing=True)
    assert (found.points, found.solved, found.missing) == (500, ("A",), ("B",))


def test_a_contest_of_which_nothing_was_evaluated_is_refused_all_the_same() -> None:
    with pytest.raises(DataError, match="2 of 2 problems"):
        result_of(contest([(1500, 0, 0)]), Attempts(8, {"other": 8}), allow_missing=True)


def test_a_contests_problem_is_found_behind_the_name_of_a_source() -> None:
    prepared = Attempts(8, {"livecodebench-pro/c1A": 7, "livecodebench-pro/c1B": 0})
    found = result_of(contest([(1500, 0, 0)]), prepared)
    assert (found.points, found.missing) == (493.75, ())
