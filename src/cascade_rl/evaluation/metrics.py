"""The arithmetic of an evaluation, on plain arrays.

One rule: the *problem* is the unit. The k samples of one problem are not independent, so
standard errors are clustered by problem and a change is an interval over the same problems,
child minus parent. With several runs the run is a second unit, crossed with the problems.

Axes: R runs, P problems, K samples of a problem, B bootstrap resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
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
