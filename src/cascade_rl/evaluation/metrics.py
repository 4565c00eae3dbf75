"""The arithmetic of an evaluation, on plain arrays.

One rule: the *problem* is the unit. The k samples of one problem are not independent, so
standard errors are clustered by problem and a change is an interval over the same problems,
child minus parent. With several runs the run is a second unit, crossed with the problems.

Axes: R runs, P problems, K samples of a problem, B bootstrap resamples.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
SUBSETS = 2_000
_BLOCK = 3_000_000  # counts held at once: 24 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference and its two-sided percentile interval."""

    change: float
    low: float
    high: float


def avg_at_k(scores_PK: Floats) -> float:
    """Mean over problems of the mean over samples: the papers' pass@1 = avg@k."""
    return float(scores_PK.mean())


def pass_at_k(scores_PK: Floats, k: int) -> Floats:
    """Unbiased expected best score of k samples drawn without replacement from K, per problem.

    For scores of 0 and 1 with c right out of K this is 1 - C(K-c, k) / C(K, k), the estimator of
    Chen et al. 2021 (equation 1); for graded scores it is best@k. Returns [P]; needs 1 <= k <= K.
    """
    samples = scores_PK.shape[1]
    assert 1 <= k <= samples, f"pass@{k} of {samples} samples"
    # The i-th smallest of K is the best of k draws when the other k-1 come from the i-1 below it.
    total = math.comb(samples, k)
    weights_K = np.array([math.comb(i, k - 1) / total for i in range(samples)])
    best_P: Floats = np.sort(scores_PK, axis=1) @ weights_K
    return best_P


def best_at_k(scores_PK: Floats, selector_PK: Floats, k: int) -> Floats:
    """Unbiased expected score of the one that a selector picks among k of K samples, per problem.

    The selector's highest value is picked, and any of those that share it with equal chance: a
    reward model, a confidence, minus the length. With the score itself as selector this is
    `pass_at_k`. Returns [P]; needs 1 <= k <= K.
    """
    problems, samples = scores_PK.shape
    assert 1 <= k <= samples, f"best@{k} of {samples} samples"
    total = math.comb(samples, k)
    weights_K = np.array([math.comb(i, k - 1) / total for i in range(samples)])
    best_P = np.empty(problems)
    for p in range(problems):
        _, group_K = np.unique(selector_PK[p], return_inverse=True)  # equal values, lowest first
        sums = np.bincount(group_K, weights=scores_PK[p])
        mean_K = (sums / np.bincount(group_K))[group_K]
        best_P[p] = mean_K[np.argsort(group_K, kind="stable")] @ weights_K
    return best_P


def majority_at_k(
    scores_PK: Floats, answers_PK: Sequence[Sequence[str | None]], k: int, *, seed: int = 0
) -> Floats:
    """Expected score of the commonest answer among k of K samples, per problem.

    Equal answers are equal strings; None (no answer) has no vote, and k samples without any score
    0. Ties are broken by equal chance, and an answer is worth the mean score of its samples among
    the k. The mean is over all sets of k samples where they are at most `SUBSETS`, else over as
    many drawn with `seed`. Returns [P]; needs 1 <= k <= K.
    """
    problems, samples = scores_PK.shape
    assert 1 <= k <= samples, f"majority@{k} of {samples} samples"
    subsets = _subsets(samples, k, seed)
    found_P = np.empty(problems)
    for p in range(problems):
        votes = [_majority(scores_PK[p], answers_PK[p], chosen) for chosen in subsets]
        found_P[p] = math.fsum(votes) / len(votes)
    return found_P


def _subsets(samples: int, k: int, seed: int) -> list[tuple[int, ...]]:
    if math.comb(samples, k) <= SUBSETS:
        return list(itertools.combinations(range(samples), k))
    rng = np.random.default_rng([seed, samples, k])
    return [tuple(rng.permutation(samples)[:k]) for _ in range(SUBSETS)]


def _majority(scores_K: Floats, answers_K: Sequence[str | None], chosen: Sequence[int]) -> float:
    found: dict[str, list[float]] = {}
    for i in chosen:
        answer = answers_K[i]
        if answer is not None:
            found.setdefault(answer, []).append(float(scores_K[i]))
    if not found:
        return 0.0
    most = max(map(len, found.values()))
    tied = [math.fsum(scores) / most for scores in found.values() if len(scores) == most]
    return math.fsum(tied) / len(tied)


