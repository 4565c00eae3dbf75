"""What the report says, gathered from a run directory and put into the template.

One rule: everything a model wrote is text. The template escapes all of it; only the SVG drawn
here is markup.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from cascade_rl.evaluation.ledger import Ledger, build_ledger, forgotten
from cascade_rl.pages import environment
from cascade_rl.report.answers import answer_tables, part_tables
from cascade_rl.report.charts import CURVES, line_chart
from cascade_rl.report.graph import picture
from cascade_rl.report.heatmap import heat_map
from cascade_rl.report.progress import lineage, progress_charts
from cascade_rl.report.published import published_for
from cascade_rl.store import Run, StageRecord

MAX_DROP = 0.1
"""A benchmark wholly this far under its best is flagged as forgotten."""
GROUPS_SHOWN, COMPLETIONS_SHOWN = 4, 4
"""Rollouts of a stage: problems of its last stored step, and completions of each."""


@dataclass(frozen=True, slots=True)
class StagePart:
    """One stage's curves and rollouts."""

    record: StageRecord
    seconds: float
    steps: int
    charts: tuple[tuple[str, Markup], ...]
    rollout_step: int | None
    groups: tuple[Mapping[str, Any], ...]


def page(run: Run) -> str:
    """The whole page as HTML."""
    templates = environment("cascade_rl.report")
    templates.filters["duration"] = duration
    records = run.stages()
    parts = [_part(run, record) for record in records[1:]]
    ledger = build_ledger(run.scores())
    notes = {p.record.key: _note(p) for p in parts} | {
        records[0].key: Path(run.plan()["start"]["source"]).name
    }
    config = yaml.safe_load(run.config_yaml)
    spans = lineage(run)
    modes = {one["name"]: one.get("mode") for one in config.get("benchmarks", [])}
    return templates.get_template("template.html").render(
        name=config["name"],
        digest=run.plan()["digest"],
        done=sum(record.done for record in records[1:]),
        total=len(records) - 1,
        seconds=sum(part.seconds for part in parts),
        written=time.strftime("%Y-%m-%d %H:%M"),
        picture=picture(records, notes),
        headline=headline(ledger),
        heat=heat_map(ledger, forgotten(ledger, MAX_DROP)),
        max_drop=MAX_DROP,
        progress=progress_charts(run, spans),
        answers=answer_tables(run, spans, modes),
        part_tables=part_tables(run, spans),
        published=published_for(list(modes)),
        parts=parts,
        records=records,
        config=run.config_yaml,
        looks=run.looks(),
    )


def headline(ledger: Ledger) -> list[tuple[str, float, float]]:
    """Each benchmark's mean for the start model and for the last stage that has it."""
    found = []
    for benchmark in dict.fromkeys(b for row in ledger["stages"] for b in row["scores"]):
        means = [
            r["scores"][benchmark]["mean"] for r in ledger["stages"] if benchmark in r["scores"]
        ]
        found.append((benchmark, means[0], means[-1]))
    return found


def _note(part: StagePart) -> str:
    if not part.steps:
        return "not started"
    minutes, seconds = divmod(round(part.seconds), 60)
    return f"{part.steps} steps · {minutes}:{seconds:02}"


def _part(run: Run, record: StageRecord) -> StagePart:
    events = [event for event in run.events(record) if event.get("kind") == "train"]
    stored = run.rollout_steps(record)
    return StagePart(
        record=record,
        seconds=_seconds(events),
        steps=events[-1]["step"] if events else 0,
        charts=_charts(record.kind, events),
        rollout_step=stored[-1] if stored else None,
        groups=_groups(run.rollouts(record, stored[-1])) if stored else (),
    )


def _seconds(events: Sequence[Mapping[str, Any]]) -> float:
    """Time spent in steps, as each step measured it: breaks between two runs do not count."""
    parts = [(key, value) for event in events for key, value in event.items()]
    return math.fsum(float(value) for key, value in parts if key.startswith("seconds/"))


def _charts(kind: str, events: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, Markup], ...]:
    """A chart for each metric of this kind of stage that was logged."""
    found = []
    for curve in CURVES[kind]:
        points = [
            (float(event["step"]), float(value))
            for event in events
            if (value := event.get(curve.metric)) is not None and math.isfinite(value)
        ]
        if points:
            found.append((curve.title, line_chart(curve, points)))
    return tuple(found)


def _groups(rows: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """A step's groups, those whose rewards differ before the others."""
    groups: list[list[Mapping[str, Any]]] = []
    for row in rows:
        if row["sample"] == 0:
            groups.append([])
        groups[-1].append(row)
    groups.sort(key=lambda group: len({row["reward"] for row in group}) == 1)
    return tuple(
        {
            "prompt": _transcript(json.loads(group[0]["prompt"])),
            "mode": group[0]["mode"],
            "completions": group[:COMPLETIONS_SHOWN],
            "of": len(group),
        }
        for group in groups[:GROUPS_SHOWN]
    )


def _transcript(messages: Sequence[Mapping[str, Any]]) -> str:
    """The turns of a prompt; a single one without its role."""
    if len(messages) == 1:
        return str(messages[0]["content"])
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 7 s`, `2 h 15 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
