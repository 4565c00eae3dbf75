"""Ticks of an axis, and a histogram as inline SVG.

One rule: colours are CSS variables of the page, so that one chart serves the light and the dark
page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 170
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 36
MAX_LABELS, WIDEST = 9, 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what stands under it, what hovering says it counts, and how many."""

    label: str
    what: str
    count: int


def histogram(title: str, unit: str, bars: Sequence[Bar]) -> Markup:
    """The chart; `unit` names the axis under the bars, of which there is at least one.

    Where labels would touch, every second one, third one and so on is shown.
    """
    y_ticks = [tick for tick in ticks(0, max(bar.count for bar in bars), 4) if tick == int(tick)]
    top = y_ticks[-1] or 1.0
    step = min(WIDEST, (WIDTH - LEFT - RIGHT) / len(bars))
    every = math.ceil(len(bars) / MAX_LABELS)
    label = f"{title}, {unit}: {sum(bar.count for bar in bars)} in {len(bars)} bins"
    drawn = [
        _bar(bar, LEFT + i * step, step, bar.count / top, labelled=i % every == 0)
        for i, bar in enumerate(bars)
    ]
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">'
        + "".join(_grid(tick, tick / top) for tick in y_ticks)
        + "".join(drawn)
        + f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" '
        f'text-anchor="middle">{escape(unit)}</text></svg>'
    )


def _grid(value: float, up: float) -> str:
    y = HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y + 3.2:.1f}" text-anchor="end">{short(value)}'
        "</text>"
    )


def _bar(bar: Bar, x: float, width: float, up: float, *, labelled: bool) -> str:
    height = up * (HEIGHT - TOP - BOTTOM)
    if bar.count:
        height = max(height, 1.0)  # one row of a million is still to be seen
    y = HEIGHT - BOTTOM - height
    text = (
        f'<text class="tick" x="{x + width / 2:.1f}" y="{HEIGHT - BOTTOM + 15}" '
        f'text-anchor="middle">{escape(bar.label)}</text>'
    )
    return (
        f'<g class="bar"><title>{escape(bar.what)}: {bar.count:,}</title>'
        f'<rect class="room" x="{x:.1f}" y="{TOP}" width="{width:.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/>'
        f'<rect x="{x + 0.5:.1f}" y="{y:.1f}" width="{max(width - 1, 0.5):.1f}" '
        f'height="{height:.1f}"/>{text if labelled else ""}</g>'
    )


def short(value: float) -> str:
    """A number in few characters: 950, 1.5k, 24k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.4g}"


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Round values that span [low, high], `count` or a few more; inside it when `whole`."""
    span = (high - low) or abs(high) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    if whole:
        step = max(1.0, round(step))
        first = math.ceil(low / step)
        return [i * step for i in range(first, math.floor(high / step) + 1)] or [low]
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]