def sampling_stderr(scores_PK: Floats) -> float:
    """Standard error of avg@k on these very problems: what other samples would change.

    The papers' figure: AIME 2024 has 1.8, 1.2 and 0.7 points at k = 16, 32, 64 (AceReason-Nemotron,
    appendix). Needs k >= 2.
    """
    problems, k = scores_PK.shape
    assert k >= 2, f"{k} samples a problem say nothing of their spread"
    mean_variance = float(scores_PK.var(axis=1, ddof=1).mean())
    return math.sqrt(mean_variance / (k * problems))


def samples_needed(scores_PK: Floats, half_width: float, *, confidence: float = 0.95) -> int:
    """The k with which avg@k on these problems is known to plus or minus `half_width`.

    From the spread of the samples there are; where they all agree, the spread of one more sample
    that does not (Laplace) keeps the answer from being 1.
    """
    problems, k = scores_PK.shape
    spread = float(scores_PK.var(axis=1, ddof=1).mean()) if k > 1 else 0.25
    spread = max(spread, 1.0 / float((problems * k + 2) * 4))
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    wanted = (half_width / z) * (half_width / z)  # the variance that it may have
    return max(2, math.ceil(spread / float(problems) / wanted))


def mean_interval(means_P: Floats, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of avg@k over problems like these, by Student's t over the problems' means."""
    problems = len(means_P)
    mean = float(means_P.mean())
    if problems < 2:
        return mean, mean
    from scipy.special import stdtrit

    quantile = float(stdtrit(problems - 1, 0.5 + confidence / 2))
    reach = quantile * clustered_stderr(means_P[:, None])
    return mean - reach, mean + reach


def clustered_stderr(scores_PK: Floats) -> float:
    """Standard error of avg@k with the problem as cluster; 0 for a single problem."""
    problems = scores_PK.shape[0]
    if problems < 2:
        return 0.0
    return float(scores_PK.mean(axis=1).std(ddof=1) / math.sqrt(problems))


def paired_interval(differences_RP: Floats, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Bootstrap interval of the mean of child - parent on the same problems.

    `differences_RP` holds one row a run; a single run may come as [P]. Problems are resampled
    once for all runs, which share them. With R > 1 runs these are resampled as well (crossed
    hierarchical bootstrap), and their deviations are widened by sqrt(R / (R - 1)), because
    resampling R units alone shows only (R - 1) / R of their variance. Randomness depends on
    `seed` and the shape alone, so equal input gives an equal interval.
    """
    differences_RP = np.atleast_2d(differences_RP)
    runs, problems = differences_RP.shape
    size = max(1, min(RESAMPLES, _BLOCK // problems))
    means_RB = (
        np.concatenate(
            [
                np.einsum("bp,rp->rb", _counts(seed, problems, start, size), differences_RP)
                for start in range(0, RESAMPLES, size)
            ],
            axis=1,
        )[:, :RESAMPLES]
        / problems
    )
    mean_B: Floats = means_RB.mean(axis=0)
    if runs > 1:
        rng = np.random.default_rng([seed, runs, problems])
        chosen_RB = rng.integers(runs, size=(runs, RESAMPLES))
        drawn_B: Floats = np.take_along_axis(means_RB, chosen_RB, axis=0).mean(axis=0)
        mean_B = mean_B + math.sqrt(runs / (runs - 1)) * (drawn_B - mean_B)
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(mean_B, [tail, 1.0 - tail])
    return Interval(float(differences_RP.mean()), float(low), float(high))


@lru_cache(maxsize=4)
def _counts(seed: int, problems: int, start: int, size: int) -> Floats:
    """How often each of `size` resamples draws each problem: [B, P], rows add up to P.

    The same for every benchmark of as many problems, and kept: a ledger asks for each cell.
    """
    rng = np.random.default_rng([seed, problems, start])
    chosen_BP = rng.integers(problems, size=(size, problems))
    places_BP = chosen_BP + problems * np.arange(size)[:, None]
    counts = np.bincount(places_BP.ravel(), minlength=size * problems)
    return counts.reshape(size, problems).astype(np.float64)
