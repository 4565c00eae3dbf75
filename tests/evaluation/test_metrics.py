"""The arithmetic against hand-summed values, simulation and known coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from cascade_rl.evaluation.metrics import (
    avg_at_k,
    clustered_stderr,
    paired_interval,
    pass_at_k,
)


def test_avg_at_k_is_the_mean_over_problems_and_samples() -> None:
    assert avg_at_k(np.array([[1.0, 0.0], [1.0, 1.0]])) == 0.75


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_of_binary_scores_is_the_unbiased_estimator(right: int, k: int) -> None:
    scores_PK = np.array([[1.0] * right + [0.0] * (5 - right)])
    expected = 1 - math.comb(5 - right, k) / math.comb(5, k)
    assert pass_at_k(scores_PK, k)[0] == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_of_graded_scores_is_the_mean_best_of_every_subset() -> None:
    scores = [0.3, 0.9, 0.1, 0.5]
    subsets = list(itertools.combinations(scores, 2))
    expected = sum(map(max, subsets)) / len(subsets)
    assert pass_at_k(np.array([scores]), 2)[0] == pytest.approx(expected, abs=1e-12)


def test_standard_error_counts_problems_and_not_samples() -> None:
    one_PK = np.array([[0.0], [1.0], [1.0], [0.0]])
    copied_PK = np.repeat(one_PK, 16, axis=1)
    assert clustered_stderr(copied_PK) == pytest.approx(clustered_stderr(one_PK))
    assert clustered_stderr(one_PK) == pytest.approx(math.sqrt(1 / 3) / 2)


def test_paired_interval_of_a_constant_change_has_no_width() -> None:
    found = paired_interval(np.full(20, -0.25))
    assert (found.change, found.low, found.high) == (-0.25, -0.25, -0.25)


def test_paired_interval_agrees_with_the_normal_one_on_many_problems() -> None:
    differences_P = np.random.default_rng(0).normal(0.1, 1.0, 2000)
    stderr = differences_P.std(ddof=1) / math.sqrt(2000)
    found = paired_interval(differences_P)
    assert found.low == pytest.approx(found.change - 1.96 * stderr, abs=0.1 * stderr)
    assert found.high == pytest.approx(found.change + 1.96 * stderr, abs=0.1 * stderr)


def test_paired_interval_is_the_same_every_time() -> None:
    differences_P = np.random.default_rng(1).integers(-1, 2, 64).astype(float)
    assert paired_interval(differences_P) == paired_interval(differences_P.copy())


def test_runs_that_agree_give_the_interval_of_one_run() -> None:
    differences_P = np.random.default_rng(2).normal(size=400)
    one = paired_interval(differences_P)
    three = paired_interval(np.stack([differences_P] * 3))
    assert three.low == pytest.approx(one.low, abs=0.01)
    assert three.high == pytest.approx(one.high, abs=0.01)


def test_runs_that_differ_widen_the_interval_by_their_standard_error() -> None:
    runs_R = np.array([-0.2, 0.0, 0.2, 0.0, -0.1, 0.1])
    found = paired_interval(np.repeat(runs_R[:, None], 50, axis=1))
    stderr = runs_R.std(ddof=1) / math.sqrt(len(runs_R))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * stderr, rel=0.1)


def test_paired_interval_covers_the_truth_at_its_confidence() -> None:
    rng = np.random.default_rng(3)
    trials = [paired_interval(rng.normal(0.3, 1.0, 60)) for _ in range(200)]
    covered = sum(t.low <= 0.3 <= t.high for t in trials)
    assert 180 <= covered <= 198
