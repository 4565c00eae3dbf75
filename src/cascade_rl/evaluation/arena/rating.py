"""Verdicts of an arena to a win rate against the baseline: Bradley-Terry, bootstrap, style control.

One rule: the question is the unit. Its two games stand or fall together in every resample, so the
interval is that of questions. A verdict "far better" counts as three games, a tie as half of a win
for each side (ArenaHard 0.1's weights).

With one baseline the Bradley-Terry strength is the logit of the weighted win rate. Style control
(arXiv 2406.11939's authors, "style control") adds differences of length and of Markdown marks to
that logit: the rate reported is that of answers of equal style.

Axes: Q questions, N = 2 Q games, S style features, B resamples.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cascade_rl.chat import answer_part
from cascade_rl.data.lengths import estimated_tokens
from cascade_rl.errors import EvaluationError
from cascade_rl.evaluation.arena import Game, Judged, Label
from cascade_rl.evaluation.metrics import Floats

DECISIVE = 3.0
"""Games that a verdict "far better" counts as."""
RESAMPLES = 1_000
STYLE = ("length", "headers", "lists", "bold")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_PRIOR = 1e-4
"""Weight of a ridge on the coefficients, so that a sweep has a finite strength."""
_STEPS = 30


@dataclass(frozen=True, slots=True)
class Rate:
    """A win rate in [0, 1] and its 95 % interval over questions."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ArenaReport:
    """`place_a` is the share of games, ties as halves, that the answer in place A won.

    `styled` is the rate at equal style, and `style` the logit that one deviation of each feature's
    difference is worth; None and empty without style control.
    """

    questions: int
    unjudged: int
    rate: Rate
    place_a: float
    verdicts: Mapping[Label, int]
    styled: Rate | None = None
    style: Mapping[str, float] | None = None


def report_of(
    judged: Sequence[Judged], *, style_control: bool = False, seed: int = 0
) -> ArenaReport:
    """What the games of all questions say. Raises EvaluationError where none is judged."""
    complete = [one for one in judged if one.complete]
    if not complete:
        raise EvaluationError(f"none of {len(judged)} questions has a verdict in both games")
    outcomes_N, weights_N = _games(complete)
    rate = win_rate(outcomes_N, weights_N, seed=seed)
    games = [game for one in complete for game in one.games]
    styled, style = None, None
    if style_control:
        features_NS = np.repeat(style_differences(complete), 2, axis=0)
        styled, style = styled_rate(outcomes_N, weights_N, features_NS, seed=seed)
    return ArenaReport(
        questions=len(judged),
        unjudged=len(judged) - len(complete),
        rate=rate,
        place_a=float(np.mean([_in_place_a(game) for game in games])),
        verdicts=dict(Counter(game.verdict for game in games if game.verdict is not None)),
        styled=styled,
        style=style,
    )


def _games(complete: Sequence[Judged]) -> tuple[Floats, Floats]:
    """Outcome for the model and weight of each game, two neighbours a question."""
    games = [game for one in complete for game in one.games]
    outcomes = np.array([game.outcome for game in games], dtype=np.float64)
    return outcomes, np.array([DECISIVE if game.decisive else 1.0 for game in games])


def _in_place_a(game: Game) -> float:
    outcome = game.outcome
    assert outcome is not None
    return outcome if game.place == "A" else 1.0 - outcome


# --- win rate ---------------------------------------------------------------------------------


def win_rate(outcomes_N: Floats, weights_N: Floats, *, seed: int = 0) -> Rate:
    """The weighted share of games won, and its percentile interval; two neighbours a question.

    It is Bradley and Terry's probability that the model beats the baseline.
    """
    won_Q = (outcomes_N * weights_N).reshape(-1, 2).sum(axis=1)
    played_Q = weights_N.reshape(-1, 2).sum(axis=1)
    counts_BQ = _resamples(len(won_Q), seed)
    means_B: Floats = (counts_BQ @ won_Q) / (counts_BQ @ played_Q)
    low, high = np.quantile(means_B, [0.025, 0.975])
    return Rate(float(won_Q.sum() / played_Q.sum()), float(low), float(high))


def _resamples(questions: int, seed: int) -> Floats:
    """How often each resample draws each question: [B, Q]."""
    rng = np.random.default_rng([seed, questions])
    shares = np.full(questions, 1.0 / questions)
    return rng.multinomial(questions, shares, size=RESAMPLES).astype(np.float64)


# --- style ------------------------------------------------------------------------------------


def style_of(text: str) -> tuple[float, ...]:
    """Length in tokens (estimated), headers, list items and bold spans outside fenced code."""
    answer = answer_part(text)
    prose = _FENCE.sub("", answer)
    marks = (len(pattern.findall(prose)) for pattern in (_HEADER, _ITEM, _BOLD))
    return (float(estimated_tokens(answer)), *map(float, marks))


def style_differences(complete: Sequence[Judged]) -> Floats:
    """(model - baseline) / (model + baseline) of each feature over its deviation: [Q, S].

    Zero where neither answer has it. Not centred: zero is equal style.
    """
    rows = []
    for one in complete:
        pairs = zip(style_of(one.battle.answer), style_of(one.battle.baseline), strict=True)
        rows.append([(m - b) / (m + b) if m + b else 0.0 for m, b in pairs])
    differences_QS = np.array(rows, dtype=np.float64)
    scale_S = differences_QS.std(axis=0)
    scaled: Floats = differences_QS / np.where(scale_S > 0, scale_S, 1.0)
    return scaled


def styled_rate(
    outcomes_N: Floats, weights_N: Floats, features_NS: Floats, *, seed: int = 0
) -> tuple[Rate, dict[str, float]]:
    """The win rate at equal style, and what each feature is worth in logits."""
    design_ND = np.concatenate([np.ones((len(outcomes_N), 1)), features_NS], axis=1)
    fitted_D = logistic_fit(design_ND, outcomes_N, weights_N)
    strengths_B = [
        logistic_fit(design_ND, outcomes_N, weights_N * np.repeat(counts_Q, 2), fitted_D)[0]
        for counts_Q in _resamples(len(outcomes_N) // 2, seed)
    ]
    low, high = np.quantile(strengths_B, [0.025, 0.975])
    rate = Rate(*(1 / (1 + math.exp(-x)) for x in (float(fitted_D[0]), float(low), float(high))))
    return rate, dict(zip(STYLE, map(float, fitted_D[1:]), strict=True))


def logistic_fit(
    design_ND: Floats, outcomes_N: Floats, weights_N: Floats, start_D: Floats | None = None
) -> Floats:
    """Coefficients of a weighted logistic regression by Newton's method; outcomes in [0, 1].

    A ridge of 1e-4 of a game holds separable data finite. Returns [D].
    """
    beta_D = np.zeros(design_ND.shape[1]) if start_D is None else start_D.copy()
    for _ in range(_STEPS):
        mean_N = 1 / (1 + np.exp(-np.clip(design_ND @ beta_D, -30, 30)))
        gradient_D = design_ND.T @ (weights_N * (outcomes_N - mean_N)) - _PRIOR * beta_D
        curvature_N = weights_N * np.maximum(mean_N * (1 - mean_N), 1e-9)
        hessian_DD = (design_ND * curvature_N[:, None]).T @ design_ND
        step_D = np.linalg.solve(hessian_DD + _PRIOR * np.eye(len(beta_D)), gradient_D)
        beta_D += np.clip(step_D, -2.0, 2.0)
        if float(np.abs(step_D).max()) < 1e-8:
            break
    found: Floats = beta_D
    return found
