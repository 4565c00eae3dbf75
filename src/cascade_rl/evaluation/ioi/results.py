"""The results of a contest as JSON: scores, rounds, what was rejected, the medal.

Made of the finished rounds alone, so that runs that took the same decisions give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cascade_rl.evaluation.ioi.medals import DIGITS, Thresholds
from cascade_rl.evaluation.ioi.strategy import Round, State, score_of
from cascade_rl.evaluation.ioi.task import Task


def results_of(
    tasks: Sequence[Task],
    states: Sequence[State],
    head: Mapping[str, Any],
    thresholds: Thresholds,
) -> dict[str, Any]:
    """`score` of `points`, `medal`, and a part for each problem."""
    parts = [_of_task(task, state) for task, state in zip(tasks, states, strict=True)]
    score = round(sum(part["score"] for part in parts), DIGITS)
    return {
        "protocol": {key: value for key, value in head.items() if key not in ("problem", "files")},
        "score": score,
        "points": sum(task.points for task in tasks),
        "medal": thresholds.medal(score),
        "thresholds": asdict(thresholds),
        "problems": parts,
    }


def _of_task(task: Task, state: State) -> dict[str, Any]:
    selectors = Counter(one.selector for one in state.rounds if one.selector is not None)
    rejected: Counter[str] = Counter()
    for one in state.rounds:
        rejected.update(one.rejected)
    return {
        "name": task.name,
        "digest": task.digest,
        "score": score_of(task, state),
        "points": task.points,
        "rounds": len(state.rounds),
        "submissions": len(state.submissions),
        "generations": sum(one.generations for one in state.rounds),
        "selected_by": dict(sorted(selectors.items())),
        "rejected": dict(sorted(rejected.items())),
        "subtasks": [_of_subtask(task, s, state) for s in range(len(task.subtasks))],
        "history": [
            _of_round(task, State(state.rounds[: n + 1]), one) for n, one in enumerate(state.rounds)
        ],
    }


def _of_subtask(task: Task, subtask: int, state: State) -> dict[str, Any]:
    one, solver, best = task.subtasks[subtask], state.solver(subtask), state.best(subtask)
    return {
        "name": one.name,
        "points": one.points,
        "score": round(one.points * best, DIGITS),
        "solved_in_round": None if solver is None else solver.round + 1,
    }


def _of_round(task: Task, so_far: State, one: Round) -> dict[str, Any]:
    """A round, and the problem's score after it."""
    made = one.submission
    return {
        "subtask": task.subtasks[one.subtask].name,
        "selected_by": one.selector,
        "submitted": None if made is None else [asdict(r) for r in made.verdict.results_S],
        "score": score_of(task, so_far),
    }
