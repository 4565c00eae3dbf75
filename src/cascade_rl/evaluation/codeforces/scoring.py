"""Points and penalties of N attempts that stand in no order.

The rule (Nemotron-Cascade, appendix E): k right answers of N were tried in an order drawn
uniformly, so (N - k) / (k + 1) wrong ones come before the first right one on average. Each costs
50 points in a regular round and 10 minutes under ICPC rules. A problem without a right answer
counts nothing, and points do not decay with time, because a model has no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from cascade_rl.errors import DataError
from cascade_rl.evaluation.codeforces.attempts import Attempts
from cascade_rl.evaluation.codeforces.contests import Contest

POINTS_PER_WRONG = 50.0
MINUTES_PER_WRONG = 10.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a player reached in one contest, in the units of its `Human`s.

    `solved` holds letters of problems; `missing` those that were not evaluated.
    """

    solved: tuple[str, ...]
    points: float
    penalty: float
    missing: tuple[str, ...] = ()


def expected_penalty(right: int, attempts: int) -> float:
    """Expected wrong attempts before the first right one: (N - k) / (k + 1) for k >= 1 of N."""
    assert 1 <= right <= attempts, f"{right} right of {attempts} attempts"
    return (attempts - right) / (right + 1)


def problem_points(score: float, right: int, attempts: int) -> float:
    """Points of a problem solved in a regular round, never under 0.

    The bound is CodeElo's. With N = 8 no problem of 175 points or more meets it.
    """
    return max(0.0, score - POINTS_PER_WRONG * expected_penalty(right, attempts))


def problem_minutes(right: int, attempts: int) -> float:
    """Minutes of penalty of a problem solved under ICPC rules."""
    return MINUTES_PER_WRONG * expected_penalty(right, attempts)


def result_of(contest: Contest, found: Attempts, *, allow_missing: bool = False) -> Result:
    """What these attempts reach in the contest.

    Raises DataError where a problem has no attempts; with `allow_missing` it counts as not
    solved, as long as another problem of the contest has some.
    """
    names = {problem.index: found.name_of(problem.id) for problem in contest.problems}
    missing = tuple(index for index, name in names.items() if name is None)
    if missing and (not allow_missing or len(missing) == len(contest.problems)):
        [first, *_] = [p for p in contest.problems if p.index in missing]
        raise DataError(
            f"contest {contest.id} ({contest.name}): {len(missing)} of {len(contest.problems)} "
            f"problems are not in the evaluation: {', '.join(missing)} ({first.index} has the id "
            f"{first.id!r}; the evaluation's are like {next(iter(found.right))!r})",
            hint="evaluate them, give their ids (ids.json beside saved standings), leave the "
            "contest out, or count a problem without attempts as not solved:  --allow-missing",
        )
    points = penalty = 0.0
    solved = []
    for problem in contest.problems:
        name = names[problem.index]
        right = 0 if name is None else found.right[name]
        if not right:
            continue
        solved.append(problem.index)
        if contest.kind == "icpc":
            points += 1
            penalty += problem_minutes(right, found.attempts)
        else:
            assert problem.score is not None  # `checked`
            points += problem_points(problem.score, right, found.attempts)
    return Result(tuple(solved), points, penalty, missing)
