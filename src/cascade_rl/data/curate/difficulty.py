"""Difficulty from recorded pass rates: too easy, never solved, or a level of 0 to 8.

A rate is a share, so `6/16` also judges a row of 8 attempts (3 of 8 stays, 4 of 8 goes). One
surprise: a row may hold the rates of several models. Rules ask the latest, our own before a
published one; `solved_from=8/8@NAME` asks the models whose name contains NAME. Only `never_solved`
asks all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from cascade_rl.data.curate.math_text import whole
from cascade_rl.data.curate.rule import NOT_RECORDED, Check, Given
from cascade_rl.data.pass_rate import PassRate, pass_rates
from cascade_rl.errors import ConfigError
from cascade_rl.types import Problem, Row

MISSING = f"{NOT_RECORDED}: pass rate"
LEVELS = 8
"""Attempts of which the code levels count the failures."""


# --- rules ------------------------------------------------------------------------------------


def solved_from(value: str, given: Given) -> Check:
    """The share is the value or more."""
    limit, model = _limit(value, "solved_from")
    return lambda row: _judged(row, model, lambda rate: rate.share >= limit)


def solved_above(value: str, given: Given) -> Check:
    """The share is more than the value."""
    limit, model = _limit(value, "solved_above")
    return lambda row: _judged(row, model, lambda rate: rate.share > limit)


def never_solved(value: str, given: Given) -> Check:
    """No attempt of any model was right; `value` names the model to ask, or `any`."""
    model = "" if value == "any" else value

    def check(row: Row) -> str | None:
        rates = _rates(row, model)
        if rates is None:
            return None
        if not rates:
            return MISSING
        best = max(rates, key=lambda rate: rate.share)
        return f"never solved: {best}" if best.share == 0 else None

    return check


def level_above(value: str, given: Given) -> Check:
    """The level, failures of 8 attempts, is above the value."""
    number, _, model = value.partition("@")
    highest = whole(number, "level_above")

    def check(row: Row) -> str | None:
        rates = _rates(row, model)
        if rates is None:
            return None
        levels = [level for rate in rates if (level := level_of(rate)) is not None]
        if not levels:
            return f"{MISSING} of {LEVELS} attempts"
        return f"level: {levels[0]}" if levels[0] > highest else None

    return check


def level_of(rate: PassRate) -> int | None:
    """0 (always solved) to 8 (never): failures of 8; None for another number of attempts."""
    failures = LEVELS * (1 - rate.share)
    if rate.total not in (0, LEVELS) or failures.denominator != 1:
        return None
    return int(failures)


def _judged(row: Row, model: str, easy: Callable[[PassRate], bool]) -> str | None:
    rates = _rates(row, model)
    if rates is None:
        return None
    if not rates:
        return MISSING
    return f"too easy: {rates[0]}" if easy(rates[0]) else None


def _rates(row: Row, model: str) -> list[PassRate] | None:
    """The rates of a problem by models of that name; None for a row that has none by nature."""
    if not isinstance(row, Problem):
        return None
    return [rate for rate in pass_rates(row.extra) if model.lower() in rate.model.lower()]


_LIMIT = re.compile(r"(\d+)/(\d+)|(\d+(?:\.\d+)?)%|([01](?:\.\d+)?)")


def _limit(value: str, rule: str) -> tuple[Fraction, str]:
    """`6/16`, `75%` or `0.75`, perhaps with `@MODEL`."""
    number, _, model = value.partition("@")
    found = _LIMIT.fullmatch(number)
    if found is None or (found[2] and int(found[2]) == 0):
        raise ConfigError(f"{rule}={value!r}; expected a share: 6/16, 75% or 0.75")
    if found[1]:
        share = Fraction(int(found[1]), int(found[2]))
    else:
        share = Fraction(found[3]) / 100 if found[3] else Fraction(found[4])
    if share > 1:
        raise ConfigError(f"{rule}={value!r}; expected a share of at most 1, as 6/16 is")
    return share, model
