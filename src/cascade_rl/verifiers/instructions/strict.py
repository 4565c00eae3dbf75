"""IFEval's 25 instructions for training: what a reader would call followed, and nothing less.

The default policy. Each entry closes something that the official checkers accept: the answer is
read as a reader sees it (`text.fold`), a keyword is a whole word, what must be there must hold
letters or digits, and a language must be shown by words. `docs/verifiers.md` lists every
difference.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from typing import Any

from cascade_rl.verifiers.instructions.arguments import Arguments, BadArguments, Check, Test, plain
from cascade_rl.verifiers.instructions.detect import detect
from cascade_rl.verifiers.instructions.ifeval import (
    DIVIDER,
    DOUBLE,
    OPTIONS,
    SINGLE,
    count_paragraphs,
    first_word_of,
    language_of,
    nth_paragraph,
    placeholders,
    postscript_pattern,
    titles,
    without_fence,
)
from cascade_rl.verifiers.instructions.text import contains_word, fold, visible, words

# --- keywords ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def word_pattern(word: str) -> re.Pattern[str]:
    """A whole word or phrase, folded, whatever its case and the blanks inside it."""
    phrase = r"\s+".join(re.escape(part) for part in fold(word).split())
    return re.compile(rf"(?<![^\W_]){phrase}(?![^\W_])", re.IGNORECASE)


def count_word(word: str, answer: str) -> int:
    """How often the word or phrase stands in the answer by itself."""
    return len(word_pattern(word).findall(fold(answer)))


def _existence(arguments: Arguments) -> Test:
    patterns = [word_pattern(word) for word in arguments.words("keywords")]
    return lambda answer: _finds_all(patterns, fold(answer))


def _finds_all(patterns: list[re.Pattern[str]], folded: str) -> bool:
    return all(pattern.search(folded) for pattern in patterns)


def forbidden(unwanted: list[str]) -> Test:
    """None of the words stands in the answer, however its letters are dressed up."""
    patterns = [word_pattern(word) for word in unwanted]

    def test(answer: str) -> bool:
        folded = fold(answer)
        return not any(pattern.search(folded) for pattern in patterns)

    return test


def _frequency(arguments: Arguments) -> Test:
    word, holds = arguments.text("keyword"), arguments.bound("relation", "frequency")
    return lambda answer: holds(count_word(word, answer))


def _letter_frequency(arguments: Arguments) -> Test:
    letter = fold(arguments.text("letter").strip()).lower()
    if len(letter) != 1:
        raise BadArguments(f"{arguments.name}: letter is {letter!r}; expected one character")
    holds = arguments.bound("let_relation", "let_frequency")
    return lambda answer: holds(fold(answer).lower().count(letter))


# --- language and case ------------------------------------------------------------------------

SCRIPTS = {
    "ar": "ARABIC", "fa": "ARABIC", "ur": "ARABIC", "bg": "CYRILLIC", "mk": "CYRILLIC",
    "ru": "CYRILLIC", "uk": "CYRILLIC", "bn": "BENGALI", "el": "GREEK", "gu": "GUJARATI",
    "he": "HEBREW", "hi": "DEVANAGARI", "mr": "DEVANAGARI", "ne": "DEVANAGARI",
    "ja": "HIRAGANA KATAKANA CJK", "kn": "KANNADA", "ko": "HANGUL", "ml": "MALAYALAM",
    "pa": "GURMUKHI", "ta": "TAMIL", "te": "TELUGU", "th": "THAI", "zh": "CJK",
    "zh-cn": "CJK", "zh-tw": "CJK",
}  # fmt: skip
"""How Unicode names the letters of a language; those that are not here are written in Latin."""
ENOUGH_WORDS = 20
"""From how many words on an answer in one case must also be told to be English."""


def in_script(answer: str, scripts: str) -> bool:
    """Whether there are letters, and most of them are of the scripts (as Unicode names them)."""
    inside = letters = 0
    for char in answer:
        if char.isalpha():
            letters += 1
            inside += _script(char) in scripts
    return letters > 0 and 2 * inside > letters


@functools.lru_cache(maxsize=100_000)
def _script(char: str) -> str:
    return "LATIN" if char.isascii() else unicodedata.name(char, "?").split()[0]


def _response_language(arguments: Arguments) -> Test:
    code = language_of(arguments)
    scripts = SCRIPTS.get(code, "LATIN")

    def test(answer: str) -> bool:
        seen = visible(answer)
        if not re.search(r"[^\W\d_]{2}", seen) or not in_script(seen, scripts):
            return False
        return (detect(seen) or "").startswith(code)

    return test


def _english(answer: str) -> bool:
    lower = answer.lower()
    enough = len(words(lower)) >= ENOUGH_WORDS
    return in_script(answer, "LATIN") and (not enough or detect(lower) == "en")


def _capital_word_frequency(arguments: Arguments) -> Test:
    holds = arguments.bound("capital_relation", "capital_frequency")
    return lambda answer: holds(sum(word.isupper() for word in words(visible(answer))))


# --- lengths ----------------------------------------------------------------------------------


def _number_words(arguments: Arguments) -> Test:
    holds = arguments.bound("relation", "num_words")
    return lambda answer: holds(len(re.findall(r"[^\W_]+", visible(answer))))


_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|Jr|Sr|No)|\b[A-Z])\.$")
_SENTENCE_END = re.compile(r"[.!?。！？؟।]+[\"'”’)\]*]*(?=\s|$)|[。！？]")
_TWO_LETTERS = re.compile(r"[^\W\d_]{2}")


def count_sentences(text: str) -> int:
    """Sentences with a word of two letters in them.

    Neither an abbreviation, an initial, nor dots before lower case end one.
    """
    count = start = 0
    said = False
    for match in _SENTENCE_END.finditer(text):
        if match.group().startswith("."):
            before = text[max(0, match.start() - 12) : match.start() + 1]
            goes_on = text[match.end() : match.end() + 80].lstrip()[:1].islower()
            if _ABBREVIATION.search(before) or (goes_on and match.group().startswith("..")):
                continue
        said = said or _TWO_LETTERS.search(text, start, match.end()) is not None
        start = match.end()
        if said:
            count, said = count + 1, False
    return count + (said or _TWO_LETTERS.search(text, start) is not None)


def _number_sentences(arguments: Arguments) -> Test:
    holds = arguments.bound("relation", "num_sentences")
    return lambda answer: holds(count_sentences(visible(answer)))


def _number_paragraphs(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_paragraphs")

    def test(answer: str) -> bool:
        parts = DIVIDER.split(visible(answer))
        hollow = any(part.strip() and not contains_word(part) for part in parts)
        return not hollow and count_paragraphs(parts) == wanted

    return test


def _nth_paragraph_first_word(arguments: Arguments) -> Test:
    count, nth, first_word = nth_paragraph(arguments)

    def test(answer: str) -> bool:
        parts = [part for part in fold(answer).split("\n\n") if contains_word(part)]
        return len(parts) == count and first_word_of(parts[nth - 1]) == fold(first_word)

    return test


# --- punctuation, start and end ---------------------------------------------------------------

COMMAS = re.compile(
    "[,\u055d\u060c\u066b\u07f8\u1363\u1802\u1808\u201a\u2e32\u2e34\u2e41\u2e49\u2e4c"
    "\u3001\ua4fe\ua60d\ua6f5\ufe10\ufe11\ufe50\ufe51\uff0c\uff64]"
)
"""Every comma of Unicode, full-width and ideographic ones included."""


def _end_checker(arguments: Arguments) -> Test:
    wanted = fold(arguments.text("end_phrase")).strip().lower()
    return lambda answer: fold(answer).strip().strip('"').lower().endswith(wanted)


def _quotation(answer: str) -> bool:
    stripped = answer.strip()
    quoted = len(stripped) > 2 and stripped[0] == '"' and stripped[-1] == '"'
    return quoted and contains_word(stripped)


# --- format -----------------------------------------------------------------------------------

_BULLET = re.compile(r"^[^\S\n]*[-*][^\S\n]+(.*)$", re.MULTILINE)


def _number_bullet_lists(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_bullets")
    return lambda answer: sum(map(contains_word, _BULLET.findall(visible(answer)))) == wanted


def _number_highlighted_sections(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_highlights")

    def test(answer: str) -> bool:
        marked = SINGLE.findall(visible(answer)) + DOUBLE.findall(visible(answer))
        inside = [part.strip("*") for part in marked]
        full = [part for part in inside if contains_word(part) and part == part.strip()]
        return len(full) >= wanted

    return test


def _multiple_sections(arguments: Arguments) -> Test:
    marker = re.escape(arguments.text("section_spliter").strip())
    pattern = re.compile(rf"(?<![^\W_]){marker}\s?\d+")
    wanted = arguments.integer("num_sections")
    return lambda answer: sum(map(contains_word, pattern.split(visible(answer))[1:])) >= wanted


def _json_format(answer: str) -> bool:
    try:
        value = json.loads(without_fence(answer), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and _holds_something(value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _holds_something(value: Any) -> bool:
    """Whether there is a number, a truth value or a word anywhere among the values."""
    left = [value]
    while left:
        match left.pop():
            case dict(entries):
                left += entries.values()
            case list(entries):
                left += entries
            case str(text):
                if contains_word(text):
                    return True
            case None:
                continue
            case _:
                return True
    return False


def _constrained_response(answer: str) -> bool:
    return sum(option in answer for option in OPTIONS) == 1


# --- content and combinations -----------------------------------------------------------------


def _number_placeholders(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_placeholders")
    return lambda answer: sum(map(contains_word, placeholders(visible(answer)))) >= wanted


def _postscript(arguments: Arguments) -> Test:
    # First in a line or after a sentence, behind Markdown's marks, and something is said after it.
    lead = r"(?:^|[.!?\"')*]\s)[^\S\n]{0,8}[*_#>\"'(\[]{0,8}[^\S\n]{0,2}"
    pattern = re.compile(lead + postscript_pattern(arguments), re.MULTILINE | re.IGNORECASE)

    def test(answer: str) -> bool:
        lower = visible(answer).lower()
        found = pattern.search(lower)
        return found is not None and contains_word(lower[found.end() :])

    return test


def _repeat_prompt(arguments: Arguments) -> Test:
    wanted = arguments.text("prompt_to_repeat").strip().lower()

    def test(answer: str) -> bool:
        given = answer.strip().lower()
        return given.startswith(wanted) and contains_word(given[len(wanted) :])

    return test


def _two_responses(answer: str) -> bool:
    parts = [part.strip() for part in visible(answer).split("******")]
    found = [[word.lower() for word in words(part)] for part in parts if part]
    return all(parts[1:-1]) and len(found) == 2 and all(found) and found[0] != found[1]


STRICT: dict[str, Check] = {
    "keywords:existence": _existence,
    "keywords:forbidden_words": lambda arguments: forbidden(arguments.words("forbidden_words")),
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_words": _number_words,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "change_case:english_lowercase": plain(lambda answer: answer.islower() and _english(answer)),
    "change_case:english_capital": plain(lambda answer: answer.isupper() and _english(answer)),
    "change_case:capital_word_frequency": _capital_word_frequency,
    "punctuation:no_comma": plain(lambda answer: not COMMAS.search(answer)),
    "startend:end_checker": _end_checker,
    "startend:quotation": plain(_quotation),
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:title": plain(lambda answer: any(map(contains_word, titles(answer)))),
    "detectable_format:json_format": plain(_json_format),
    "detectable_format:constrained_response": plain(_constrained_response),
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "combination:repeat_prompt": _repeat_prompt,
    "combination:two_responses": plain(_two_responses),
}
