"""Contests and players whose rating is known, made by code: for tests, and to try things out.

The model is the equation's own: somebody of rating r performs above the level R with probability
1 / (1 + 10^((R - r) / 400)), so a performance is the rating plus logistic noise. Results are the
performances on another scale. One surprise: humans' penalties lie in the range that N attempts can
have. Real ones are many times larger, because humans need time, so that a model ranks before every
human who solved as many problems under ICPC rules.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cascade_rl.evaluation.codeforces.attempts import Attempts
from cascade_rl.evaluation.codeforces.contests import Contest, ContestProblem, Human, Kind
from cascade_rl.evaluation.codeforces.rating import SCALE
from cascade_rl.evaluation.codeforces.scoring import problem_minutes, problem_points
from cascade_rl.evaluation.metrics import Floats

Ints = npt.NDArray[np.intp]

LOGISTIC = SCALE / math.log(10.0)
"""The scale of the noise, 173.7 points: its deviation is 315."""
SCORES = (250.0, 500.0, 1000.0, 1500.0, 2250.0, 3000.0)
ALL_POINTS = sum(SCORES)
ICPC_PROBLEMS = 9
SPREAD = 500.0
"""Points of rating over which results go from a quarter to three quarters of what there is."""
LEAST_POINTS, LEFT_POINTS = 1000.0, 100.0
LEAST_SOLVED = 3
"""Nobody has less, nor lacks less, than this: between such ends counts of N attempts make results
that lie close together, and a player's can be that of any performance."""


def synthetic_contests(
    count: int = 12,
    humans: int = 400,
    *,
    mean: float = 1500.0,
    deviation: float = 350.0,
    kinds: Sequence[Kind] = ("score", "score", "icpc"),
    seed: int = 0,
) -> tuple[Contest, ...]:
    """Contests a week apart whose contestants are drawn from twice as many humans.

    Args:
        count: of contests; their kinds repeat `kinds`.
        humans: contestants of each.
        mean, deviation: of their ratings, which are normal, whole and at least 0.
    """
    rng = np.random.default_rng([seed, count, humans])
    ratings_H = np.maximum(rng.normal(mean, deviation, 2 * humans).round(), 0.0)
    contests = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        chosen = rng.choice(2 * humans, humans, replace=False)
        levels_H = ratings_H[chosen] + rng.logistic(0.0, LOGISTIC, humans)
        shares = [_share(level, mean) for level in levels_H.tolist()]
        contests.append(
            Contest(
                id=f"s{number:03d}",
                name=f"Synthetic Round {number} ({kind})",
                date=datetime.date(2025, 1, 1) + datetime.timedelta(weeks=number),
                kind=kind,
                problems=_problems(f"s{number:03d}", kind),
                humans=tuple(
                    Human(f"human{h:05d}", rating, *_human_result(kind, share))
                    for h, rating, share in zip(
                        chosen.tolist(), ratings_H[chosen].tolist(), shares, strict=True
                    )
                ),
            )
        )
    return tuple(contests)


def synthetic_attempts(
    contests: Sequence[Contest],
    rating: float,
    *,
    attempts: int = 8,
    mean: float = 1500.0,
    seed: int = 0,
) -> Attempts:
    """What a player of this rating answers in synthetic contests of this `mean`.

    A performance is drawn in each, and the counts of right answers are those whose result lies
    nearest to it; which problems they fall on means nothing.
    """
    rng = np.random.default_rng([seed, len(contests)])
    right: dict[str, int] = {}
    for contest in contests:
        share = _share(rating + float(rng.logistic(0.0, LOGISTIC)), mean)
        counts = (
            _icpc_counts(share, attempts)
            if contest.kind == "icpc"
            else _score_counts(share, attempts)
        )
        right |= {p.id: k for p, k in zip(contest.problems, counts, strict=True)}
    return Attempts(attempts, right)


def _share(level: float, mean: float) -> float:
    """The share of a contest that somebody who performs at `level` gets done, in (0, 1)."""
    return 1.0 / (1.0 + math.exp(-(level - mean) * math.log(9.0) / SPREAD))


def _problems(contest: str, kind: Kind) -> tuple[ContestProblem, ...]:
    scores = [None] * ICPC_PROBLEMS if kind == "icpc" else SCORES
    return tuple(
        ContestProblem(chr(ord("A") + i), f"{contest}-{chr(ord('A') + i)}", score)
        for i, score in enumerate(scores)
    )


def _human_result(kind: Kind, share: float) -> tuple[float, float]:
    if kind == "score":
        return round(_points(share), 2), 0.0
    solved, minutes = _icpc_place(share, 8)
    return float(solved), round(minutes, 4)


def _points(share: float) -> float:
    return LEAST_POINTS + share * (ALL_POINTS - LEAST_POINTS - LEFT_POINTS)


def _icpc_place(share: float, attempts: int) -> tuple[int, float]:
    """Problems solved, and minutes: fewer for a larger share among those who solved as many."""
    more = share * (ICPC_PROBLEMS - LEAST_SOLVED + 1)
    solved = min(ICPC_PROBLEMS, LEAST_SOLVED + int(more))
    return solved, solved * problem_minutes(1, attempts) * (1 + solved - LEAST_SOLVED - more)


@lru_cache(maxsize=4)
def _score_totals(attempts: int) -> tuple[Floats, Ints]:
    """Every total of points that N attempts can reach, rising, and its place in the product of
    the problems' counts: [L] and [L]."""
    totals: Floats = np.zeros(1)
    for score in SCORES:
        solved = [problem_points(score, k, attempts) for k in range(1, attempts + 1)]
        totals = np.add.outer(totals, [0.0, *solved]).ravel()
    order = np.argsort(totals, kind="stable")
    return totals[order], order


def _score_counts(share: float, attempts: int) -> list[int]:
    totals, order = _score_totals(attempts)
    place = order[_nearest(totals, _points(share))]
    return [int(k) for k in np.unravel_index(place, (attempts + 1,) * len(SCORES))]


@lru_cache(maxsize=64)
def _icpc_totals(solved: int, attempts: int) -> tuple[Floats, tuple[tuple[int, ...], ...]]:
    """The minutes of every choice of counts of the problems solved, rising, and the counts."""
    minutes = {k: problem_minutes(k, attempts) for k in range(1, attempts + 1)}
    choices = sorted(
        (sum(minutes[k] for k in counts), counts)
        for counts in itertools.combinations_with_replacement(minutes, solved)
    )
    return np.array([total for total, _ in choices]), tuple(counts for _, counts in choices)


def _icpc_counts(share: float, attempts: int) -> list[int]:
    solved, minutes = _icpc_place(share, attempts)
    totals, choices = _icpc_totals(solved, attempts)
    return [*choices[_nearest(totals, minutes)], *([0] * (ICPC_PROBLEMS - solved))]


def _nearest(rising: Floats, wanted: float) -> int:
    place = int(np.searchsorted(rising, wanted))
    near = range(max(0, place - 1), min(len(rising), place + 1))
    return min(near, key=lambda i: abs(float(rising[i]) - wanted))
