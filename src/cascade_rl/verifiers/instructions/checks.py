"""One function an instruction: `(answer, kwargs) -> bool`, with IFEval's ids and argument names.

After google-research/instruction_following_eval (arXiv:2311.07911), kept linear in the length of
the answer. Stricter than the original where it can be fooled: commas of any width count, words
are searched after folding look-alike letters and dropping invisible ones, JSON must be a
non-empty object or list without NaN. `language:response_language` is not here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

Kwargs = Mapping[str, Any]
Check = Callable[[str, Kwargs], bool]


class BadArguments(ValueError):
    """The row names an instruction that cannot be checked."""


def _compare(count: int, relation: str, bound: int) -> bool:
    if relation == "at least":
        return count >= bound
    if relation == "less than":
        return count < bound
    raise ValueError(f"relation {relation!r}; expected 'at least' or 'less than'")


_LOOK_ALIKES = str.maketrans("аеорсухіјѕԁһԛԝАВЕКМНОРСТХ", "aeopcyxijsdhqwABEKMHOPCTX")


def fold(text: str) -> str:
    """Text as a reader sees it: compatibility forms, no invisible characters, Latin look-alikes."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return text.translate(_LOOK_ALIKES)


# --- keywords ---------------------------------------------------------------------------------


def _occurrences(word: str, answer: str) -> int:
    return fold(answer).lower().count(fold(word).lower().strip())


def _existence(answer: str, kwargs: Kwargs) -> bool:
    return all(_occurrences(word, answer) > 0 for word in _words_of(kwargs["keywords"]))


def _forbidden_words(answer: str, kwargs: Kwargs) -> bool:
    folded = fold(answer)
    return not any(
        re.search(rf"\b{re.escape(fold(word))}\b", folded, re.IGNORECASE)
        for word in _words_of(kwargs["forbidden_words"])
    )


def _words_of(words: Any) -> list[str]:
    if not isinstance(words, list | tuple) or not all(isinstance(w, str) and w for w in words):
        raise TypeError(f"expected a list of words, found {words!r}")
    return list(words)


def _frequency(answer: str, kwargs: Kwargs) -> bool:
    count = _occurrences(kwargs["keyword"], answer)
    return _compare(count, kwargs["relation"], kwargs["frequency"])


def _letter_frequency(answer: str, kwargs: Kwargs) -> bool:
    letter = kwargs["letter"].lower()
    if len(letter) != 1:
        raise ValueError(f"letter {letter!r}; expected one character")
    return _compare(answer.lower().count(letter), kwargs["let_relation"], kwargs["let_frequency"])


# --- lengths ----------------------------------------------------------------------------------


def _number_words(answer: str, kwargs: Kwargs) -> bool:
    return _compare(len(re.findall(r"\w+", answer)), kwargs["relation"], kwargs["num_words"])


def _number_sentences(answer: str, kwargs: Kwargs) -> bool:
    return _compare(count_sentences(answer), kwargs["relation"], kwargs["num_sentences"])


_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|Jr|Sr|No)|\b[A-Z])\.$")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]*]*(?=\s)")


def count_sentences(text: str) -> int:
    """Sentences as Punkt counts them, nearly: ends at . ! ? before a blank and no lower case."""
    text = text.strip()
    count = 1 if text else 0
    for match in _SENTENCE_END.finditer(text):
        follows = text[match.end() : match.end() + 80].lstrip()[:1]
        before = text[max(0, match.start() - 12) : match.start() + 1]
        if text[match.start()] == "." and (follows.islower() or _ABBREVIATION.search(before)):
            continue
        count += 1
    return count


def _number_paragraphs(answer: str, kwargs: Kwargs) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", answer)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return bool(sum(bool(part.strip()) for part in parts) == kwargs["num_paragraphs"])


def _nth_paragraph_first_word(answer: str, kwargs: Kwargs) -> bool:
    paragraphs = answer.split("\n\n")
    nth = kwargs["nth_paragraph"]
    count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if nth > count or count != kwargs["num_paragraphs"]:
        return False
    words = paragraphs[nth - 1].split()
    if not words:
        return False
    first = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"').lower())[0]
    return bool(first == kwargs["first_word"].lower())


# --- case -------------------------------------------------------------------------------------


