"""IFEval's 25 instructions as its official checkers decide them, for benchmarks.

After google-research/instruction_following_eval (arXiv:2311.07911), bug for bug where an answer
can show it: a keyword is found inside a longer word, a rule of dashes is a bullet, an answer
whose language cannot be told is in every language. Two things differ: an argument that is absent
makes the row `invalid` (there it is drawn at random), and everything is linear in the answer.
"""

from __future__ import annotations

import json
import re
from string import ascii_lowercase

from cascade_rl.verifiers.instructions.arguments import Arguments, BadArguments, Check, Test, plain
from cascade_rl.verifiers.instructions.detect import LANGUAGES, detect
from cascade_rl.verifiers.instructions.text import sentences, tokens

# --- keywords ---------------------------------------------------------------------------------


def _pattern(keyword: str) -> re.Pattern[str]:
    """The keyword as a pattern, as upstream; literally where that would repeat or not compile."""
    literal = any(char in keyword for char in "*+?{}()[]|\\")
    return re.compile(re.escape(keyword) if literal else keyword, re.IGNORECASE)


def _existence(arguments: Arguments) -> Test:
    patterns = [_pattern(word) for word in arguments.words("keywords")]
    return lambda answer: all(pattern.search(answer) for pattern in patterns)


def _forbidden_words(arguments: Arguments) -> Test:
    found = [_pattern(word).pattern for word in arguments.words("forbidden_words")]
    patterns = [re.compile(rf"\b{pattern}\b", re.IGNORECASE) for pattern in found]
    return lambda answer: not any(pattern.search(answer) for pattern in patterns)


def _frequency(arguments: Arguments) -> Test:
    pattern = _pattern(arguments.text("keyword").strip())
    holds = arguments.bound("relation", "frequency")
    return lambda answer: holds(len(pattern.findall(answer)))


def letter_frequency(arguments: Arguments) -> Test:
    """Occurrences of one letter, whatever its case.

    Where the row has `!` or `#`, upstream counts a letter drawn at random; here the answer
    follows it where more than half of the draws would say so.
    """
    letter = arguments.text("letter").strip().lower()
    if len(letter) != 1:
        raise BadArguments(f"{arguments.name}: letter is {letter!r}; expected one character")
    holds = arguments.bound("let_relation", "let_frequency")
    if letter in ascii_lowercase:
        return lambda answer: holds(answer.lower().count(letter))
    return lambda answer: sum(holds(answer.lower().count(drawn)) for drawn in ascii_lowercase) > 13


# --- language and case ------------------------------------------------------------------------


def language_of(arguments: Arguments) -> str:
    """The language code of the row; Chinese may be named without its country."""
    code = arguments.text("language")
    if code not in LANGUAGES and code != "zh":
        raise BadArguments(f"{arguments.name}: language {code!r}; expected one of {LANGUAGES}")
    return code


def _response_language(arguments: Arguments) -> Test:
    code = language_of(arguments)
    return lambda answer: (detect(answer) or code).startswith(code)


def _english_lowercase(answer: str) -> bool:
    return answer.islower() and detect(answer) in ("en", None)


def _english_capital(answer: str) -> bool:
    return answer.isupper() and detect(answer) in ("en", None)


def _capital_word_frequency(arguments: Arguments) -> Test:
    holds = arguments.bound("capital_relation", "capital_frequency")
    return lambda answer: holds(sum(token.isupper() for token in tokens(answer)))


# --- lengths ----------------------------------------------------------------------------------


def _number_words(arguments: Arguments) -> Test:
    holds = arguments.bound("relation", "num_words")
    return lambda answer: holds(len(re.findall(r"\w+", answer)))


def _number_sentences(arguments: Arguments) -> Test:
    holds = arguments.bound("relation", "num_sentences")
    return lambda answer: holds(len(sentences(answer)))


def count_paragraphs(parts: list[str]) -> int:
    """Parts between dividers, a blank first or last one aside; -1 where one inside is blank."""
    if not all(part.strip() for part in parts[1:-1]):
        return -1
    ends = parts[:1] + parts[1:][-1:]
    return len(parts) - sum(not part.strip() for part in ends)


DIVIDER = re.compile(r"\s?\*\*\*\s?")


def _number_paragraphs(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_paragraphs")
    return lambda answer: count_paragraphs(DIVIDER.split(answer)) == wanted


def nth_paragraph(arguments: Arguments) -> tuple[int, int, str]:
    """(number of paragraphs, which of them, its first word), checked against each other."""
    count, nth = arguments.integer("num_paragraphs"), arguments.integer("nth_paragraph", 1)
    if nth > count:
        raise BadArguments(f"{arguments.name}: paragraph {nth} of only {count}")
    return count, nth, arguments.text("first_word").lower()


def _nth_paragraph_first_word(arguments: Arguments) -> Test:
    count, nth, first_word = nth_paragraph(arguments)

    def test(answer: str) -> bool:
        parts = answer.split("\n\n")
        # Blank paragraphs are left out of the count but not of the numbering, as upstream.
        if sum(bool(part.strip()) for part in parts) != count or not parts[nth - 1].strip():
            return False
        return first_word_of(parts[nth - 1]) == first_word

    return test


def first_word_of(paragraph: str) -> str:
    """The first word in lower case, up to its first . , ? ! or quote."""
    word = paragraph.split()[0].lstrip("'").lstrip('"')
    return re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower()


# --- format -----------------------------------------------------------------------------------

_STAR_BULLET = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)


