"""A model's rating: every contest on its own, then the plain mean.

One rule: the contest is the unit. The mean is not weighted and has no prior, as in the papers
(their printed means are those of their printed rows), and its interval resamples contests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from cascade_rl.evaluation.codeforces.attempts import Attempts
from cascade_rl.evaluation.codeforces.contests import Contest
from cascade_rl.evaluation.codeforces.percentile import Population, contestants
from cascade_rl.evaluation.codeforces.rating import (
    PAPER,
    Bound,
    RatingOptions,
    humans_ahead,
    performance,
)
from cascade_rl.evaluation.codeforces.scoring import Result, result_of
from cascade_rl.evaluation.metrics import paired_interval


@dataclass(frozen=True, slots=True)
class ContestRating:
    """One contest: what was reached, the rank among `humans`, and the performance."""

    contest: Contest
    result: Result
    rank: int
    humans: int
    rating: int
    bound: Bound | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The rating over all contests, in points of rating; `percentile` is in [0, 100].

    `low` and `high` end the 95 % bootstrap interval over contests; None with a single one.
    `unused` counts problems of the evaluation that no contest has.
    """

    contests: tuple[ContestRating, ...]
    rating: float
    low: float | None
    high: float | None
    percentile: float
    population: str
    attempts: int
    unused: int


def rate_contest(
    contest: Contest,
    found: Attempts,
    options: RatingOptions = PAPER,
    *,
    allow_missing: bool = False,
) -> ContestRating:
    """Result, rank and performance in one contest. Raises what `result_of` raises."""
    result = result_of(contest, found, allow_missing=allow_missing)
    rank = humans_ahead(contest, result, options.ties) + options.first_rank
    ratings = [human.rating for human in contest.humans]
    reached = performance(rank, ratings, options)
    return ContestRating(contest, result, rank, len(ratings), reached.rating, reached.bound)


def summarize(
    contests: Sequence[Contest],
    found: Attempts,
    options: RatingOptions = PAPER,
    *,
    population: Population | None = None,
    allow_missing: bool = False,
) -> Summary:
    """The rating of these attempts.

    Args:
        contests: at least one.
        population: whom the percentile is among; by default the contests' humans.
        allow_missing: count a problem that was not evaluated as not solved.

    Raises what `result_of` raises.
    """
    rated = tuple(rate_contest(c, found, options, allow_missing=allow_missing) for c in contests)
    ratings = [contest.rating for contest in rated]
    mean = fmean(ratings)
    interval = paired_interval(np.array(ratings, dtype=np.float64)) if len(ratings) > 1 else None
    known = {found.name_of(problem.id) for contest in contests for problem in contest.problems}
    population = population or contestants(contests)
    return Summary(
        contests=rated,
        rating=mean,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        percentile=population.percentile(mean),
        population=population.name,
        attempts=found.attempts,
        unused=len(found.right.keys() - known),
    )
