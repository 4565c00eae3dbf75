"""Pairs for a reward model: what is dropped, and pairs made of off-topic rewrites.

A made pair (arXiv 2512.13607 section 4.2) needs no human: rejected is what the *stronger* model
says to a slightly off-topic rewrite of the prompt, chosen what the *weaker* says to the prompt
itself. So chosen is not the better written one, only the one that answers. A judge is asked
before whether prompt and rewrite ask the same; where it says YES the pair would teach nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from cascade_rl.data.curate.rule import NOT_RECORDED, Check, Given
from cascade_rl.errors import ConfigError
from cascade_rl.types import Pair, Problem, Row

STRENGTHS = ("score", "margin", "overall_preference", "preference_strength")
"""Keys of a pair's extra_info: how much better chosen is; HelpSteer3's -3 to 3 counts unsigned."""
SCORES = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"))
OFF_TOPIC = "off_topic"
"""Key of a problem's extra_info: {"rewrite", "rejected", "chosen", "same_question", ...}."""
_VERDICT = re.compile(r"\b(YES|NO)\b", re.IGNORECASE)


def pair_tie(row: Row) -> str | None:
    """The recorded preference is 0."""
    strength = strength_of(row)
    if strength is None:
        return f"{NOT_RECORDED}: preference" if isinstance(row, Pair) else None
    return "tie: preference 0" if strength == 0 else None


def pair_margin(value: str, given: Given) -> Check:
    """The recorded preference is smaller than the value."""
    try:
        least = Fraction(value)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(
            f"pair_margin={value!r}; expected a number, as in pair_margin=1"
        ) from None

    def check(row: Row) -> str | None:
        strength = strength_of(row)
        if strength is None:
            return f"{NOT_RECORDED}: preference" if isinstance(row, Pair) else None
        return f"small margin: {strength:g}" if strength < least else None

    return check


def pair_identical(row: Row) -> str | None:
    """Chosen and rejected differ in blanks and capitals at most."""
    if not isinstance(row, Pair):
        return None
    same = row.chosen.lower().split() == row.rejected.lower().split()
    return "identical answers: up to blanks and capitals" if same else None


def pair_empty(row: Row) -> str | None:
    """Chosen or rejected has no text."""
    if not isinstance(row, Pair):
        return None
    empty = [name for name in ("chosen", "rejected") if not getattr(row, name).strip()]
    return f"empty answer: {' and '.join(empty)}" if empty else None


def strength_of(row: Row) -> float | None:
    """How strongly the pair is preferred, 0 or more; None where it is not recorded."""
    if not isinstance(row, Pair):
        return None
    for chosen, rejected in SCORES:
        good, bad = _number(row.extra.get(chosen)), _number(row.extra.get(rejected))
        if good is not None and bad is not None:
            return abs(good - bad)
    found = (_number(row.extra.get(key)) for key in STRENGTHS)
    return next((abs(number) for number in found if number is not None), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return float(value)


# --- off-topic rewrites -----------------------------------------------------------------------


def off_topic_pair(problem: Problem) -> Pair | str:
    """The pair made of a prompt's recorded rewrite and answers, or why there is none.

    Reads `extra_info.off_topic`: `rewrite` (the off-topic prompt), `rejected` (the stronger
    model's answer to it), `chosen` (the weaker model's answer to the prompt itself) and
    `same_question`, the judge's YES or NO; `strong`, `weak` and `judge`, the models' names, are
    kept. Both of App. C.1's outcomes count: only a clear NO makes a pair.
    """
    record = problem.extra.get(OFF_TOPIC)
    if not isinstance(record, Mapping):
        return f"no pair: no {OFF_TOPIC} in extra_info"
    texts = {key: record.get(key) for key in ("rewrite", "chosen", "rejected")}
    missing = [key for key, text in texts.items() if not isinstance(text, str) or not text.strip()]
    if missing:
        return f"no pair: no {' and no '.join(missing)}"
    same = same_question(record.get("same_question"))
    if same is None:
        return f"no pair, no verdict: {str(record.get('same_question'))[:80]}"
    if same:
        return "no pair, same question: the judge says YES"
    kept = {key: value for key, value in record.items() if key not in ("chosen", "rejected")}
    return Pair(
        f"{problem.id}/{OFF_TOPIC}",
        problem.prompt,
        str(texts["chosen"]),
        str(texts["rejected"]),
        problem.source,
        OFF_TOPIC,
        {OFF_TOPIC: kept},
    )


def same_question(verdict: Any) -> bool | None:
    """The judge's YES or NO, as text or bool; None where it says neither, or both."""
    if isinstance(verdict, bool):
        return verdict
    said = {word.upper() for word in _VERDICT.findall(verdict)} if isinstance(verdict, str) else ()
    return None if len(said) != 1 else said == {"YES"}
