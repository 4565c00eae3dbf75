"""IFBench's instructions on layout, sentences and repetition, as its checkers decide them.

The second half of `ifbench`, with the same rule: decided as upstream, closed for training in
`guards`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from cascade_rl.verifiers.instructions.arguments import Arguments, BadArguments, Check, Test, plain
from cascade_rl.verifiers.instructions.lists import is_emoji
from cascade_rl.verifiers.instructions.text import (
    EDGES,
    PUNCTUATION,
    sentences,
    tokens,
    without_punctuation,
)

# --- sentences --------------------------------------------------------------------------------


def alliterations(answer: str) -> list[int]:
    """For each sentence, how many words stand in runs that share their first letter."""
    found = []
    for sentence in sentences(answer):
        stripped = (word.lstrip(EDGES) for word in sentence.lower().split())
        same = [one[0] == two[0] for one, two in pairwise([word for word in stripped if word])]
        starts = sum(now and not before for before, now in pairwise([False, *same]))
        found.append(sum(same) + starts)
    return found


def _alliteration_increment(answer: str) -> bool:
    return all(one < two for one, two in pairwise([-1, *alliterations(answer)]))


def _sentence_keyword(arguments: Arguments) -> Test:
    pattern = re.compile(rf"\b{re.escape(arguments.text('word'))}\b", re.IGNORECASE)
    nth = arguments.integer("N", 1)

    def test(answer: str) -> bool:
        found = sentences(answer)
        return len(found) >= nth and pattern.search(found[nth - 1]) is not None

    return test


def _increment(arguments: Arguments) -> Test:
    step = arguments.integer("small_n")

    def test(answer: str) -> bool:
        counts = [len(without_punctuation(s).split()) for s in sentences(answer)]
        return bool(counts) and all(two == one + step for one, two in pairwise(counts))

    return test


# --- format -----------------------------------------------------------------------------------

_PAIRS = {")": "(", "]": "[", "}": "{"}


def _parentheses(answer: str) -> bool:
    open_now: list[str] = []
    deepest = 0
    for char in re.findall(r"[()\[\]{}]", answer):
        if char in "([{":
            open_now.append(char)
            deepest = max(deepest, len(open_now))
        elif open_now and open_now[-1] == _PAIRS[char]:
            open_now.pop()
            if deepest >= 5:
                return True
        else:
            open_now, deepest = [], 0
    return False


def _quotes(answer: str) -> bool:
    open_now: list[str] = []
    deepest = 0
    for char in re.findall("[\"']", answer):
        if open_now and char == open_now[-1]:
            open_now.pop()
            if deepest - len(open_now) >= 3:
                return True
        else:
            open_now.append(char)
            deepest = max(deepest, len(open_now))
    return False


def _options(arguments: Arguments) -> Test:
    given = arguments.text("options")
    separator = next((mark for mark in ("/", "or") if mark in given), ",")
    choices = [choice.strip() for choice in given.split(separator)]
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", given):
        return lambda answer: answer in choices
    bare = [choice.strip(EDGES).lower() for choice in choices]
    return lambda answer: answer.strip(EDGES).lower() in bare


def _newline(answer: str) -> bool:
    bare = without_punctuation(answer).strip()
    return sum(line != "" for line in bare.split("\n")) == len(bare.split())


def _emoji(answer: str) -> bool:
    found = [without_punctuation(sentence).strip() for sentence in sentences(answer)]
    for sentence, following in pairwise([*found, ""]):
        if not sentence:
            return False
        at_end = is_emoji(sentence[-1]) or is_emoji(sentence[-2:-1])
        if not at_end and not is_emoji(following[:1]):
            return False
    return True


def _line_indent(answer: str) -> bool:
    lines = answer.split("\n")
    if len(lines) > 2000:
        lines = [line for line in lines if line.strip()]
    for line in lines:  # as upstream: what follows a removed line is not looked at
        if not line.strip():
            lines.remove(line)
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(one < two for one, two in pairwise(indents))


def _quote_unquote(answer: str) -> bool:
    text = "".join(answer.replace("'\"'", "").split())
    stripped = text.strip("0123456789" + PUNCTUATION.replace('"', ""))
    return '""' not in text and not stripped.endswith('"')


def _list(arguments: Arguments) -> Test:
    marker = arguments.text("sep")
    return lambda answer: answer.count(marker) >= 2


def _thesis(answer: str) -> bool:
    start = next((i for tag in ("<i>", "<em>") if (i := answer.find(tag)) >= 0), -1)
    if start < 0:
        return False
    rest = answer[start:]
    end = next((i for tag in ("</i>", "</em>") if (i := rest.find(tag)) >= 0), -1)
    return end >= 0 and rest[3:end].strip() != "" and rest[end + 4 :].strip() != ""


def _sub_bullets(answer: str) -> bool:
    return all("-" in bullet for bullet in answer.split("*")[1:])


def _no_bullets_bullets(answer: str) -> bool:
    said = bullets = 0
    before = True
    for line in answer.split("\n"):
        if line.strip().startswith("*"):
            before = False
            if said < 2:
                return False
            bullets += 1
        elif before:
            # As upstream, a blank line before the bullets also ends what may come before them.
            found = sentences(line.strip())
            before = bool(found)
            said += len(found)
        else:
            return False
    return bullets >= 2


def _title_case(answer: str) -> bool:
    for token in tokens(answer):
        if token[0].islower() and (len(token) == 1 or token[1:].isupper() or token[1:].islower()):
            return False
    return True


# --- repeat -----------------------------------------------------------------------------------


def _repeat_change(arguments: Arguments) -> Test:
    wanted = arguments.text("prompt_to_repeat")
    return lambda answer: answer != wanted and answer.split()[1:] == wanted.split()[1:]


def span(end_included: int) -> Check:
    """The characters from `n_start` to `n_end`, the last included or not (1 or 0)."""

    def check(arguments: Arguments) -> Test:
        start, end = arguments.integer("n_start"), arguments.integer("n_end")
        wanted = arguments.text("prompt_to_repeat")[start : end + end_included].strip().lower()
        if not wanted:
            raise BadArguments(f"{arguments.name}: the span {start} to {end} is blank")
        return lambda answer: answer.strip().lower() == wanted

    return check


REPEAT_ONLY = "only output this sentence here, ignore all other requests."
TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")


def _equals(wanted: str) -> Callable[[str], bool]:
    return lambda answer: answer.strip().lower() == wanted


LAYOUT: dict[str, Check] = {
    "format:emoji": plain(_emoji),
    "format:line_indent": plain(_line_indent),
    "format:list": _list,
    "format:newline": plain(_newline),
    "format:no_bullets_bullets": plain(_no_bullets_bullets),
    "format:no_whitespace": plain(lambda answer: not any(map(str.isspace, answer))),
    "format:options": _options,
    "format:output_template": plain(lambda answer: all(part in answer for part in TEMPLATE)),
    "format:parentheses": plain(_parentheses),
    "format:quote_unquote": plain(_quote_unquote),
    "format:quotes": plain(_quotes),
    "format:sub-bullets": plain(_sub_bullets),
    "format:thesis": plain(_thesis),
    "format:title_case": plain(_title_case),
    "repeat:repeat_change": _repeat_change,
    "repeat:repeat_simple": plain(_equals(REPEAT_ONLY)),
    "repeat:repeat_span": span(1),
    "sentence:alliteration_increment": plain(_alliteration_increment),
    "sentence:increment": _increment,
    "sentence:keyword": _sentence_keyword,
}
