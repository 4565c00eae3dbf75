"""IFBench's eleven `custom:` instructions: a prompt each, with the one answer it asks for.

As upstream decides them; the tables that are asked for are read with the csv module.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from itertools import pairwise

from cascade_rl.verifiers.instructions.arguments import Check, plain
from cascade_rl.verifiers.instructions.lists import NORTHERN_CAPITALS
from cascade_rl.verifiers.instructions.text import EDGES, sentences, without_punctuation

AFRICAN_COUNTRIES = 52


def _multiples(answer: str) -> bool:
    return re.findall(r"\d+", answer) == ["14", "21", "28", "35", "42", "49"]


_QUESTION = re.compile(r"Question \d+[.|):;]?\s*")
_CHOICE = re.compile(r"[A-Ea-e][.|)]\s*\w+")


def _mcq_count_length(answer: str) -> bool:
    if not answer.startswith("Question"):
        return False
    questions = [part.strip() for part in _QUESTION.split(answer) if part.strip()]
    lengths = []
    for question in questions:
        lines = [line.strip() for line in question.split("\n")]
        choices = [index for index, line in enumerate(lines) if _CHOICE.match(line)]
        if len(choices) != 5:
            return False
        lengths.append(len(" ".join(lines[: choices[0]]).strip()))
    return len(questions) == 4 and all(one < two for one, two in pairwise(lengths))


def _plain_letters(text: str) -> str:
    """The text without accents, and without what is not ASCII."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _reverse_newline(answer: str) -> bool:
    lines = [stripped for line in answer.split("\n") if (stripped := line.strip(EDGES))]
    start = next((i for i, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    found = [_plain_letters(line) for line in lines[start:]]
    return len(found) >= AFRICAN_COUNTRIES and found == sorted(found, reverse=True)


def _word_reverse(answer: str) -> bool:
    turned = " ".join(without_punctuation(answer.lower().strip()).split()[::-1])
    return "bald eagle" in turned and sentences(turned) == (turned,)


def _sentence_alphabet(answer: str) -> bool:
    found = [sentence.split() for sentence in sentences(answer)]
    firsts = [words[0].lower()[0] if words else "" for words in found]
    return firsts == [chr(97 + i) for i in range(26)]


def _european_capitals_sort(answer: str) -> bool:
    found = [part.strip() for part in _plain_letters(answer).split(",")]
    return [city for city in found if city] == NORTHERN_CAPITALS


def _table(text: str, delimiter: str = ",") -> list[list[str]]:
    """The rows of a table; none where it cannot be read."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


def _csv_city(answer: str) -> bool:
    rows = _table(answer)
    shape = len(rows) == 8 and all(len(row) == 5 for row in rows[1:])
    return shape and rows[0] == ["ID", "Country", "City", "Year", "Count"]


def _has_header(answer: str, names: tuple[str, ...], separator: str) -> bool:
    header = separator.join(f'(?:{name}|"{name}")' for name in names)
    return re.fullmatch(header, answer.split("\n", 1)[0].strip()) is not None


_PRODUCT = ("ProductID", "Category", "Brand", "Price", "Stock")
_STUDENT = ("StudentID", "Subject", "Grade", "Semester", "Score")


def _quotes_special(field: str) -> bool:
    line = field.split("\n", 1)[0]
    inside = line[1 : line.rfind('"')] if line.startswith('"') else ""
    return re.search(r"[^\w\s]", inside) is not None


def _csv_special_character(answer: str) -> bool:
    # Quotes are tripled first, so that the reader leaves them in the field.
    rows = _table(answer.replace('"', '"""'))
    if not _has_header(answer, _PRODUCT, r",[ \t]*") or len(rows) != 15:
        return False
    for row in rows[1:]:  # as upstream: rows after the first with such a field are not looked at
        if len(row) != 5:
            return False
        if any(map(_quotes_special, row)):
            return True
    return False


def _csv_quotes(answer: str) -> bool:
    rows = _table(answer.replace('"', '"""'), "\t")
    if not _has_header(answer, _STUDENT, r"\t *") or len(rows) != 4:
        return False
    return all(
        len(row) == 5 and all(f.strip()[:1] == '"' and f.strip()[-1:] == '"' for f in row)
        for row in rows
    )


_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def _date_format_list(answer: str) -> bool:
    for part in answer.strip().split(","):
        match = _DATE.fullmatch(part.strip())
        if match is None:
            return False
        year, month, day = map(int, match.groups())
        # As upstream, month 00 and day 00 pass; `guards` closes that.
        if not 1769 <= year <= 1821 or month > 12 or day > _LONGEST_MONTH.get(month, 31):
            return False
    return True


CUSTOM: dict[str, Check] = {
    "custom:multiples": plain(_multiples),
    "custom:mcq_count_length": plain(_mcq_count_length),
    "custom:reverse_newline": plain(_reverse_newline),
    "custom:word_reverse": plain(_word_reverse),
    "custom:character_reverse": plain(lambda answer: "elgae dlab" in answer.lower()),
    "custom:sentence_alphabet": plain(_sentence_alphabet),
    "custom:european_capitals_sort": plain(_european_capitals_sort),
    "custom:csv_city": plain(_csv_city),
    "custom:csv_special_character": plain(_csv_special_character),
    "custom:csv_quotes": plain(_csv_quotes),
    "custom:date_format_list": plain(_date_format_list),
}
