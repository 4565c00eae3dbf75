"""How fast requests may go out: so many requests and tokens a minute, and pauses when told.

One rule: starts are spread evenly, so no minute has more than the limit, its first one neither.
"""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MINUTE = 60.0


class Rate:
    """So many units a minute, evenly; no limit for None. Times are of the monotonic clock."""

    def __init__(self, per_minute: float | None) -> None:
        self._each = MINUTE / per_minute if per_minute else 0.0
        self._next = 0.0

    def book(self, amount: float) -> float:
        """Take `amount` units; the seconds to wait before they may be used."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + amount * self._each
        return start - now

    def correct(self, amount: float) -> None:
        """So many units more than were booked were used; fewer where it is negative."""
        self._next += amount * self._each


class Pace:
    """Both rates of one endpoint, and the pause that the endpoint asked for."""

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._requests, self._tokens = Rate(requests), Rate(tokens)
        self._resume = 0.0

    async def turn(self, tokens: float) -> None:
        """Wait until a request of about so many tokens may go out."""
        await asyncio.sleep(max(self._requests.book(1), self._tokens.book(tokens)))
        while (left := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def pause(self, seconds: float) -> None:
        """Nobody begins a request for so long."""
        self._resume = max(self._resume, time.monotonic() + seconds)

    def correct(self, tokens: float) -> None:
        """So many tokens more than a request was thought to take."""
        self._tokens.correct(tokens)


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None without one."""
    if not header:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", header):
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)
