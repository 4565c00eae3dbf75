"""Difficulty from recorded pass rates: too easy, never solved, or a level of 0 to 8.

A rate is a share, so `6/16` also judges a row of 8 attempts (3 of 8 stays, 4 of 8 goes). One
surprise: a row may hold the rates of several models. Rules ask the latest, our own before a
published one; `solved_from=8/8@NAME` asks the models whose name contains NAME. Only `never_solved`
asks all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cascade_rl.data.curate.math_text import whole
from cascade_rl.data.curate.rule import NOT_RECORDED, Check, Given
from cascade_rl.errors import ConfigError
from cascade_rl.types import Problem, Row

RATES = ("pass_rate", "pass_rates")
"""What `cascade data passrate` stores: {"correct", "total", "model"}, and a list of older ones."""
MISSING = f"{NOT_RECORDED}: pass rate"
LEVELS = 8
"""Attempts of which the code levels count the failures."""


@dataclass(frozen=True, slots=True)
class PassRate:
    """A share of attempts that were right; `total` is 0 where only the share was recorded."""

    share: Fraction
    total: int = 0
    model: str = ""

    def __str__(self) -> str:
        """`12 of 16`, or the share."""
        return f"{self.share * self.total} of {self.total}" if self.total else f"{self.share}"


def pass_rates(extra: Mapping[str, Any]) -> list[PassRate]:
    """Every readable rate in a row's extra_info, the latest first and those published last.

    Dolci's columns are `passrate`, and `total_correct_rollouts` of `total_rollouts`.
    """
    found: list[PassRate | None] = []
    for key in RATES:
        values = extra.get(key)
        values = values if isinstance(values, list) else [values]
        found += [_rate(value) for value in reversed(values)]
    total, correct = extra.get("total_rollouts"), extra.get("total_correct_rollouts")
    published = _counted(correct, total, "") or _share(extra.get("passrate"))
    return [rate for rate in (*found, published) if rate is not None]


def _rate(value: Any) -> PassRate | None:
    if isinstance(value, Mapping):
        model = str(value.get("model") or "")
        return _counted(value.get("correct"), value.get("total"), model)
    return _share(value)


def _counted(correct: Any, total: Any, model: str) -> PassRate | None:
    """Counts may come as 3 or as 3.0, which Parquet makes of a column with gaps."""
    if not all(isinstance(n, int | float) and float(n).is_integer() for n in (correct, total)):
        return None
    if not 0 <= correct <= total or total == 0:
        return None
    return PassRate(Fraction(int(correct), int(total)), int(total), model)


def _share(value: Any) -> PassRate | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return PassRate(Fraction(value).limit_denominator(1024))


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
