"""What an answer can be: a number with a unit, a list, an interval, an equation ..."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_rl.verifiers.math.algebra import Value


@dataclass(frozen=True, slots=True)
class Number:
    """A value with its unit ("" without); `digits` is the text of a plain decimal."""

    value: Value
    unit: str = ""
    digits: str = ""


@dataclass(frozen=True, slots=True)
class Based:
    """Digits in a base: 204_5."""

    digits: str
    base: str


@dataclass(frozen=True, slots=True)
class Words:
    """A name or a word."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Items in brackets: `()` a pair or open interval, `{}` a set, `[)` an interval ...

    "list": no brackets; "ratio": a:b; "2x2": a matrix by rows.
    """

    brackets: str
    items: tuple[Answer, ...]
    joined: str = ","


Piece = tuple[Value | None, bool, Value | None, bool]
"""Low end, whether it is in, high end, whether it is in; None is infinite."""


@dataclass(frozen=True, slots=True)
class Region:
    """Intervals of the real line that do not touch, from low to high."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """`x = 5`, `x \\in [0,1]`, `0 < x < 1`: a name and what it is."""

    name: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Equation:
    """Two sides of which neither is a mere name: their difference is zero."""

    difference: Value


Answer = Number | Based | Words | Group | Region | Named | Equation
