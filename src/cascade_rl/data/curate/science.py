"""Multiple-choice answers that only go through the options (arXiv 2512.13607 section 3.2, science).

Such a response says why A is wrong and B is right and never solves the problem. The paper gives
no measure; ours: of the sentences that the response has, half and more are about an option by its
letter, and three options or more are spoken of.
"""

from __future__ import annotations

import re

from cascade_rl.chat import assistant_text
from cascade_rl.data.curate.math_text import multiple_choice
from cascade_rl.data.curate.rule import (
    NOT_RECORDED,
    answers,
    recorded_texts,
    sentences,
    shortened,
)
from cascade_rl.data.curate.vote import ATTEMPTS
from cascade_rl.types import Conversation, Row

_ABOUT_OPTION = re.compile(
    r"(?i:\b(?:options?|choices?|answers?|statements?|alternatives?))\s*[:*]{0,3}\s*\(?\**([A-J])\b"
    r"|^\W{0,6}\(?([A-J])\**\s*[).:]"
    r"|(?<!\w)\(([A-J])\)"
    r"|\b([B-J]) (?i:is|isn't|can't|cannot|looks|seems|says|would|states|describes)\b"
)
MOST = 0.5
"""Share of sentences about options from which a response only analyses them."""
OPTIONS = 3
"""Different options that must be spoken of."""


def option_analysis(row: Row) -> str | None:
    """A multiple-choice question with a response that only goes through the options."""
    if multiple_choice(row) is None:
        return None
    if isinstance(row, Conversation):
        texts = [assistant_text(turn) for turn in answers(row)]
    else:
        texts = recorded_texts(row, ATTEMPTS) or []
    if not texts:
        return f"{NOT_RECORDED}: responses"
    shares = [share_about_options(text) for text in texts]
    if min(shares) < MOST:
        return None
    return f"only analyses the options: {min(shares):.0%} of sentences"


def share_about_options(text: str) -> float:
    """The share of sentences about an option, 0 where fewer than three options are spoken of."""
    parts = sentences(shortened(text))
    found = [_ABOUT_OPTION.findall(part) for part in parts]
    letters = {letter for groups in found for group in groups for letter in group if letter}
    if len(letters) < OPTIONS:
        return 0.0
    return sum(map(bool, found)) / len(parts)
