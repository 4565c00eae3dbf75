"""Published numbers for the benchmarks of a run, each with its source.

The rule: they stand in tables of their own, beside what a run measured and never among it: another
model, another sampler, another judge of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import yaml


@dataclass(frozen=True, slots=True)
class Published:
    """One table of a paper. `scores` are in percent, by benchmark, one a model."""

    source: str
    protocol: str
    models: tuple[str, ...]
    scores: dict[str, tuple[float | None, ...]]


def published() -> list[Published]:
    """Every table."""
    text = files("cascade_rl.report").joinpath("published.yaml").read_text(encoding="utf-8")
    return [
        Published(
            one["source"],
            one["protocol"],
            tuple(one["models"]),
            {name: tuple(values) for name, values in one["scores"].items()},
        )
        for one in yaml.safe_load(text)
    ]


def published_for(benchmarks: Sequence[str]) -> list[Published]:
    """The tables that hold some of these benchmarks, with those rows alone."""
    found = []
    for table in published():
        kept = {name: table.scores[name] for name in benchmarks if name in table.scores}
        if kept:
            found.append(Published(table.source, table.protocol, table.models, kept))
    return found
