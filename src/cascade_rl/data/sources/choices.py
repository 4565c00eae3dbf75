"""Questions with options: MMLU, MMLU-Pro and GPQA; the answer is a letter.

Two rules. The options are part of the prompt, under letters from A, and stand in
`extra_info.options` too, for the verifier `choice`. And GPQA's, whose right one comes first in the
file, are shuffled by a seed that is the row's own, so that every reader sees one order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from cascade_rl.data.fields import shown
from cascade_rl.data.sources.common import Raw, items_of, maybe_text, problem, prompt_of, text_of
from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError
from cascade_rl.types import Answer, Problem

ASKED = (
    'Reason step by step, and end with the line "The answer is (X)", where X is the letter of the '
    "right option."
)
SEED = 0
"""Of GPQA's order; raise it and every row has another."""
NO_OPTION = "N/A"
"""How MMLU-Pro fills up options that are not there."""


def mmlu(raw: Raw, source: str) -> Problem:
    """`question`, `choices` (or A to D), and `answer`, the right one's place from 0 or letter."""
    given = raw.get("choices")
    options = items_of(given, "choices") if given is not None else [raw.get(x) for x in "ABCD"]
    return _question(raw, source, text_of(raw, "question"), options, raw.get("answer"))


def mmlu_pro(raw: Raw, source: str) -> Problem:
    """`question`, up to ten `options`, `answer` as a letter and `answer_index` from 0."""
    options = items_of(raw.get("options"), "options")
    while options and options[-1] == NO_OPTION:
        options.pop()
    letter, place = raw.get("answer"), raw.get("answer_index")
    if place is not None and letter is not None and _letter(place, len(options)) != letter:
        raise DataError(f"answer is {shown(letter)} and answer_index {shown(place)}: not the same")
    subject = maybe_text(raw, "category")
    found = place if letter is None else letter
    return _question(raw, source, text_of(raw, "question"), options, found, subject=subject)


def gpqa(raw: Raw, source: str) -> Problem:
    """`Question`, `Correct Answer` and three `Incorrect Answer`s, in the row's own order."""
    question, correct = text_of(raw, "Question").strip(), text_of(raw, "Correct Answer").strip()
    others = [text_of(raw, f"Incorrect Answer {n}").strip() for n in (1, 2, 3)]
    name = maybe_text(raw, "Record ID")
    order = random.Random(digest_json(["gpqa", SEED, name or question])).sample(range(4), 4)
    options = [(correct, *others)[place] for place in order]
    subject = maybe_text(raw, "Subdomain", "High-level domain")
    return _question(
        raw, source, question, options, order.index(0), subject=subject, source_id=name
    )


def _question(
    raw: Raw,
    source: str,
    question: str,
    options: Sequence[Any],
    answer: Any,
    *,
    subject: str = "",
    source_id: str = "",
) -> Problem:
    if not 2 <= len(options) <= len(ascii_uppercase):
        raise DataError(f"{len(options)} options; expected 2 to {len(ascii_uppercase)}")
    if any(option is None for option in options):
        raise DataError("an option is missing; expected text")
    texts = [str(option).strip() for option in options]
    letter = _letter(answer, len(texts))
    lines = "\n".join(f"{ascii_uppercase[n]}. {text}" for n, text in enumerate(texts))
    prompt = prompt_of(f"{question.strip()}\n\n{lines}\n\n{ASKED}", "question")
    known = {"subject": subject, "source_id": source_id}
    extra = {key: value for key, value in known.items() if value} | {"options": texts}
    return problem(raw, source, "math", prompt, Answer(letter), extra)


def _letter(answer: Any, count: int) -> str:
    """The letter of a place from 0, or of a letter; both also as text."""
    if isinstance(answer, str) and answer.strip().isdecimal() and len(answer.strip()) < 3:
        answer = int(answer)
    if isinstance(answer, str) and len(answer.strip()) == 1:
        answer = ascii_uppercase.find(answer.strip().upper())
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < count:
        last = ascii_uppercase[count - 1]
        raise DataError(f"answer is {shown(answer)}; expected A to {last}, or 0 to {count - 1}")
    return ascii_uppercase[answer]
