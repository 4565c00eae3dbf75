"""Words, sentences and tokens of an answer, and its text as a reader sees it.

Nothing is downloaded and nothing is trained: `sentences` follows Punkt (Kiss and Strunk 2006)
with an empty model, which on recorded verdicts differs from the trained English one in under a
thousandth; `tokens` follows the Penn Treebank's conventions. Everything is linear in the text.
"""

from __future__ import annotations

import functools
import re
import string
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

_remembered = functools.lru_cache(maxsize=16)
"""The instructions of a row ask the same of the same answer, in its eight variants."""
PUNCTUATION = string.punctuation
EDGES = PUNCTUATION + " "
"""What IFBench takes off both ends of a word."""
_DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)


def without_punctuation(text: str) -> str:
    """The text without ASCII punctuation."""
    return text.translate(_DROP_PUNCTUATION)


# --- as a reader sees it ----------------------------------------------------------------------

_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕԁһԛԝгкптАВЕКМНОРСТХІЈЅУГΑΒΕΖΗΙΚΜΝΟΡΤΥΧοαερνκιυ",
    "aeopcyxijsdhqwrknmABEKMHOPCTXIJSYrABEZHIKMNOPTYXoaepvkiu",
)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


@_remembered
def visible(text: str) -> str:
    """The text in compatibility forms (full-width letters are letters), nothing invisible."""
    return text if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def fold(text: str) -> str:
    """Visible text in which Cyrillic and Greek look-alikes are the Latin letters they imitate."""
    return text if text.isascii() else visible(text).translate(_LOOK_ALIKES)


def contains_word(text: str) -> bool:
    """Whether there is any letter or digit, of any script."""
    return _LETTER_OR_DIGIT.search(text) is not None


_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_WORDS = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")


def words(text: str) -> list[str]:
    """Runs of letters and digits; an apostrophe or a single hyphen inside is part of the word."""
    return _WORDS.findall(text)


# --- sentences --------------------------------------------------------------------------------

_CLOSERS = r"[)\";}\]*:@'({\[!?‘’“”«»]"
_POSSIBLE_END = re.compile(rf"[.?!](?=({_CLOSERS})|\s+(\S+))")
_PART = re.compile(
    r"-{2,}|\.{2,}"
    rf"|[^\s(\"`{{\[:;&#*@)}}\]\-,]\S*?(?=\s|$|{_CLOSERS}|--|\.\.|,(?=\s|$|{_CLOSERS}|--|\.\.))"
    r"|\S"
)
_NUMBER = re.compile(r"-?[.,]?\d[\d,.\-]*")
_TAIL = re.compile(r"[\"')\]}‘’“”«»]+(?:\s+|(?=--)|$)", re.MULTILINE)
_ASCII_BLANKS = frozenset(string.whitespace)


@_remembered
def sentences(text: str) -> tuple[str, ...]:
    """The sentences in order, closing quotes and brackets with the sentence they close."""
    found: list[str] = []
    start = 0
    cuts = [*_cuts(text), (len(text.rstrip()), len(text))]
    for index, (end, following) in enumerate(cuts):
        if index + 1 < len(cuts):
            tail = _TAIL.match(text, following, cuts[index + 1][0])
            if tail:
                end, following = following + len(tail.group().rstrip()), tail.end()
        if end > start:
            found.append(text[start:end])
        start = following
    return tuple(found)


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    """(end of a sentence, start of the next) at every place where one ends."""
    last: tuple[int, re.Match[str]] | None = None
    for match in _POSSIBLE_END.finditer(text):
        since = 0 if last is None else last[1].start()
        start = _word_start(text, since, match.start(), 0 if last is None else last[0])
        # Of several marks in one run of characters only the last is considered, as in Punkt.
        if last and last[1].start() <= start and _ends_there(text, *last):
            yield _cut(last[1])
        last = (start, match)
    if last and _ends_there(text, *last):
        yield _cut(last[1])


def _cut(match: re.Match[str]) -> tuple[int, int]:
    return match.end(), match.end() if match.group(2) is None else match.start(2)


def _word_start(text: str, since: int, end: int, otherwise: int) -> int:
    for index in range(end - 1, since, -1):
        if text[index] in _ASCII_BLANKS:
            return index + 1
    return otherwise


def _ends_there(text: str, start: int, match: re.Match[str]) -> bool:
    end = match.start()
    # The two usual cases, without looking at the words: a mark, or a full stop after letters.
    if text[end] != "." or (end - start >= 2 and text[end - 2 : end].isalpha()):
        return True
    after = match.group(1) or f" {match.group(2)}"
    parts = _PART.findall(text[start : end + 1] + after)
    return any(_ends_sentence(part, following) for part, following in pairwise(parts))


def _ends_sentence(part: str, following: str) -> bool:
    if part in (".", "?", "!"):
        return True
    if not part.endswith(".") or part.endswith(".."):
        return False
    initial = len(part) == 2 and (part[0].isalpha() or part[0] == "_")
    if initial or _NUMBER.fullmatch(part):
        goes_on = following[0].islower() or following in (";", ":", ",", ".", "!", "?")
        return not (goes_on or (initial and following[0].isupper()))
    return True


# --- tokens -----------------------------------------------------------------------------------

_APART = re.compile(
    r"\.{2,}|--|``|''|[;@#$%&?!*\][(){}<>\"«»“”„‘’`‒-―]|[:,](?!\d)"
    r"|(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)",
    re.IGNORECASE,
)
_OPENING = re.compile(r'^"|(?<=[ (\[{<])"')
_LAST_STOP = re.compile(r"([^.])\.([\])}>\"'»”’ ]*)\Z")
_CLITIC = re.compile(r"(?<=[^'\s])('(?:ll|re|ve|[smd])|n't|')(?=\s|$)", re.IGNORECASE)
_JOINED = re.compile(
    r"\b(?:(can)(not)|(gim|lem)(me)|(gon)(na)|(got)(ta)|(wan)(na)(?=\s)|(d)('ye)|(more)('n))\b",
    re.IGNORECASE,
)


@_remembered
def tokens(text: str) -> tuple[str, ...]:
    """Words and marks, one a token: `Don't!` is `Do`, `n't`, `!`; quotes open and close."""
    return tuple(token for sentence in sentences(text) for token in _tokens_of(sentence))


def _tokens_of(sentence: str) -> list[str]:
    text = _OPENING.sub("``", sentence.rstrip()) if '"' in sentence else sentence.rstrip()
    text = _LAST_STOP.sub(r"\1 . \2 ", text)
    text = _APART.sub(r" \g<0> ", text)
    if "'" in text:
        text = _CLITIC.sub(r" \1", text)
    return ["''" if token == '"' else token for token in _JOINED.sub(_parted, text).split()]


def _parted(match: re.Match[str]) -> str:
    return " ".join(part for part in match.groups() if part)
