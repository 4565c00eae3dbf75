"""A contest as it was held: its problems, and the humans who took part.

One rule: a human's rating is the one *before* the contest, and who has none is not here, because
a rank among people of unknown strength says nothing.
"""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from cascade_rl.errors import DataError

Kind = Literal["score", "icpc"]
"""`score`: regular rounds, points a problem. `icpc`: Educational, Div. 3 and Div. 4 rounds, ranked
by problems solved, then by minutes of penalty."""


@dataclass(frozen=True, slots=True)
class ContestProblem:
    """One problem: its letter, its id in an evaluation, its points (None in `icpc` contests)."""

    index: str
    id: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Human:
    """One contestant: the rating before the contest, and what was reached in it.

    `points` are problems solved in `icpc` contests; `penalty` is in minutes and counts there only.
    """

    handle: str
    rating: float
    points: float
    penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class Contest:
    """One contest. `left_out` counts rows of the standings without a known rating."""

    id: str
    name: str
    date: datetime.date
    kind: Kind
    problems: tuple[ContestProblem, ...]
    humans: tuple[Human, ...]
    left_out: int = 0


def checked(contest: Contest, where: str) -> Contest:
    """The contest itself. Raises DataError, beginning with `where`, for one that cannot be rated:
    without problems or rated humans, a problem twice, or a regular round's problem without score.
    """
    where = f"{where}: contest {contest.id} ({contest.name})"
    if not contest.problems:
        raise DataError(f"{where} has no problems")
    for what, names in (
        ("index", [problem.index for problem in contest.problems]),
        ("id", [problem.id for problem in contest.problems]),
    ):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"{where} has two problems of {what} {twice[0]!r}; expected one")
    unscored = [p.index for p in contest.problems if not (p.score and p.score > 0)]
    if contest.kind == "score" and unscored:
        raise DataError(
            f"{where} is a regular round, and {', '.join(unscored)} of its problems have no "
            "score above 0; expected the points of each",
            hint="write them into the file, or leave the contest out; "
            "where problems solved are counted, the kind is icpc",
        )
    if not contest.humans:
        raise DataError(
            f"{where} has no contestant with a known rating ({contest.left_out} without)",
            hint="only rated contests can be used: leave it out, or save its ratings again",
        )
    return contest
