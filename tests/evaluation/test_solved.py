"""Problems solved for the first time, against simulated parents and children."""

from __future__ import annotations

import numpy as np

from cascade_rl.evaluation.solved import newly_solved


def draw(rng: np.random.Generator, rates_P: np.ndarray, k: int = 64) -> np.ndarray:
    return (rng.random((len(rates_P), k)) < rates_P[:, None]).astype(float)


def test_luck_alone_makes_candidates_and_no_change() -> None:
    rng = np.random.default_rng(0)
    rates_P = np.full(2000, 0.01)  # 0 of 64 half of the time
    found = newly_solved(*(draw(rng, rates_P) for _ in range(4)))
    assert len(found.candidates) > 300
    assert found.change is not None
    assert found.change.low < 0.0 < found.change.high
    assert len(found.confirmed) < 0.35 * len(found.candidates)


def test_what_was_unlocked_is_confirmed_and_its_rise_measured() -> None:
    rng = np.random.default_rng(1)
    before_P = np.concatenate([np.zeros(40), np.full(60, 0.5)])
    after_P = np.concatenate([np.full(40, 0.3), np.full(60, 0.7)])
    found = newly_solved(
        draw(rng, before_P), draw(rng, after_P), draw(rng, before_P), draw(rng, after_P)
    )
    assert found.candidates == found.confirmed == tuple(range(40))
    assert found.change is not None
    assert found.change.low < 0.3 < found.change.high
    assert found.before == 0.0


def test_nothing_new_has_no_interval() -> None:
    ones = np.ones((3, 4))
    found = newly_solved(ones, ones, ones, ones)
    assert (found.candidates, found.change) == ((), None)
