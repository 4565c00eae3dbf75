"""Who is asked for what, and what is submitted: the state machine of arXiv 2512.13607, section 5.1.

Pure: the state of a problem is the tuple of its finished rounds, and everything else is a function
of it, so a run that was killed takes the same decisions again. A round generates candidates for
one subtask and submits one of them at most. Where the paper is silent: a round goes to the
unsolved subtask that has had the fewest rounds, the first of them in the problem's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.ioi.judge import Judged
from cascade_rl.evaluation.ioi.medals import DIGITS
from cascade_rl.evaluation.ioi.task import Task

Selector = Literal["tail_confidence", "shortest", "first"]
SELECTORS: tuple[Selector, ...] = ("tail_confidence", "shortest", "first")


@dataclass(frozen=True, slots=True)
class Options:
    """The paper's numbers; Cascade 2 (arXiv 2603.19220) has 40 candidates.

    `failed` and `best` bound what a prompt shows of earlier submissions, `shown_chars` (ours) all
    programs in it together, so that it never outgrows a model. `fallback` selects in a round whose
    answers do not all have a tail confidence; it never needs one.
    """

    rounds: int = 50
    candidates: int = 20
    failed: int = 5
    best: int = 3
    shown_chars: int = 100_000
    selector: Selector = "tail_confidence"
    fallback: Selector = "shortest"

    def __post_init__(self) -> None:
        least = {"rounds": 1, "candidates": 1, "failed": 0, "best": 0, "shown_chars": 0}
        for name, bound in least.items():
            if (found := getattr(self, name)) < bound:
                option = name.replace("_", "-")
                raise ConfigError(f"--{option} is {found}; expected at least {bound}")
        if self.selector not in SELECTORS or self.fallback not in SELECTORS[1:]:
            raise ConfigError(
                f"the selector is {self.selector!r} and the fallback {self.fallback!r}; "
                f"expected one of {', '.join(SELECTORS)}, "
                f"and as fallback one of {', '.join(SELECTORS[1:])}"
            )


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted in a round (from 0) for a subtask (its index), and what it got."""

    round: int
    subtask: int
    source: str
    verdict: Judged

    @property
    def scores_S(self) -> tuple[float, ...]:
        """Of each subtask, from 0 to 1."""
        return self.verdict.scores_S


@dataclass(frozen=True, slots=True)
class Round:
    """A round that is over. `selector` is what chose; both are None where nothing was submitted.

    `rejected` counts, by reason, the candidates that were looked at and not taken.
    """

    subtask: int
    generations: int
    rejected: Mapping[str, int]
    submission: Submission | None
    selector: Selector | None


@dataclass(frozen=True, slots=True)
class State:
    """Where a problem stands: its finished rounds, in order."""

    rounds: tuple[Round, ...] = ()

    @property
    def submissions(self) -> tuple[Submission, ...]:
        """All that were made, oldest first."""
        return tuple(one.submission for one in self.rounds if one.submission is not None)

    def best(self, subtask: int) -> float:
        """The best score of any submission on a subtask, from 0 to 1."""
        return max((one.scores_S[subtask] for one in self.submissions), default=0.0)

    def solver(self, subtask: int) -> Submission | None:
        """The first submission with a subtask's full score."""
        return next((one for one in self.submissions if one.scores_S[subtask] == 1), None)


def score_of(task: Task, state: State) -> float:
    """The problem's score: the points of each subtask times its best score, to hundredths."""
    points = (one.points * state.best(s) for s, one in enumerate(task.subtasks))
    return round(sum(points), DIGITS)


def next_subtask(task: Task, state: State, options: Options) -> int | None:
    """The subtask of the round that comes next; None where there is none.

    There is none once all is solved, or the rounds or the submissions are used up.
    """
    if len(state.rounds) >= options.rounds or len(state.submissions) >= task.max_submissions:
        return None
    unsolved = [s for s in range(len(task.subtasks)) if state.solver(s) is None]
    had = [one.subtask for one in state.rounds]
    return min(unsolved, key=had.count, default=None)


# --- what a prompt shows of earlier rounds ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Insight:
    """A submission that solved other subtasks than the one asked for."""

    subtasks: tuple[int, ...]
    submission: Submission


@dataclass(frozen=True, slots=True)
class History:
    """For the subtask of a round: failures and partial scores on it, solutions of others.

    `failed` were made for it and did not solve it, oldest first; `best` have the highest partial
    scores on it, whatever they were made for, best first; none is in both.
    """

    failed: tuple[Submission, ...] = ()
    best: tuple[Submission, ...] = ()
    insights: tuple[Insight, ...] = ()


def history_of(task: Task, state: State, subtask: int, options: Options) -> History:
    """What is shown: the most recent failures, the best partial scores, all solved subtasks."""
    made = state.submissions
    partial = [one for one in made if 0 < one.scores_S[subtask] < 1]
    partial.sort(key=lambda one: (-one.scores_S[subtask], -one.round))
    best = tuple(partial[: options.best])
    failures = [one for one in made if one.subtask == subtask and one not in best]
    failed = tuple(failures[max(0, len(failures) - options.failed) :])
    solved: dict[int, list[int]] = {}
    for other in range(len(task.subtasks)):
        if other != subtask and (solver := state.solver(other)) is not None:
            solved.setdefault(solver.round, []).append(other)
    by_round = {one.round: one for one in made}
    insights = tuple(Insight(tuple(them), by_round[n]) for n, them in sorted(solved.items()))
    return _fitting(History(failed, best, insights), options.shown_chars)


def _fitting(history: History, room: int) -> History:
    """Without what is too long for the room that is left after what tells more than it does."""
    insights = {one.submission.round: one for one in history.insights}
    order = [*history.best, *reversed(history.failed)]
    kept: set[int] = set()
    for one in [*order, *(one.submission for one in history.insights)]:
        if len(one.source) <= room:
            room -= len(one.source)
            kept.add(one.round)
    return History(
        tuple(one for one in history.failed if one.round in kept),
        tuple(one for one in history.best if one.round in kept),
        tuple(one for number, one in insights.items() if number in kept),
    )


# --- which candidate is submitted -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer with a program: its number, its length and DeepConf's tail confidence."""

    sample: int
    source: str
    tokens: int
    tail_confidence: float | None = None


def ranked(
    candidates: Sequence[Candidate], options: Options
) -> tuple[Selector, tuple[Candidate, ...]]:
    """The selector that this round is decided by, and the candidates in its order.

    `tail_confidence`: the highest first. The paper's "Tail-10" keeps the tenth of the answers with
    the highest; of the two that this leaves of 20, the more confident one is taken. `shortest`:
    the fewest tokens first. `first`: as they are numbered, which decides between equals too.
    """
    selector = options.selector
    silent = any(one.tail_confidence is None for one in candidates)
    if selector == "tail_confidence" and silent:
        selector = options.fallback

    def key(one: Candidate) -> tuple[float, int]:
        if selector == "tail_confidence":
            assert one.tail_confidence is not None
            return -one.tail_confidence, one.sample
        return (one.tokens if selector == "shortest" else 0), one.sample

    return selector, tuple(sorted(candidates, key=key))


def same_program(source: str) -> str:
    """What two sources have in common that are the same submission: blanks at line ends aside."""
    return "\n".join(line.rstrip() for line in source.splitlines() if line.strip())
