"""The arithmetic against hand-summed values, simulation and known coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from cascade_rl.evaluation.metrics import (
    avg_at_k,
    best_at_k,
    clustered_stderr,
    majority_at_k,
    mean_interval,
    paired_interval,
    pass_at_k,
    samples_needed,
    sampling_stderr,
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


def test_one_right_of_four_is_best_at_four() -> None:
    assert pass_at_k(np.array([[0.0, 0.0, 1.0, 0.0]]), 4)[0] == 1.0


@pytest.mark.parametrize("samples", [1, 2, 5, 7])
def test_pass_at_k_is_the_mean_over_every_subset(samples: int) -> None:
    rng = np.random.default_rng(samples)
    scores_PK = rng.integers(0, 2, (20, samples)).astype(float)
    for k in range(1, samples + 1):
        brute_P = [
            np.mean([max(chosen) for chosen in itertools.combinations(row, k)]) for row in scores_PK
        ]
        np.testing.assert_allclose(pass_at_k(scores_PK, k), brute_P, atol=1e-12)


def test_best_at_k_is_the_mean_over_every_subset_and_every_tie() -> None:
    scores, selector = [1.0, 0.0, 0.0, 1.0, 0.5], [2.0, 3.0, 1.0, 2.0, 3.0]
    for k in range(1, 6):
        picked = []
        for chosen in itertools.combinations(range(5), k):
            top = max(selector[i] for i in chosen)
            picked.append(np.mean([scores[i] for i in chosen if selector[i] == top]))
        found = best_at_k(np.array([scores]), np.array([selector]), k)
        assert found[0] == pytest.approx(np.mean(picked), abs=1e-12)


def test_best_at_k_by_the_score_itself_is_pass_at_k_and_by_nothing_the_mean() -> None:
    scores_PK = np.random.default_rng(0).integers(0, 2, (9, 6)).astype(float)
    for k in range(1, 7):
        np.testing.assert_allclose(best_at_k(scores_PK, scores_PK, k), pass_at_k(scores_PK, k))
        flat_P = best_at_k(scores_PK, np.zeros_like(scores_PK), k)
        np.testing.assert_allclose(flat_P, scores_PK.mean(axis=1))


def test_majority_by_hand() -> None:
    answers = [["7", "7", "3", None]]
    scores_PK = np.array([[1.0, 1.0, 0.0, 0.0]])
    assert majority_at_k(scores_PK, answers, 4)[0] == 1.0
    # Of six pairs 77 is right, 73 twice tied, 7- twice right, 3- wrong.
    assert majority_at_k(scores_PK, answers, 2)[0] == pytest.approx((1 + 2 * 0.5 + 2) / 6)
    assert majority_at_k(scores_PK, answers, 1)[0] == 0.5
    assert majority_at_k(np.array([[0.0, 0.0]]), [[None, None]], 2)[0] == 0.0


def test_majority_of_drawn_subsets_is_near_that_of_all() -> None:
    rng = np.random.default_rng(3)
    answers = [[str(rng.integers(3)) for _ in range(16)]]
    scores_PK = np.array([[float(a == "1") for a in answers[0]]])
    assert math.comb(16, 5) > 2000
    drawn = majority_at_k(scores_PK, answers, 5)[0]
    every = [
        _majority_of([answers[0][i] for i in chosen])
        for chosen in itertools.combinations(range(16), 5)
    ]
    assert drawn == pytest.approx(np.mean(every), abs=0.04)


def _majority_of(answers: list[str]) -> float:
    most = max(map(answers.count, answers))
    tied = {a for a in answers if answers.count(a) == most}
    return float("1" in tied) / len(tied)


def _samples(rng: np.random.Generator, problems: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Problems of a U-shaped difficulty, and their samples."""
    rates_P = rng.beta(0.6, 0.5, problems)
    return rates_P, (rng.random((problems, k)) < rates_P[:, None]).astype(float)


def test_the_interval_of_a_mean_covers_the_truth() -> None:
    rng = np.random.default_rng(7)
    truth = 0.6 / 1.1
    covered = 0
    for _ in range(1000):
        low, high = mean_interval(_samples(rng, 30, 8)[1].mean(axis=1))
        covered += low <= truth <= high
    assert 930 <= covered <= 970


def test_the_paired_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(1000):
        rates_P = rng.beta(0.6, 0.5, 64)
        before_PK = rng.random((64, 4)) < rates_P[:, None]
        after_PK = rng.random((64, 4)) < (0.8 * rates_P + 0.2)[:, None]
        found = paired_interval(after_PK.mean(axis=1) - before_PK.mean(axis=1))
        covered += found.low <= 0.2 * (1 - 0.6 / 1.1) <= found.high
    assert 930 <= covered <= 970


def test_the_error_of_sampling_is_that_of_runs_on_the_same_problems() -> None:
    rng = np.random.default_rng(9)
    rates_P = rng.beta(0.6, 0.5, 30)
    runs = [(rng.random((30, 16)) < rates_P[:, None]).astype(float) for _ in range(400)]
    measured = np.std([run.mean() for run in runs])
    assert np.mean([sampling_stderr(run) for run in runs]) == pytest.approx(measured, rel=0.1)


def test_the_samples_needed_reach_the_width_that_was_asked_for() -> None:
    rng = np.random.default_rng(10)
    rates_P = rng.beta(0.6, 0.5, 30)
    pilot = (rng.random((30, 8)) < rates_P[:, None]).astype(float)
    k = samples_needed(pilot, 0.02)
    run = (rng.random((30, k)) < rates_P[:, None]).astype(float)
    assert 1.96 * sampling_stderr(run) == pytest.approx(0.02, rel=0.2)
    assert samples_needed(pilot, 0.04) == pytest.approx(k / 4, abs=1)
    assert samples_needed(np.ones((30, 4)), 0.5) == 2
