from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest

from cascade_rl.evaluation.swe.select import SUBSETS, Judged, curves, picks, subsets
from cascade_rl.evaluation.swe.validate import (
    Evidence,
    best_order,
    majority_order,
    pick,
)


def planted(name: str, samples: int, good: int, noise: float = 0.2) -> Judged:
    """An issue whose good patches break no test and mostly pass the scripts; wrong ones agree
    with one another more than the good ones do."""
    rng = random.Random(name)
    evidence: list[Evidence | None] = []
    resolved = []
    for n in rng.sample(range(samples), samples):
        fixed = n < good
        resolved.append(fixed)
        if not fixed and rng.random() < 0.1:
            evidence.append(None)
            continue
        vote = f"good{rng.randrange(2)}" if fixed else f"bad{rng.randrange(2)}"
        broken = int(not fixed and rng.random() < 0.4)
        passes = 3 - int(rng.random() < noise) if fixed else int(rng.random() < noise)
        evidence.append(Evidence(broken, passes, vote, 100 + n, 10))
    return Judged(name, tuple(evidence), tuple(resolved))


ISSUES = [planted(f"i{n}", 32, good) for n, good in enumerate((0, 1, 2, 4, 8, 16, 28, 32))]
EIGHT = [planted(f"e{n}", 8, good) for n, good in enumerate((0, 1, 2, 3, 5, 8))]


def test_best_at_k_lies_between_avg_and_pass_at_k_for_every_k() -> None:
    found = curves(ISSUES)
    assert len(found.best_at) == len(found.pass_at) == len(found.majority_at) == 32
    for best, most in zip(found.best_at, found.pass_at, strict=True):
        assert found.avg - 1e-12 <= best <= most + 1e-12
    assert found.best_at[0] == pytest.approx(found.avg) == pytest.approx(found.pass_at[0])
    assert found.best_at[31] > found.avg + 0.2
    assert list(found.pass_at) == sorted(found.pass_at)
    assert all(b > m + 0.05 for b, m in zip(found.best_at[3:], found.majority_at[3:], strict=True))


def share(issues: list[Judged], k: int) -> float:
    """best@k by its definition, over all subsets."""
    total = 0.0
    for issue in issues:
        size = len(issue.resolved_K)
        found = [pick(issue.evidence_K, s) for s in itertools.combinations(range(size), k)]
        total += sum(issue.resolved_K[n] for n in found if n is not None) / len(found)
    return total / len(issues)


def test_with_few_candidates_all_subsets_are_counted() -> None:
    found = curves(EIGHT)
    for k in range(1, 9):
        assert found.best_at[k - 1] == pytest.approx(share(EIGHT, k))
        possible = [
            any(issue.resolved_K[i] for i in s)
            for issue in EIGHT
            for s in itertools.combinations(range(8), k)
        ]
        assert found.pass_at[k - 1] == pytest.approx(sum(possible) / len(possible))


def test_random_subsets_come_near_all_of_them() -> None:
    # 12 candidates: C(12, 4) = 495 subsets are counted, of C(12, 6) = 924 only 512.
    issues = [planted(f"n{n}", 12, 1 + n % 6) for n in range(20)]
    found = curves(issues)
    assert found.best_at[3] == pytest.approx(share(issues, 4), abs=1e-12)
    assert found.best_at[5] == pytest.approx(share(issues, 6), abs=0.01)


@pytest.mark.parametrize("order", [best_order, majority_order])
def test_subsets_are_picked_from_as_the_pipeline_picks(
    order: Callable[[Evidence], tuple[int, ...]],
) -> None:
    rng = random.Random(3)
    for _ in range(40):
        evidence = [
            None if rng.random() < 0.2
            else Evidence(rng.randrange(2), rng.randrange(3), rng.choice("abc"),
                          rng.randrange(4), rng.randrange(2))
            for _ in range(7)
        ]  # fmt: skip
        for k in (1, 3, 7):
            drawn = subsets("x", 7, k, 0)
            among = [[n for n in range(7) if row[n]] for row in drawn]
            expected = [pick(evidence, some, order) for some in among]
            assert picks(evidence, drawn, order).tolist() == [
                -1 if chosen is None else chosen for chosen in expected
            ]


def test_random_subsets_are_the_seeds_and_as_many_as_said() -> None:
    def drawn(name: str, seed: int, k: int = 5) -> list[list[bool]]:
        return subsets(name, 32, k, seed).tolist()

    assert drawn("a", 0) == drawn("a", 0)
    assert drawn("a", 0) != drawn("b", 0) != drawn("a", 1) != drawn("a", 0)
    for k in range(1, 33):
        assert len(drawn("a", 0, k)) == min(SUBSETS, math.comb(32, k))
        assert {sum(row) for row in drawn("a", 0, k)} == {k}


def test_an_issue_without_any_patch_counts_as_not_resolved() -> None:
    issues = [Judged("none", (None,) * 4, (False,) * 4), planted("all", 4, 4)]
    found = curves(issues)
    assert found.avg == 0.5 and set(found.best_at) == {0.5} == set(found.majority_at)


def test_majority_looks_at_votes_alone_and_ties_go_to_the_shortest() -> None:
    evidence = [
        Evidence(0, 9, "a", 50, 1),
        Evidence(5, 0, "b", 70, 1),
        Evidence(5, 0, "b", 60, 9),
        Evidence(5, 0, "b", 60, 2),
        None,
    ]
    assert pick(evidence, range(5), majority_order) == 3
    assert pick(evidence, [0, 1], majority_order) == 0
    assert pick(evidence, [1, 2], majority_order) == 2
    assert pick(evidence, range(5)) == 0
    assert pick(evidence, [4]) is None
