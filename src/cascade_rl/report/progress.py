"""The cascade as one line: every benchmark and every stage's curves over the steps of all stages.

The rule: x counts the training steps of policy stages on the way to the last one, so a stage that
was evaluated midway has points inside it (Nemotron-Cascade, Figure 1). Supervised and RL steps
count alike; the borders of stages are drawn and named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cascade_rl.evaluation.ledger import Evaluated, tabulate
from cascade_rl.report.charts import Curve, Point, line_chart
from cascade_rl.store import Run, StageRecord

LENGTH = Curve("response_length/mean", "Response length over the cascade", "tokens")
ENTROPY = Curve("entropy", "Entropy over the cascade", "nats a token")


@dataclass(frozen=True, slots=True)
class Span:
    """A stage's place on the line: its steps come after `begin`."""

    record: StageRecord
    begin: int
    steps: int


def lineage(run: Run) -> list[Span]:
    """The policy stages from the start to the last finished one, each with its steps."""
    records = {record.key: record for record in run.stages()}
    done = [record for record in records.values() if record.role == "policy" and record.done]
    chain = []
    record: StageRecord | None = done[-1]
    while record is not None:
        chain.append(record)
        record = records[record.parent] if record.parent else None
    found, begin = [], 0
    for record in reversed(chain):
        events = [event for event in run.events(record) if event.get("kind") == "train"]
        steps = int(events[-1]["step"]) if events else 0
        found.append(Span(record, begin, steps))
        begin += steps
    return found


def progress_charts(run: Run, spans: Sequence[Span]) -> list[tuple[str, Markup]]:
    """One chart a benchmark, then length and entropy; those with two points or more."""
    borders = [(span.record.name, float(span.begin)) for span in spans if span.steps]
    found = []
    for name, points in benchmark_points(run, spans).items():
        if len(points) > 1:
            curve = Curve(name, name, "mean of the samples")
            found.append((name, line_chart(curve, points, borders)))
    for curve in (LENGTH, ENTROPY):
        points = curve_points(run, spans, curve.metric)
        if len(points) > 1:
            found.append((curve.title, line_chart(curve, points, borders)))
    return found


def benchmark_points(run: Run, spans: Sequence[Span]) -> dict[str, list[Point]]:
    """(steps so far, mean) of each benchmark, at stage ends and wherever it was run midway."""
    found: dict[str, list[Point]] = {}
    for span in spans:
        for benchmark, by_step in run.evaluated_steps(span.record).items():
            points = found.setdefault(benchmark, [])
            for step, evaluated in by_step.items():
                at = span.begin + (span.steps if step is None else step)
                points.append((float(at), mean_of(evaluated)))
    return {benchmark: sorted(dict(points).items()) for benchmark, points in found.items()}


def mean_of(evaluated: Evaluated) -> float:
    """avg@k, or the greedy score where nothing was sampled."""
    return float(tabulate(evaluated.samples).mean_P.mean())


def curve_points(run: Run, spans: Sequence[Span], metric: str) -> list[Point]:
    """(steps so far, value) of a training metric, over all stages that log it."""
    return [
        (float(span.begin + event["step"]), float(event[metric]))
        for span in spans
        for event in run.events(span.record)
        if event.get("kind") == "train" and _finite(event, metric)
    ]


def _finite(event: Mapping[str, Any], metric: str) -> bool:
    value = event.get(metric)
    return value is not None and math.isfinite(value)
