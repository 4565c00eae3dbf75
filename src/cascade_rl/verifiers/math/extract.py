"""Where the final answer is in a completion: the last box, a phrase, or the last number.

The thinking is never read. Boxes that only commas, "and" or "or" separate are one answer, a list;
otherwise the last box counts, whatever the earlier ones say. A box without its closing brace ends
where its line or its formula ends.
"""

from __future__ import annotations

import re
from typing import Literal

from cascade_rl.chat import THINK_OPEN, answer_part
from cascade_rl.verifiers.math.normalise import closing_brace, normalise

AnswerPattern = Literal["boxed", "boxed_or_phrase", "last_number"]
PATTERNS: tuple[AnswerPattern, ...] = ("boxed", "boxed_or_phrase", "last_number")

LONGEST = 50_000
"""Characters of a box that are read; a longer one is no answer."""
_TAIL = 200_000
"""Characters at the end of a completion in which the answer is looked for."""
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BETWEEN = re.compile(
    r"(?:[\s$,;.]|\\[\[\](),;:! ]|\\q?quad(?![a-z])|\\(?:text|mathrm)\s*\{\s*,?\s*(?:and|or)\s*,?"
    r"\s*\}|(?<![a-z])(?:and|or)(?![a-z])){1,60}"
)
_JOINS = re.compile(r"[,;]|and|or")
_AFTER = re.compile(r"\s*(?:\$|\\\)|\\\])?\s*(\\?%|(?:percent|percentage|pct)\b)")
_LINE_END = re.compile(r"\n|(?<!\\)\$|\\\]|\\\)|\Z")
_PHRASE = re.compile(
    r"\banswer(?:\s+to\s+[^.\n]{1,80}?)?\s*(?:is|:|=)\s*:?\s*(?:\*\*)?\s*(?=\S)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\.(?:\*\*)?(?:\s|$)|\*\*")
_LAST_NUMBER = re.compile(
    r"(?:(?<![\w.^])[-+])?(?<![\d.^])(?<!\d,)(?<!\^\{)"
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", " " * 10)


def final_answer(
    text: str, pattern: AnswerPattern = "boxed", *, percent: bool = False
) -> str | None:
    """The answer's own text; None where there is none.

    With `percent`, a percent sign directly after the box belongs to the answer.
    """
    answer = answer_part(text)
    if THINK_OPEN in answer:
        answer = answer.partition(THINK_OPEN)[0]
    answer = answer[-_TAIL:]
    if pattern == "last_number":
        return last_number(answer)
    found = boxed(answer, percent=percent)
    if found is None and pattern == "boxed_or_phrase" and not _BOX.search(answer):
        return phrase(answer)
    return found


def boxed(text: str, *, percent: bool = False) -> str | None:
    """The content of the last box, or of the list of boxes that ends the text."""
    last = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if last < 0 or (opening := _BOX.match(text, last)) is None:
        return None
    start, end = opening.end(), closing_brace(text[: opening.end() + LONGEST], opening.end())
    if end < 0:
        end = _LINE_END.search(text, start).start()  # type: ignore[union-attr]
        content = text[start : min(end, start + LONGEST + 1)]
        return content.strip() or None if len(content) <= LONGEST else None
    content = text[start:end].strip()
    if percent and "%" not in content and _AFTER.match(text, end + 1):
        content += "\\%"
    if before := _joined_before(text, last):
        contents = list(dict.fromkeys([*before, content]))
        return ", ".join(contents)
    return content or None


def _joined_before(text: str, end: int) -> list[str]:
    """Contents of the boxes before `end` that belong to the same list, in order."""
    region = text[max(0, end - 5_000) : end]
    if _BOX.search(region) is None:
        return []
    boxes = []
    position = 0
    while opening := _BOX.search(region, position):
        close = closing_brace(region, opening.end())
        if close < 0:
            position = opening.end()
            continue
        boxes.append((opening.start(), opening.end(), close))
        position = close + 1
    joined: list[str] = []
    right = len(region)
    for start, content, close in reversed(boxes):
        between = region[close + 1 : right]
        if not _BETWEEN.fullmatch(between) or not _JOINS.search(between):
            break
        joined.append(region[content:close].strip())
        right = start
    return joined[::-1]


def phrase(text: str) -> str | None:
    """What follows the last "The answer is", up to the end of its sentence."""
    found = None
    for match in _PHRASE.finditer(text):
        found = match
    if found is None:
        return None
    line = text[found.end() : found.end() + 1_000].partition("\n")[0]
    answer = _SENTENCE_END.split(line, maxsplit=1)[0]
    return answer.strip(" *:.") or None


def last_number(text: str) -> str | None:
    """The last number of a text as GSM8K's graders take it, without separators; no exponent."""
    found = None
    text = text if text.isascii() else normalise(text.translate(_RAISED))
    for match in _LAST_NUMBER.finditer(text):
        found = match
    return found[0].replace(",", "") if found else None
