"""Length of recorded responses: too short to have needed reasoning, or too long for a stage.

A row has one length. Of a conversation it is its longest assistant turn, thought included. Of a
problem it is the median of its recorded responses, the lower one of an even number, by recorded
counts (`response_tokens`) or else by their texts.
"""

from __future__ import annotations

import statistics
from typing import Any

from cascade_rl.chat import assistant_text
from cascade_rl.data.curate.math_text import whole
from cascade_rl.data.curate.rule import (
    NOT_RECORDED,
    Check,
    Given,
    Tokens,
    answers,
    question,
    recorded,
    recorded_texts,
)
from cascade_rl.data.curate.vote import ATTEMPTS
from cascade_rl.digests import digest_text
from cascade_rl.errors import ConfigError
from cascade_rl.types import Conversation, Row

COUNTS = ("response_tokens",)
MISSING = f"{NOT_RECORDED}: responses"
_DRAWS = 1 << 32


def response_short(value: str, given: Given) -> Check:
    """Fewer tokens than the value."""
    least = whole(value, "response_short")

    def check(row: Row) -> str | None:
        length = length_of(row, given.tokens)
        if length is None:
            return MISSING
        return f"short response: {length} tokens" if length < least else None

    return check


def response_long(value: str, given: Given) -> Check:
    """More tokens than the value."""
    most = whole(value, "response_long")

    def check(row: Row) -> str | None:
        length = length_of(row, given.tokens)
        if length is None:
            return MISSING
        return f"long response: {length} tokens" if length > most else None

    return check


def response_thinned(value: str, given: Given) -> Check:
    """`2000-4000@50%`: of lengths from 2,000 to below 4,000 half is kept, drawn by the question."""
    limits, _, share = value.partition("@")
    low, _, high = limits.partition("-")
    if not (low.isdecimal() and high.isdecimal() and share.rstrip("%").isdecimal()):
        raise ConfigError(f"response_thinned={value!r}; expected as in 2000-4000@50%")
    least, most, kept = int(low), int(high), int(share.rstrip("%"))

    def check(row: Row) -> str | None:
        length = length_of(row, given.tokens)
        if length is None:
            return MISSING
        if not least <= length < most or drawn(row, given.seed) * 100 < kept * _DRAWS:
            return None
        return f"thinned out: {length} tokens"

    return check


def drawn(row: Row, seed: int) -> int:
    """A number below 2**32 that the seed and the question decide: order and files do not."""
    return int(digest_text(str(seed), question(row))[:8], 16)


def length_of(row: Row, tokens: Tokens) -> int | None:
    """The row's length in tokens; None where no response is recorded."""
    if isinstance(row, Conversation):
        return max(tokens(assistant_text(turn)) for turn in answers(row))
    lengths = _counts(recorded(row, COUNTS))
    if not lengths:
        lengths = [tokens(text) for text in recorded_texts(row, ATTEMPTS) or () if text]
    return statistics.median_low(lengths) if lengths else None


def _counts(found: Any) -> list[int]:
    values = found if isinstance(found, list) else [found]
    return [int(n) for n in values if isinstance(n, int | float) and n == n and n >= 0]
