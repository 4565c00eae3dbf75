"""Charts scale, thin and smooth without changing what is said."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from cascade_rl.pages.charts import ticks
from cascade_rl.report.charts import MAX_POINTS, Curve, line_chart, smoothed

CURVE = Curve("m", "A <metric>", "x & y")


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.31, 0.87), (-3.0, 200.0), (5.0, 5.0), (0.0, 0.0), (1e-6, 2e-6)]
)
def test_ticks_are_few_and_span_the_data(low: float, high: float) -> None:
    found = ticks(low, high, 4)
    assert found[0] <= low and found[-1] >= high
    assert 2 <= len(found) <= 8


def test_step_ticks_are_whole_steps_inside_the_data() -> None:
    assert ticks(1, 60, 5, whole=True) == [20, 40, 60]
    assert ticks(1, 3, 5, whole=True) == [1, 2, 3]
    assert ticks(7, 7, 5, whole=True) == [7]


def test_smoothing_keeps_the_ends_and_the_mean_of_a_line() -> None:
    values = [float(i) for i in range(100)]
    assert smoothed(values) == pytest.approx(values)


def test_a_chart_names_both_axes_and_escapes_its_text() -> None:
    svg = line_chart(CURVE, [(1, 0.5), (2, 0.75)])
    assert "x &amp; y" in svg and ">step<" in svg
    assert "<metric>" not in svg


@pytest.mark.parametrize("count", [1, 2, 5000])
def test_a_chart_of_any_length_stays_inside_its_frame_and_small(count: int) -> None:
    svg = line_chart(CURVE, [(float(i), (i % 7) - 3.0) for i in range(1, count + 1)])
    data = json.loads(unescape(re.findall(r'data-points="(.*?)"', svg)[0]))
    assert 1 <= len(data) <= MAX_POINTS
    assert all(0 <= x <= 340 and 0 <= y <= 190 for _, _, x, y in data)
