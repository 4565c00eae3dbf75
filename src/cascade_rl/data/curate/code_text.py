"""Code problems: a release date after which a benchmark may hold the problem.

Weak tests, special judges and interaction are not told by text alone; they are the business of
the commands that run programs.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from cascade_rl.data.curate.rule import NOT_RECORDED, Check, Given, recorded
from cascade_rl.errors import ConfigError
from cascade_rl.types import Row

DATES = ("release_date", "contest_date", "published", "date")
"""Keys of extra_info that may hold an ISO date, or a time that begins with one."""


def released_from(value: str, given: Given) -> Check:
    """Released on that day or later."""
    first = _day(value)
    if first is None:
        raise ConfigError(f"released_from={value!r}; expected a date, as in 2024-08-01")

    def check(row: Row) -> str | None:
        released = _day(recorded(row, DATES))
        if released is None:
            return f"{NOT_RECORDED}: release date"
        return f"released late: {released}" if released >= first else None

    return check


def _day(found: Any) -> date | None:
    try:
        return date.fromisoformat(str(found)[:10])
    except ValueError:
        return None
