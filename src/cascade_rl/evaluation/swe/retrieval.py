"""BM25 over the contents of files: which of them an issue speaks about, offline.

One rule: a name counts whole and in its parts. `parseHeader_v2` in an issue finds the file that
defines it, and also the one that only knows `header`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable

from cascade_rl.evaluation.swe.repository import Files

K1, B = 1.2, 0.75
"""Saturation of a word's count, and how much long files are held against them: the usual ones."""

_NAME = re.compile(r"[^\W\d_]\w+")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")

Retriever = Callable[[Files, str], list[str]]
"""(files, issue) to paths, the likeliest first."""


def words_of(text: str) -> Counter[str]:
    """Names in small letters, and the parts of those made of several."""
    found: Counter[str] = Counter()
    for name, count in Counter(_NAME.findall(text)).items():
        parts = [part.lower() for part in _PART.findall(name)]
        whole = name.lower()
        for word in {whole, *parts}:
            if len(word) > 1:
                found[word] += count
    return found


def bm25(files: Files, issue: str) -> list[str]:
    """The files that share a word with the issue, by BM25 (Robertson and Zaragoza 2009).

    A file's path belongs to its text. Each word of the issue counts once.
    """
    counts = {path: words_of(f"{path}\n{text}") for path, text in files.items()}
    lengths = {path: count.total() for path, count in counts.items()}
    mean = sum(lengths.values()) / len(lengths) if lengths else 1.0
    scores = dict.fromkeys(files, 0.0)
    for word in sorted(words_of(issue)):
        having = [path for path, count in counts.items() if word in count]
        rarity = math.log(1 + (len(files) - len(having) + 0.5) / (len(having) + 0.5))
        for path in having:
            count = counts[path][word]
            scores[path] += (
                rarity * count * (K1 + 1) / (count + K1 * (1 - B + B * lengths[path] / mean))
            )
    return sorted((path for path in files if scores[path] > 0), key=lambda p: (-scores[p], p))
