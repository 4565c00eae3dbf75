"""A rank among humans, and the rating that would be expected to take it.

Two rules. The performance R solves m = sum_i 1 / (1 + 10^((R - R_i) / 400)) over the humans'
ratings R_i (Nemotron-Cascade, appendix E), by bisection over whole ratings from 0 to the best
human's plus `cap`; the lower end is the answer, so nobody performs at `best + cap` or above. And
where the sources differ the difference is a field of `RatingOptions`.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cascade_rl.evaluation.codeforces.contests import Contest
from cascade_rl.evaluation.codeforces.scoring import Result
from cascade_rl.evaluation.metrics import Floats

SCALE = 400.0
"""Ten times the odds, in points of rating."""
CEILING = 10_000
"""Where the bracket ends without a cap: a first place may have no solution at all."""

Ties = Literal["behind", "ahead"]
Bound = Literal["top", "bottom"]


@dataclass(frozen=True, slots=True)
class RatingOptions:
    """Where the paper's printed equation, its printed numbers and CodeElo's code differ.

    Attributes:
        cap: how far over the best human's rating the bracket ends; None: at `CEILING`. The paper
            prints none, but its numbers stop there, as CodeElo's do.
        plus_one: whether 1 is added to the sum, as CodeElo does and the printed equation does not.
        first_rank: the rank of somebody who is behind nobody. The paper has 1 <= m <= n + 1;
            CodeElo counts from 0, so its equation and the printed one differ by 2 ranks.
        ties: whether somebody with a human's very result ranks behind (CodeElo) or ahead.

    With `plus_one` and `first_rank` 1 the humans who are ahead equal the sum: Elo's own
    expectation. The printed equation reads a rank one place worse, CodeElo's one place better;
    far from the top of a large field that is under a point of rating.
    """

    cap: int | None = 100
    plus_one: bool = False
    first_rank: Literal[0, 1] = 1
    ties: Ties = "behind"


PAPER = RatingOptions()
"""The printed equation with the cap that the printed numbers show."""
CODEELO = RatingOptions(plus_one=True, first_rank=0)
"""CodeElo's `calc_rating.py`."""


@dataclass(frozen=True, slots=True)
class Performance:
    """The rating of one contest; `bound` says that the bracket ended before the equation held."""

    rating: int
    bound: Bound | None


def humans_ahead(contest: Contest, result: Result, ties: Ties = "behind") -> int:
    """How many humans rank before this result: by points, then under ICPC rules by penalty."""

    points_H = np.array([human.points for human in contest.humans])
    ahead_H, equal_H = points_H > result.points, points_H == result.points
    if contest.kind == "icpc":
        penalty_H = np.array([human.penalty for human in contest.humans])
        ahead_H |= equal_H & (penalty_H < result.penalty)
        equal_H &= penalty_H == result.penalty
    return int((ahead_H | equal_H if ties == "behind" else ahead_H).sum())


def expected_ahead(ratings_H: Floats, rating: float) -> float:
    """How many of these humans are expected to rank before somebody of this rating."""
    return float((1.0 / (1.0 + 10.0 ** ((rating - ratings_H) / SCALE))).sum())


def performance(
    rank: int, ratings: Sequence[float] | Floats, options: RatingOptions = PAPER
) -> Performance:
    """The largest whole rating in the bracket whose expected rank is `rank` or worse.

    Args:
        rank: counted from `options.first_rank`, as `humans_ahead` plus that.
        ratings: of the humans, at least one.
    """
    ratings_H = np.asarray(ratings, dtype=np.float64)
    top = CEILING if options.cap is None else int(ratings_H.max()) + options.cap

    def too_good(rating: int) -> bool:
        return expected_ahead(ratings_H, rating) + options.plus_one < rank

    # The sum falls as the rating rises, so the ratings that are too good are the last ones.
    first = bisect.bisect_left(range(top), True, key=too_good)
    if first == 0:
        return Performance(0, "bottom")
    return Performance(first - 1, None if too_good(top) else "top")
