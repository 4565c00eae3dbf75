"""Answers as parts of the real line, so that (1,2], 1 < x <= 2 and "x > 1 and x <= 2" are one."""

from __future__ import annotations

import itertools

from cascade_rl.verifiers.math import algebra
from cascade_rl.verifiers.math.algebra import Unreadable, Value
from cascade_rl.verifiers.math.shapes import Answer, Group, Named, Number, Piece, Region, Words


def region_of(answer: Answer) -> Region | None:
    """The answer as a part of the real line; None where it is none."""
    match answer:
        case Region():
            return answer
        case Named(_, Region() as region):
            return region
        case Group("{}", items) if items and all(isinstance(item, Number) for item in items):
            points = [item.value for item in items if isinstance(item, Number)]
            return ordered([(point, True, point, True) for point in points])
        case Group("()" | "[]" | "(]" | "[)", (low, high)):
            return _interval(answer.brackets, low, high)
        case Group("list", items, "or"):
            regions = [region_of(item) for item in items]
            if all(regions):
                return ordered([piece for region in regions if region for piece in region.pieces])
        case Group("list", (Named(one, Region(a)), Named(other, Region(b))), "and"):
            return _both(a, b) if one == other else None
    return None


def _interval(brackets: str, low: Answer, high: Answer) -> Region | None:
    ends: list[Value | None] = []
    for end, infinite in ((low, "-infinity"), (high, "+infinity")):
        if isinstance(end, Number) and not end.unit:
            ends.append(end.value)
        elif end == Words(infinite):
            ends.append(None)
        else:
            return None
    try:
        return ordered([(ends[0], brackets[0] == "[", ends[1], brackets[1] == "]")])
    except Unreadable:  # (8,-2) is a point
        return None


def _both(
    a: tuple[Piece, ...],
    b: tuple[Piece, ...],
) -> Region | None:
    """The points of both, for a half line that goes up and one that goes down."""
    if len(a) != 1 or len(b) != 1:
        return None
    up, down = (a[0], b[0]) if a[0][2] is None else (b[0], a[0])
    if up[2] is not None or down[0] is not None:
        return None
    return ordered([(up[0], up[1], down[2], down[3])])


def ordered(
    pieces: list[Piece],
) -> Region:
    """A region of pieces that do not touch. Raises Unreadable for ends that are no real numbers."""
    keyed = []
    for low, low_closed, high, high_closed in pieces:
        start = float("-inf") if low is None else algebra.as_float(low)
        end = float("inf") if high is None else algebra.as_float(high)
        if start is None or end is None or start > end:
            raise Unreadable
        piece = (low, low_closed and low is not None, high, high_closed and high is not None)
        keyed.append((start, end, piece))
    keyed.sort(key=lambda entry: entry[:2])
    for before, after in itertools.pairwise(keyed):
        touching = abs(before[1] - after[0]) < 1e-9 and (before[2][3] or after[2][1])
        if before[1] > after[0] + 1e-9 or touching:
            raise Unreadable
    return Region(tuple(piece for _, _, piece in keyed))