def _english_lowercase(answer: str, kwargs: Kwargs) -> bool:
    return answer.islower() and _latin(answer)


def _english_capital(answer: str, kwargs: Kwargs) -> bool:
    return answer.isupper() and _latin(answer)


def _latin(answer: str) -> bool:
    letters = [char for char in answer if char.isalpha()]
    return 2 * sum(char.isascii() for char in letters) > len(letters)


def _capital_word_frequency(answer: str, kwargs: Kwargs) -> bool:
    count = sum(word.isupper() for word in re.findall(r"[\w'’-]+", answer))
    return _compare(count, kwargs["capital_relation"], kwargs["capital_frequency"])


# --- punctuation, start and end ---------------------------------------------------------------


def _no_comma(answer: str, kwargs: Kwargs) -> bool:
    return not any(comma in answer for comma in ",，、،︐﹐､‚")


def _end_checker(answer: str, kwargs: Kwargs) -> bool:
    return answer.strip().strip('"').lower().endswith(kwargs["end_phrase"].strip().lower())


def _quotation(answer: str, kwargs: Kwargs) -> bool:
    stripped = answer.strip()
    return len(stripped) > 1 and stripped[0] == '"' and stripped[-1] == '"'


# --- format -----------------------------------------------------------------------------------


def _number_bullet_lists(answer: str, kwargs: Kwargs) -> bool:
    lines = [line.lstrip() for line in answer.split("\n")]
    bullets = sum(line[:1] == "-" or (line[:1] == "*" and line[1:2] != "*") for line in lines)
    return bool(bullets == kwargs["num_bullets"])


def _number_highlighted_sections(answer: str, kwargs: Kwargs) -> bool:
    single = (part.strip("*").strip() for part in re.findall(r"\*[^\n*]*\*", answer))
    double = (part.strip("*").strip() for part in re.findall(r"\*\*[^\n*]*\*\*", answer))
    return bool(sum(map(bool, single)) + sum(map(bool, double)) >= kwargs["num_highlights"])


def _multiple_sections(answer: str, kwargs: Kwargs) -> bool:
    marker = re.escape(kwargs["section_spliter"].strip())
    return bool(len(re.findall(rf"{marker}\s?\d+", answer)) >= kwargs["num_sections"])


def _title(answer: str, kwargs: Kwargs) -> bool:
    for line in answer.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and line[start:end].lstrip("<").strip(" >"):
            return True
    return False


def _json_format(answer: str, kwargs: Kwargs) -> bool:
    text = answer.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        value = json.loads(text.removesuffix("```").strip(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and len(value) > 0


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _constrained_response(answer: str, kwargs: Kwargs) -> bool:
    return any(f"My answer is {word}." in answer for word in ("yes", "no", "maybe"))


# --- content and combinations -----------------------------------------------------------------


def _number_placeholders(answer: str, kwargs: Kwargs) -> bool:
    count = 0
    for line in answer.split("\n"):
        start = line.find("[")
        while start >= 0 and (end := line.find("]", start)) >= 0:
            count += 1
            start = line.find("[", end)
    return bool(count >= kwargs["num_placeholders"])


def _postscript(answer: str, kwargs: Kwargs) -> bool:
    marker = kwargs["postscript_marker"].strip().lower()
    pattern = {"p.p.s": r"p\.\s?p\.\s?s", "p.s.": r"p\.\s?s\."}.get(marker, re.escape(marker))
    return re.search(pattern, answer.lower()) is not None


def _repeat_prompt(answer: str, kwargs: Kwargs) -> bool:
    wanted = kwargs["prompt_to_repeat"].strip().lower()
    return answer.strip().lower().startswith(wanted)


def _two_responses(answer: str, kwargs: Kwargs) -> bool:
    parts = [part.strip() for part in answer.split("******")]
    if not all(parts[1:-1]):
        return False
    found = [part for part in parts if part]
    return len(found) == 2 and found[0] != found[1]


CHECKS: dict[str, Check] = {
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letter_frequency,
    "length_constraints:number_words": _number_words,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "change_case:english_lowercase": _english_lowercase,
    "change_case:english_capital": _english_capital,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "punctuation:no_comma": _no_comma,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:title": _title,
    "detectable_format:json_format": _json_format,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "combination:repeat_prompt": _repeat_prompt,
    "combination:two_responses": _two_responses,
}
