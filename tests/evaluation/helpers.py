"""Evaluations made of plain scores, for tests of what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_rl.evaluation.ledger import Evaluated, StageScores
from cascade_rl.types import Sample, Signals, Verdict, partial, right, wrong


def verdict_of(score: float) -> Verdict:
    """Right for 1, wrong for 0, partial between."""
    return right() if score == 1 else wrong("not equal") if score == 0 else partial(score, "graded")


def samples(
    scores_PK: Sequence[Sequence[float]], greedy_P: Sequence[float] | None = None
) -> list[Sample]:
    """One sample a score; problem ids are p000, p001, ..."""
    found = []
    for p, scores_K in enumerate(scores_PK):
        numbered = list(enumerate(scores_K))
        if greedy_P is not None:
            numbered.insert(0, (-1, greedy_P[p]))
        found += [
            Sample(f"p{p:03d}", i, f"answer {i}", "stop", 7, Signals(verdict_of(score)))
            for i, score in numbered
        ]
    return found


def evaluated(
    rights_P: Sequence[int],
    k: int = 4,
    greedy_P: Sequence[float] | None = None,
    protocol: str = "a",
) -> Evaluated:
    """An evaluation in which problem p has `rights_P[p]` right answers of k."""
    rows = [[1.0] * r + [0.0] * (k - r) for r in rights_P]
    return Evaluated(protocol, samples(rows, greedy_P))


def chain(*evaluations: dict[str, Evaluated], run: str = "") -> list[StageScores]:
    """Stages `start`, `s1`, `s2`, ... each the child of the one before."""
    names = ["start", *(f"s{i}" for i in range(1, len(evaluations)))]
    keys = [f"{name}{run}" for name in names]
    return [
        StageScores(name, key, parent, scores)
        for name, key, parent, scores in zip(
            names, keys, [None, *keys[:-1]], evaluations, strict=True
        )
    ]
