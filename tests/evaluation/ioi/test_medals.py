"""Medals of IOI 2025, and of thresholds one names."""

from __future__ import annotations

import pytest

from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.ioi.medals import Thresholds, parse_thresholds


@pytest.mark.parametrize(
    ("score", "medal"),
    [
        (600, "gold"), (439.28, "gold"), (438.30, "gold"), (438.29, "silver"), (343.37, "silver"),
        (338.01, "silver"), (338.00, "bronze"), (252.00, "bronze"), (251.99, None), (0, None),
    ],
)  # fmt: skip
def test_a_medal_begins_at_its_threshold(score: float, medal: str | None) -> None:
    assert Thresholds().medal(score) == medal


def test_thresholds_can_be_named() -> None:
    found = parse_thresholds("1, 2.5,3")
    assert (found.medal(2.5), found.medal(0.9)) == ("silver", None)


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "3,2,1", "", "1,2,nan"])
def test_thresholds_that_do_not_rise_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"252\.00,338\.01,438\.30"):
        parse_thresholds(text)
