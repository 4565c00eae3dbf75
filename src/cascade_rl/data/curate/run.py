"""Rules over a file of rows: each row is kept, or goes by the first rule that hits it.

Every rule is asked about every row of its kinds all the same, so that the report can say what
each would have dropped alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cascade_rl.data.curate.pairs import off_topic_pair
from cascade_rl.data.curate.presets import PRESETS
from cascade_rl.data.curate.rule import NOT_RECORDED, Given, kind_of_row
from cascade_rl.data.curate.rules import Chosen, choose
from cascade_rl.data.step import Step
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.types import Pair, Problem, Row

Unrecorded = Literal["keep", "drop"]


@dataclass(slots=True)
class Tally:
    """What one rule did: rows asked about, hit, dropped (hit first), and with nothing to go by."""

    asked: int = 0
    hit: int = 0
    dropped: int = 0
    not_recorded: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "asked": self.asked,
            "dropped": self.dropped,
            "would_drop_alone": self.hit,
            "not_recorded": self.not_recorded,
            "reasons": dict(sorted(self.reasons.items())),
        }


def rules_of(preset: str | None, rules: Sequence[str], given: Given) -> list[Chosen]:
    """A preset's rules, then those named; a named one replaces the preset's of its name.

    Raises ConfigError for an unknown name, and where there is no rule at all.
    """
    if preset is not None and preset not in PRESETS:
        raise ConfigError(
            f"no preset is called {preset!r}", hint=f"expected one of: {', '.join(PRESETS)}"
        )
    named = [*(PRESETS[preset].rules if preset else ()), *rules]
    if not named:
        raise ConfigError(
            "neither --rules nor --preset is given; expected one of them at least",
            hint="see what there is:  cascade data curate --list",
        )
    return choose(named, given)


def curate(
    source: Path,
    out: Path,
    chosen: Sequence[Chosen],
    *,
    parameters: dict[str, Any] | None = None,
    unrecorded: Unrecorded = "keep",
    makes_pairs: bool = False,
    seen: Callable[[int], None] = lambda rows: None,
) -> Step:
    """Write the rows that no rule hits, the others with their reasons, and the report.

    A row for which a rule has nothing to go by stays, or with `unrecorded="drop"` goes.
    `makes_pairs` turns problems with recorded off-topic rewrites into pairs first. Raises
    DataError for a file without a row.
    """
    tallies = {rule.name: Tally() for rule in chosen}
    made = 0
    with Step("curate", out, parameters or {}) as step:
        for row in step.rows(source):
            judged: Row | str = row
            if makes_pairs and not isinstance(row, Pair):
                judged = (
                    off_topic_pair(row) if isinstance(row, Problem) else "no pair: a conversation"
                )
            if isinstance(judged, str):
                step.drop(row, *_reason(judged))
            elif reason := _first_hit(judged, chosen, tallies, unrecorded):
                step.drop(row, *_reason(reason))
            else:
                made += judged is not row
                step.keep(judged)
            seen(step.read)
        if not step.read:
            raise DataError(f"{source} holds no rows; expected one at least")
        step.details["rules"] = {str(r): tallies[r.name].as_dict() for r in chosen}
        if makes_pairs:
            step.details["pairs_made"] = made
    return step


def _first_hit(
    row: Row, chosen: Sequence[Chosen], tallies: dict[str, Tally], unrecorded: Unrecorded
) -> str | None:
    """The reason of the first rule that hits; all rules are asked and counted."""
    kind, first = kind_of_row(row), None
    for each in chosen:
        if kind not in each.rule.on:
            continue
        tally = tallies[each.name]
        tally.asked += 1
        reason = each.check(row)
        if reason is not None and reason.startswith(NOT_RECORDED):
            tally.not_recorded += 1
            reason = reason if unrecorded == "drop" else None
        if reason is None:
            continue
        tally.hit += 1
        tally.reasons[_reason(reason)[0]] += 1
        if first is None:
            first = reason
            tally.dropped += 1
    return first


def _reason(said: str) -> tuple[str, str]:
    """What a rule said as a stable phrase and this row's detail.

    `not recorded` keeps what is missing, which is one of a few.
    """
    phrase, _, detail = said.partition(": ")
    return (said, "") if phrase == NOT_RECORDED else (phrase, detail)
