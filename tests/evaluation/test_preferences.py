from __future__ import annotations

import json
import math
import random

import pytest

from cascade_rl import mini
from cascade_rl.chat import answer_part
from cascade_rl.evaluation.preferences import SECTIONS, evaluate_pairs, report_of
from cascade_rl.mini.utility import utility
from cascade_rl.mini.world import FACTS
from cascade_rl.types import Pair


def test_accuracy_counts_a_tie_half_and_leaves_out_what_has_no_score() -> None:
    report = report_of(["a", "a", "b", "b", "b"], [1.0, -1.0, 0.0, 2.0, math.nan])
    assert (report.pairs, report.unscored) == (4, 1)
    assert report.accuracy == 0.625
    assert report.categories == {"a": (2, 0.5), "b": (2, 0.75)}
    assert report.margin == 0.5
    with pytest.raises(ValueError, match="none of 1 pairs"):
        report_of(["a"], [math.nan])


def test_rewardbench_weighs_its_subsets_and_is_said_when_all_are_there() -> None:
    categories, margins = [], []
    for subsets in SECTIONS.values():
        for i, subset in enumerate(subsets):
            categories += [subset] * 2
            margins += [1.0, 1.0 if i == 0 else -1.0]  # the first is all right, the others half
    report = report_of(categories, margins)
    assert report.sections["reasoning"] == pytest.approx((984 + 984 / 2) / (2 * 984))
    assert report.sections["chat"] == pytest.approx((100 + 258 / 2) / 358)
    assert report.rewardbench == pytest.approx(sum(report.sections.values()) / 4)
    fewer = report_of(categories[2:], margins[2:])
    assert set(fewer.sections) == {"chat-hard", "safety", "reasoning"}
    assert fewer.rewardbench is None


def test_a_model_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    rng = random.Random(0)
    drawn = [rng.gauss(0, 2) for _ in range(20_000)]
    honest = [m if rng.random() < 1 / (1 + math.exp(-abs(m))) else -m for m in map(abs, drawn)]
    assert report_of([""] * len(honest), honest).calibration_error < 0.02
    boastful = [4 * m for m in honest]
    assert report_of([""] * len(honest), boastful).calibration_error > 0.1


def test_the_true_utility_orders_the_generated_pairs() -> None:
    pairs = [row for row in mini.rows("pairs/val", 0) if isinstance(row, Pair)]

    def scorer(items):  # type: ignore[no-untyped-def]
        topics = [[w for w in FACTS if f"the {w}" in p.prompt[0].content] for p, _ in items]
        return [
            utility(answer_part(text), [FACTS[t] for t in found])
            for (_, text), found in zip(items, topics, strict=True)
        ]

    report = evaluate_pairs(scorer, pairs)
    assert report.pairs == len(pairs) and report.accuracy > 0.95
    json.dumps(report.calibration_error)
