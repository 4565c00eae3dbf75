"""How good picking one of k candidates is: avg, pass@k, best@k and majority@k for k = 1 to K.

One rule: every number is a mean over subsets of k of an issue's K candidates. pass@k is exact. For
best@k, the pipeline's pick, and majority@k, who else is in the subset matters: what the pick loses
against pass@k is averaged, over all subsets where they are few, over random ones by seed where
they are many, and taken off the exact pass@k. So neither is ever above pass@k, and at k = 1 both
are avg.

Axes: P issues, K candidates of an issue, S subsets of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cascade_rl.digests import digest_text
from cascade_rl.evaluation.metrics import avg_at_k, pass_at_k
from cascade_rl.evaluation.swe.validate import Evidence, Order, best_order, majority_order

SUBSETS = 512
"""Subsets that are counted of an issue and a k."""

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """An issue's K candidates: the evidence for each, and whether it resolves the issue."""

    id: str
    evidence_K: tuple[Evidence | None, ...]
    resolved_K: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """Means over issues; the lists hold k = 1, 2, ... K."""

    avg: float
    pass_at: tuple[float, ...]
    best_at: tuple[float, ...]
    majority_at: tuple[float, ...]


def curves(issues: Sequence[Judged], seed: int = 0) -> Curves:
    """The curves of issues with equally many candidates, at least one."""
    scores_PK = np.array([issue.resolved_K for issue in issues], dtype=np.float64)
    pass_KP = [pass_at_k(scores_PK, k) for k in range(1, scores_PK.shape[1] + 1)]
    best, majority = [], []
    for k, pass_P in enumerate(pass_KP, 1):
        chosen = [(issue, subsets(issue.id, len(issue.resolved_K), k, seed)) for issue in issues]
        best.append(_less(pass_P, [_lost(issue, some, best_order) for issue, some in chosen]))
        majority.append(
            _less(pass_P, [_lost(issue, some, majority_order) for issue, some in chosen])
        )
    return Curves(
        avg_at_k(scores_PK),
        tuple(float(pass_P.mean()) for pass_P in pass_KP),
        tuple(best),
        tuple(majority),
    )


def _less(pass_P: npt.NDArray[np.float64], lost_P: Sequence[float]) -> float:
    return float(np.maximum(pass_P - np.array(lost_P), 0.0).mean())


def _lost(issue: Judged, subsets_SK: Bools, order: Order) -> float:
    """The share of subsets with a candidate that resolves the issue and a pick that does not."""
    resolved_K = np.array(issue.resolved_K)
    possible_S = (subsets_SK & resolved_K).any(axis=1)
    picks_S = picks(issue.evidence_K, subsets_SK, order)
    hit_S = (picks_S >= 0) & resolved_K[picks_S]
    return float((possible_S & ~hit_S).mean())


def picks(
    evidence_K: Sequence[Evidence | None], subsets_SK: Bools, order: Order
) -> npt.NDArray[np.int64]:
    """What `validate.pick` picks of each subset, -1 for nothing: [S]."""
    size = len(evidence_K)
    places = [n for n, found in enumerate(evidence_K) if found is not None]
    if not places:
        return np.full(len(subsets_SK), -1)
    given = [found for found in evidence_K if found is not None]
    first_K = np.zeros(size, dtype=np.int64)
    first_K[places] = _ranks([order(found) for found in given])
    last_K = np.zeros(size, dtype=np.int64)
    last_K[places] = _ranks([(f.length, f.tokens, n) for f, n in zip(given, places, strict=True)])
    same_KK = np.zeros((size, size), dtype=np.int64)
    for n, found in zip(places, given, strict=True):
        same_KK[places, n] = [found.vote == other.vote for other in given]
    votes_SK = subsets_SK.astype(np.int64) @ same_KK
    cost_SK = (first_K * (size + 1) + (size - votes_SK)) * (size + 1) + last_K
    valid_K = np.array([found is not None for found in evidence_K])
    cost_SK = np.where(subsets_SK & valid_K, cost_SK, np.iinfo(np.int64).max)
    chosen_S = cost_SK.argmin(axis=1)
    return np.where((subsets_SK & valid_K).any(axis=1), chosen_S, -1)


def _ranks(values: Sequence[tuple[int, ...]]) -> list[int]:
    """The place of each value among the different ones, in order."""
    places = {value: place for place, value in enumerate(sorted(set(values)))}
    return [places[value] for value in values]


def subsets(name: str, samples: int, k: int, seed: int) -> Bools:
    """All subsets of k of `samples` where they are at most SUBSETS; else so many, by seed: [S, K].

    Random ones are the first k of permutations that are the same for every k.
    """
    if math.comb(samples, k) <= SUBSETS:
        members: Ints = np.array(list(itertools.combinations(range(samples), k)))
    else:
        rng = np.random.default_rng([seed, int(digest_text(name)[:12], 16)])
        members = rng.permuted(np.tile(np.arange(samples), (SUBSETS, 1)), axis=1)[:, :k]
    found_SK = np.zeros((len(members), samples), dtype=np.bool_)
    np.put_along_axis(found_SK, members, True, axis=1)
    return found_SK