def _number_bullet_lists(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_bullets")

    def test(answer: str) -> bool:
        dashes = sum(line.lstrip()[:1] == "-" for line in answer.split("\n"))
        return len(_STAR_BULLET.findall(answer)) + dashes == wanted

    return test


SINGLE = re.compile(r"\*[^\n*]*\*")
DOUBLE = re.compile(r"\*\*[^\n*]*\*\*")


def _number_highlighted_sections(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_highlights")

    def test(answer: str) -> bool:
        marked = SINGLE.findall(answer) + DOUBLE.findall(answer)
        return sum(bool(part.strip("*").strip()) for part in marked) >= wanted

    return test


def _multiple_sections(arguments: Arguments) -> Test:
    splitter = _pattern(arguments.text("section_spliter").strip()).pattern
    pattern = re.compile(rf"{splitter}\s?\d+")
    wanted = arguments.integer("num_sections")
    return lambda answer: len(pattern.findall(answer)) >= wanted


def titles(answer: str) -> list[str]:
    """What stands in `<<...>>`, at most one a line, from its first `<<` to its last `>>`."""
    found = []
    for line in answer.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and start + 3 <= end:
            found.append(line[start : end + 2].lstrip("<").rstrip(">").strip())
    return [title for title in found if title]


def without_fence(answer: str) -> str:
    """The text inside a Markdown fence that wraps the whole answer, `json` or bare."""
    text = answer.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    return text.removesuffix("```").strip()


def _json_format(answer: str) -> bool:
    try:
        json.loads(without_fence(answer))
    except (ValueError, RecursionError):
        return False
    return True


OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _constrained_response(answer: str) -> bool:
    return any(option in answer for option in OPTIONS)


# --- content, start, end and combinations -----------------------------------------------------


def placeholders(answer: str) -> list[str]:
    """What stands in `[...]`, each on one line, the first bracket to the first that closes it."""
    found = []
    for line in answer.split("\n"):
        start = line.find("[")
        while start >= 0 and (end := line.find("]", start)) >= 0:
            found.append(line[start + 1 : end])
            start = line.find("[", end)
    return found


def _number_placeholders(arguments: Arguments) -> Test:
    wanted = arguments.integer("num_placeholders")
    return lambda answer: len(placeholders(answer)) >= wanted


def postscript_pattern(arguments: Arguments) -> str:
    """What marks the postscript, in lower case; blanks inside `P.S.` are allowed."""
    marker = arguments.text("postscript_marker").strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return known.get(marker) or _pattern(marker.lower()).pattern


def _postscript(arguments: Arguments) -> Test:
    pattern = re.compile(postscript_pattern(arguments))
    return lambda answer: pattern.search(answer.lower()) is not None


def _repeat_prompt(arguments: Arguments) -> Test:
    wanted = arguments.text("prompt_to_repeat").strip().lower()
    return lambda answer: answer.strip().lower().startswith(wanted)


def _two_responses(answer: str) -> bool:
    parts = [part.strip() for part in answer.split("******")]
    found = [part for part in parts if part]
    return all(parts[1:-1]) and len(found) == 2 and found[0] != found[1]


def end_checker(arguments: Arguments) -> Test:
    """The last words, whatever their case and the quotes after them."""
    wanted = arguments.text("end_phrase").strip().lower()
    return lambda answer: answer.strip().strip('"').lower().endswith(wanted)


def _quotation(answer: str) -> bool:
    stripped = answer.strip()
    return len(stripped) > 1 and stripped[0] == '"' and stripped[-1] == '"'


OFFICIAL: dict[str, Check] = {
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_words": _number_words,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "change_case:english_lowercase": plain(_english_lowercase),
    "change_case:english_capital": plain(_english_capital),
    "change_case:capital_word_frequency": _capital_word_frequency,
    "punctuation:no_comma": plain(lambda answer: "," not in answer),
    "startend:end_checker": end_checker,
    "startend:quotation": plain(_quotation),
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:title": plain(lambda answer: bool(titles(answer))),
    "detectable_format:json_format": plain(_json_format),
    "detectable_format:constrained_response": plain(_constrained_response),
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "combination:repeat_prompt": _repeat_prompt,
    "combination:two_responses": plain(_two_responses),
}
