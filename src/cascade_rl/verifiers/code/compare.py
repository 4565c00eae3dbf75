"""Whether what a program gave is what was asked for: printed text, or a plain value.

Printed text is compared line by line; blanks and empty lines at both ends of it and blanks at
the end of a line do not count, and a line may end in CRLF. (At the start too: CodeContests has
outputs that a jury's program indented.) Numbers may differ only where the problem declares a
tolerance: "17.0" is not "17" without one.
"""

from __future__ import annotations

import re
from typing import Any

from cascade_rl.sandbox.values import encode, same
from cascade_rl.types import CallTest

_BLANKS = " \t\r\f\v"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)


def same_output(found: str, expected: str, tolerance: float | None = None) -> bool:
    """Whether two printed texts agree; with a tolerance, numbers may differ by it."""
    if found == expected:
        return True
    found_lines, expected_lines = _lines(found), _lines(expected)
    if found_lines == expected_lines:
        return True
    if tolerance is None or len(found_lines) != len(expected_lines):
        return False
    return all(
        _close_lines(a.split(), b.split(), tolerance)
        for a, b in zip(found_lines, expected_lines, strict=True)
    )


def _lines(text: str) -> list[str]:
    return [line.rstrip(_BLANKS) for line in text.strip(_BLANKS + "\n").split("\n")]


def _close_lines(found: list[str], expected: list[str], tolerance: float) -> bool:
    return len(found) == len(expected) and all(
        a == b
        or (
            _NUMBER.fullmatch(a) is not None
            and _NUMBER.fullmatch(b) is not None
            and _close(float(a), float(b), tolerance)
        )
        for a, b in zip(found, expected, strict=True)
    )


def _close(found: float, expected: float, tolerance: float) -> bool:
    """Absolute or relative error at most the tolerance; nan and infinity are close to nothing."""
    return abs(found - expected) <= tolerance * max(1.0, abs(expected)) < float("inf")


def right_value(found: Any, test: CallTest, tolerance: float | None = None) -> bool:
    """Whether a returned value is the expected one, or one of the others that are right too."""
    return any(
        same(found, expected) or (tolerance is not None and _near(found, expected, tolerance))
        for expected in (test.expected, *test.also)
    )


def _near(found: Any, expected: Any, tolerance: float) -> bool:
    """Equal but for floats, inside lists, tuples and values of dicts too."""
    if type(found) is tuple and type(expected) is list:
        found = list(found)
    if type(expected) is float and type(found) in (int, float):
        try:
            return found == expected or _close(float(found), expected, tolerance)
        except OverflowError:
            return False
    if type(found) is not type(expected):
        return False
    if type(found) in (list, tuple):
        return len(found) == len(expected) and all(
            _near(a, b, tolerance) for a, b in zip(found, expected, strict=True)
        )
    if type(found) is dict:
        return same(sorted(map(encode, found)), sorted(map(encode, expected))) and all(
            _near(value, expected[key], tolerance) for key, value in found.items()
        )
    return same(found, expected)


def short(value: Any) -> str:
    """The value as a reason shows it: its first characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer beyond the digits Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else text[:200] + "..."
