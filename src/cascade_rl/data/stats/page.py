"""What `cascade data stats` found, as one HTML page with histograms.

One rule: every name, path and reason comes from data that anybody wrote, so the template escapes
all of it; only the SVG drawn here is markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from cascade_rl.data.files import replacing
from cascade_rl.data.stats.counts import RATE_NAMES, REFERENCES, TEXTS, Stats, summary
from cascade_rl.data.stats.measures import Bin, Measure
from cascade_rl.pages import environment
from cascade_rl.pages.charts import Bar, histogram, short

NAMES_SHOWN = 20
"""Names of a tally on the page; the rest is one line."""


@dataclass(frozen=True, slots=True)
class Share:
    """A name, its rows, and their part of all in percent."""

    name: str
    count: int
    percent: float


def write_page(path: Path, stats: Stats) -> None:
    """Write the page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page(stats), encoding="utf-8", errors="backslashreplace")


def page(stats: Stats) -> str:
    """The page as HTML. Distributions of texts are drawn in their best unit: tokens, or words."""
    found = stats.as_dict()
    best = "tokens" if "tokens" in stats.units else "words"
    drawn = [(m, f"{w} · {of}", unit) for w, of, unit, m in stats.ordered()
             if unit == best or w in REFERENCES]  # fmt: skip
    texts = len([1 for what, _, unit, _ in stats.ordered() if what in TEXTS and unit == best])
    charts = [(title, _chart(title, unit, measure)) for measure, title, unit in drawn]
    return (
        environment("cascade_rl.data.stats")
        .get_template("page.html")
        .render(
            found=found,
            tallies={name: shares(counts) for name, counts in found["counts"].items()},
            lengths=[(what, of, unit, summary(m)) for what, of, unit, m in stats.ordered()],
            text_charts=charts[:texts],
            reference_charts=charts[texts:],
            rate_chart=_rates(stats),
            dropped=sum(sum(drops.dropped.values()) for drops in stats.drops),
        )
    )


def shares(counts: dict[str, int]) -> list[Share]:
    """The most frequent names with their part of all; what is left over is named as such."""
    total = sum(counts.values())
    named = list(counts.items())
    left = named[NAMES_SHOWN:]
    if left:
        rest = sum(count for _, count in left)
        named = [*named[:NAMES_SHOWN], (f"({len(left)} more)", rest)]
    return [Share(name, count, 100 * count / total) for name, count in named]


def _chart(title: str, unit: str, measure: Measure) -> Markup:
    return histogram(title, unit, [_bar(found, unit) for found in measure.bins()])


def _bar(found: Bin, unit: str) -> Bar:
    span = f"{found.low:,}" if found.low == found.high else f"{found.low:,} to {found.high:,}"
    return Bar(short(found.low), f"{span} {unit}", found.count)


def _rates(stats: Stats) -> Markup | None:
    """Pass rates; None where no row records one."""
    if not stats.pass_rates:
        return None
    bars = [Bar(_rate_label(name), f"pass rate {name}", stats.pass_rates[i])
            for i, name in enumerate(RATE_NAMES)]  # fmt: skip
    return histogram("Pass rate", "share of attempts that were right", bars)


def _rate_label(name: str) -> str:
    return name.partition(" ")[0]
