"""The language of a text: langdetect's profiles, counted once where the text is clear.

langdetect draws n-grams at random until it is sure, seven times. Here every n-gram counts once,
and a word's weight is remembered, which is several times faster and a function of the text.
Where that leaves two languages close (few words, all capitals), langdetect itself decides, its
seed fixed at 0. The profiles (55 languages) are loaded at the first question.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

LANGUAGES = frozenset(
    "af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr "
    "ne nl no pa pl pt ro ru sk sl so sq sv sw ta te th tl tr uk ur vi zh-cn zh-tw".split()
)
"""The codes that can be told apart."""

LONGEST_TEXT = 10_000
LONGEST_WORD = 40
CLEAR_GAP = 0.1
"""Nats an n-gram between the first language and the second: less, and langdetect is asked."""
FEW_FEATURES = 30
_SMOOTHING = 0.5 / 10_000
_ADDRESS = re.compile(
    r"https?://[-_.?&~;+=/#0-9A-Za-z]+|[-_.0-9A-Za-z]{1,64}@[-_.0-9A-Za-z]{2,255}"
)
_LATIN = re.compile("[A-z]")
_OTHER = re.compile("[\u0300-\u1dff\u1f00-\U0010ffff]")

Weights = npt.NDArray[np.float64]


@functools.cache
def _factory() -> Any:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory


class _Normal(dict[int, str]):
    """langdetect's normal form of each character, asked once a character."""

    def __missing__(self, code: int) -> str:
        from langdetect.utils.ngram import NGram

        self[code] = found = str(NGram.normalize(chr(code)))
        return found


_NORMAL = _Normal()


def detect(text: str) -> str | None:
    """The most likely language, one of LANGUAGES; None where no n-gram is known (`12345 !!!`).

    Only the first 10,000 characters are read, addresses aside, as langdetect does.
    """
    return _detect(_ADDRESS.sub(" ", text[: 4 * LONGEST_TEXT])[:LONGEST_TEXT])


@functools.lru_cache(maxsize=64)
def _detect(text: str) -> str | None:
    total = np.zeros(len(_factory().langlist) + 1)
    for word, count in Counter(_normal(text).split()).items():
        for start in range(0, len(word), LONGEST_WORD):
            total += count * _weights(word[start : start + LONGEST_WORD])
    features = total[-1]
    if not features:
        return None
    second, first = np.sort(total[:-1])[-2:]
    if features >= FEW_FEATURES and first - second >= CLEAR_GAP * features:
        return str(_factory().langlist[int(np.argmax(total[:-1]))])
    return _as_langdetect(text)


def _normal(text: str) -> str:
    if not text.isascii():
        from langdetect.utils.ngram import NGram

        text = NGram.normalize_vi(text)
        if 2 * len(_LATIN.findall(text)) < len(_OTHER.findall(text)):
            text = _LATIN.sub("", text)
    return text.translate(_NORMAL)


def _as_langdetect(text: str) -> str | None:
    from langdetect.lang_detect_exception import LangDetectException

    detector = _factory().create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


@functools.lru_cache(maxsize=20_000)
def _weights(word: str) -> Weights:
    """Log-probability of the word's known n-grams in each language, and last how many they are."""
    frequencies = _factory().word_lang_prob_map
    rows = [frequencies[gram] for gram in _grams(word) if gram in frequencies]
    if not rows:
        return np.zeros(len(_factory().langlist) + 1)
    return np.append(np.log(np.asarray(rows) + _SMOOTHING).sum(axis=0), len(rows))


def _grams(word: str) -> list[str]:
    """One to three letters, blanks around the word included; capitals inside a word are skipped."""
    padded = f" {word} "
    found = []
    for end in range(2, len(padded) + 1):
        if padded[end - 1].isupper() and padded[end - 2].isupper():
            continue
        lengths = (2, 3) if padded[end - 1] == " " else (1, 2, 3)
        found += [padded[end - n : end] for n in lengths if n <= end]
    return found
