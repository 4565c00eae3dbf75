"""What share of humans a rating is above.

One rule: the share says whose it is. A table of all active users is the user's to bring (CodeElo's
gives the papers' percentiles); without one it is the humans of the contests themselves, who are
not everybody: a Div. 4 round has no strong ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade_rl.errors import DataError
from cascade_rl.evaluation.codeforces.contests import Contest
from cascade_rl.evaluation.codeforces.shapes import read_json
from cascade_rl.evaluation.metrics import Floats

HINT = (
    "expected a list of ratings, {rating: users}, or the answer of Codeforces to\n"
    "  https://codeforces.com/api/user.ratedList?activeOnly=true"
)


@dataclass(frozen=True, slots=True)
class Population:
    """Humans by their ratings, in rising order; `name` says who they are."""

    name: str
    ratings_H: Floats

    def percentile(self, rating: float) -> float:
        """Per cent of these humans whose rating is lower, as CodeElo counts."""
        below = int(np.searchsorted(self.ratings_H, rating, side="left"))
        return 100.0 * below / len(self.ratings_H)


def contestants(contests: Sequence[Contest]) -> Population:
    """Everybody in these contests, once, at the rating before the latest of them."""
    latest = {
        human.handle: human.rating
        for contest in sorted(contests, key=lambda contest: contest.date)
        for human in contest.humans
    }
    name = f"{len(latest):,} rated humans of these contests"
    return Population(name, np.sort(np.array(list(latest.values()), dtype=np.float64)))


def read_population(path: Path) -> Population:
    """A distribution of ratings from a JSON file. Raises DataError for another shape."""
    value = read_json(path, HINT)
    try:
        ratings = np.array(list(_ratings(value)), dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path} is no distribution of ratings", hint=HINT) from None
    if not len(ratings) or not np.isfinite(ratings).all():
        raise DataError(f"{path} holds no ratings, or one that is not finite", hint=HINT)
    return Population(f"{len(ratings):,} ratings of {path.name}", np.sort(ratings))


def _ratings(value: Any) -> Iterable[float]:
    if isinstance(value, Mapping) and "result" in value:
        return [user["rating"] for user in value["result"]]
    if isinstance(value, Mapping):
        return np.repeat([float(rating) for rating in value], list(value.values())).tolist()
    if not isinstance(value, list):
        raise TypeError(type(value))
    return value
