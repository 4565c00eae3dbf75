"""The cascade as a picture: policies in a row, reward models and judges under their readers.

One rule: an edge is drawn where weights or scores really flow, as the plan says, so a branch
or a skipped stage looks like one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cascade_rl.store import StageRecord

BOX_WIDTH, BOX_HEIGHT, GAP = 122, 74, 28
TOP, LANE = 14, 120
"""Pixels above the policies, and from their top to that of the scorers."""
KINDS = {"start": "start model", "reward_model": "reward model", "rl": "RL", "sft": "SFT"}
FITTING = {"what": 18, "name": 11, "note": 18, "key": 16}
"""Characters of each line that a box has room for."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a stage is drawn, and what its box says."""

    record: StageRecord
    x: float
    y: float
    note: str


def picture(records: Sequence[StageRecord], notes: Mapping[str, str]) -> Markup:
    """The graph as SVG; `notes` holds a line for each key, such as steps and time."""
    boxes = _place(records, notes)
    start = records[0].key
    edges = []
    for record in records[1:]:
        mine = boxes[record.key]
        edges.append(_edge(boxes[record.parent or start], mine, "weights"))
        edges += [_edge(boxes[key], mine, "scores") for key in record.inputs.values()]
    width = max(box.x for box in boxes.values()) + BOX_WIDTH + 14
    height = max(box.y for box in boxes.values()) + BOX_HEIGHT + 14
    return Markup(
        f'<svg class="graph" viewBox="0 0 {width} {height}" '
        f'style="max-width: {width}px; min-width: {round(0.7 * width)}px" '
        'role="img" aria-label="the stages of this cascade">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
        + "".join(edges)
        + "".join(map(_box, boxes.values()))
        + "</svg>"
    )


def _place(records: Sequence[StageRecord], notes: Mapping[str, str]) -> dict[str, Box]:
    """Policies left to right; a scorer stands under the gap before its first reader."""
    policies = [r for r in records if r.role == "policy"]
    step = BOX_WIDTH + GAP
    boxes = {
        r.key: Box(r, 14 + i * step, TOP, notes.get(r.key, "")) for i, r in enumerate(policies)
    }
    taken = 14.0 - step
    for scorer in (r for r in records if r.role != "policy"):
        readers = [boxes[r.key].x for r in policies if scorer.key in r.inputs.values()]
        wanted = min(readers) - step / 2 if readers else taken + step
        taken = max(wanted, taken + step)
        boxes[scorer.key] = Box(scorer, taken, TOP + LANE, notes.get(scorer.key, ""))
    return boxes


def _edge(start: Box, end: Box, kind: str) -> str:
    """A straight line between neighbours, else a curve from one box to the other."""
    title = f"<title>{escape(start.record.name)} → {escape(end.record.name)}: {kind}</title>"
    if start.y == end.y and end.x - start.x < 2 * BOX_WIDTH:
        y = start.y + BOX_HEIGHT / 2
        path = f"M{start.x + BOX_WIDTH} {y}H{end.x - 2}"
    elif start.y == end.y:
        x1, x2, y = start.x + BOX_WIDTH / 2, end.x + BOX_WIDTH / 2, start.y + BOX_HEIGHT
        path = f"M{x1} {y}C{x1} {y + 40} {x2} {y + 40} {x2} {y + 2}"
    elif start.y < end.y:
        x1, x2 = start.x + BOX_WIDTH * 0.75, end.x + BOX_WIDTH * 0.3
        y1, y2 = start.y + BOX_HEIGHT, end.y - 2
        path = f"M{x1} {y1}C{x1} {y1 + 26} {x2} {y2 - 26} {x2} {y2}"
    else:
        x1, x2 = start.x + BOX_WIDTH * 0.7, end.x + BOX_WIDTH * 0.5
        y1, y2 = start.y, end.y + BOX_HEIGHT + 2
        path = f"M{x1} {y1}C{x1} {y1 - 26} {x2} {y2 + 26} {x2} {y2}"
    return f'<path class="edge {kind}" d="{path}" marker-end="url(#arrow)">{title}</path>'


def _box(box: Box) -> str:
    record = box.record
    state = "done" if record.done else "open"
    what = "judge" if record.role == "judge" else KINDS[record.kind]
    lines = (("what", 17, what), ("name", 37, record.name), ("note", 52, box.note),
             ("key", 65, record.key[:12]))  # fmt: skip
    return (
        f'<g class="box {record.role} {state}" transform="translate({box.x} {box.y})">'
        f"<title>{escape(record.name)}, key {escape(record.key)}</title>"
        f'<rect width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="9"/>'
        + "".join(_text(style, y, text) for style, y, text in lines)
        + "</g>"
    )


def _text(style: str, y: int, text: str) -> str:
    """A line in a box, squeezed where it is too long for it."""
    squeeze = f' textLength="{BOX_WIDTH - 22}" lengthAdjust="spacingAndGlyphs"'
    fits = len(text) <= FITTING[style]
    return f'<text class="{style}" x="11" y="{y}"{"" if fits else squeeze}>{escape(text)}</text>'
