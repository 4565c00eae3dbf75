"""Line charts as inline SVG: one metric of one stage over its steps.

One rule: a chart scales to its own data but says so, with a labelled axis on both sides. Colours
are CSS variables of the page, so that one chart serves the light and the dark page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cascade_rl.pages.charts import ticks

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 36
MAX_POINTS = 300
SMOOTH_FROM = 12
"""From this many points on, a smoothed line is drawn over the raw one."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """What to draw of a stage: the event's key, the chart's title and its unit."""

    metric: str
    title: str
    unit: str
    from_zero: bool = False  # where the distance from 0 is what matters


GRADIENT = Curve("grad_norm", "Gradient norm", "before clipping")
RL_CURVES = (
    Curve("reward/mean", "Reward", "mean over the batch"),
    Curve("group/frac_mixed", "Groups with signal", "share of groups", from_zero=True),
    Curve("response_length/mean", "Response length", "tokens"),
    Curve("response_length/clip_ratio", "Clip ratio", "share truncated", from_zero=True),
    Curve("entropy", "Entropy", "nats a token"),
    GRADIENT,
)
CURVES = {
    "rl": RL_CURVES,
    "sft": (Curve("loss", "Loss", "nats a token"), GRADIENT),
    "reward_model": (
        Curve("loss", "Loss", "nats a pair"),
        Curve("accuracy", "Pairs in order", "share of the batch"),
        GRADIENT,
    ),
}
"""What is drawn of each kind of stage, in this order."""


def line_chart(
    curve: Curve, points: Sequence[Point], borders: Sequence[tuple[str, float]] = ()
) -> Markup:
    """The chart; `points` are (step, value) in order of steps, at least one.

    `borders` are (name, step) of what begins there: a thin line each, with its name at the top.
    """
    shown = _thin(points)
    xs, ys = [x for x, _ in shown], [y for _, y in shown]
    x_ticks = ticks(min(xs), max(xs), 5, whole=True)
    y_ticks = ticks(min([*ys, 0.0] if curve.from_zero else ys), max(ys), 4)
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    places = [at(x, y) for x, y in shown]
    smooth = [at(x, y) for x, y in zip(xs, smoothed(ys), strict=True)]
    label = f"{curve.title} of step {xs[0]:g} to {xs[-1]:g}: from {ys[0]:.3g} to {ys[-1]:.3g}"
    data = json.dumps([[x, y, round(px, 1), round(py, 1)] for (x, y), (px, py)
                       in zip(shown, places, strict=True)])  # fmt: skip
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}"'
        f' data-points="{escape(data)}" data-title="{escape(curve.title)}">'
        + "".join(_y_tick(tick, at(x_low, tick)[1]) for tick in y_ticks)
        + "".join(_x_tick(tick, at(tick, y_low)[0]) for tick in x_ticks)
        + f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" '
        'text-anchor="middle">step</text>'
        f'<text class="axis" transform="translate(11 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(curve.unit)}</text>'
        + "".join(_border(name, at(x, y_low)[0]) for name, x in borders if x_low <= x <= x_high)
        + _line(places, "raw" if len(shown) >= SMOOTH_FROM else "smooth")
        + (_line(smooth, "smooth") if len(shown) >= SMOOTH_FROM else "")
        + '<line class="cursor" x1="0" x2="0" '
        f'y1="{TOP}" y2="{HEIGHT - BOTTOM}"/><circle class="dot" r="3.2"/></svg>'
    )


def _y_tick(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y + 3.2:.1f}" text-anchor="end">{value:.4g}</text>'
    )


def _x_tick(value: float, x: float) -> str:
    y = HEIGHT - BOTTOM
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>'
        f'<text class="tick" x="{x:.1f}" y="{y + 15}" text-anchor="middle">{value:g}</text>'
    )


def _border(name: str, x: float) -> str:
    return (
        f'<line class="border" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="border" transform="translate({x + 8:.1f} {TOP}) rotate(90)">'
        f"{escape(name)}</text>"
    )


def _line(places: Sequence[Point], style: str) -> str:
    if len(places) == 1:
        x, y = places[0]
        return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="{style}" points="{path}"/>'


def smoothed(values: Sequence[float]) -> list[float]:
    """A centred running mean over a tenth of the points, narrower at both ends."""
    reach = max(1, len(values) // 20)
    found = []
    for i in range(len(values)):
        near = min(reach, i, len(values) - 1 - i)
        window = values[i - near : i + near + 1]
        found.append(sum(window) / len(window))
    return found


def _thin(points: Sequence[Point]) -> list[Point]:
    """At most `MAX_POINTS` points, each the mean of its neighbours."""
    size = math.ceil(len(points) / MAX_POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
