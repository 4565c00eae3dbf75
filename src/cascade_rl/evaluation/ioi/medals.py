"""Medals: the least score of each, of the whole contest.

The defaults are IOI 2025's (arXiv 2512.13607, section 5.1), where six problems of 100 points each
were set; a score of anything else is compared with them all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cascade_rl.errors import ConfigError

Medal = Literal["gold", "silver", "bronze"]
DIGITS = 2
"""Scores are rounded to hundredths, as the olympiad publishes them."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least score of each medal. Raises ConfigError where they do not rise."""

    bronze: float = 252.00
    silver: float = 338.01
    gold: float = 438.30

    def __post_init__(self) -> None:
        if not 0 <= self.bronze <= self.silver <= self.gold < float("inf"):
            raise ConfigError(
                f"the thresholds are {self.bronze:g}, {self.silver:g} and {self.gold:g}; "
                "expected bronze, silver and gold in rising order",
                hint="IOI 2025's:  --thresholds 252.00,338.01,438.30",
            )

    def medal(self, score: float) -> Medal | None:
        """The best medal that a score reaches; None below bronze."""
        if score >= self.gold:
            return "gold"
        if score >= self.silver:
            return "silver"
        return "bronze" if score >= self.bronze else None


def parse_thresholds(text: str) -> Thresholds:
    """`bronze,silver,gold` as numbers. Raises ConfigError for anything else."""
    try:
        bronze, silver, gold = map(float, text.split(","))
    except ValueError:
        raise ConfigError(
            f"--thresholds is {text!r}; expected three numbers: bronze, silver, gold",
            hint="IOI 2025's:  --thresholds 252.00,338.01,438.30",
        ) from None
    return Thresholds(bronze, silver, gold)
