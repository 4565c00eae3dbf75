"""Mixed language: a purely English prompt answered, in part, in another script.

Policy: a prompt is purely English when its letters are Latin (accents, as in names, count as
Latin) or mathematics; one word of another script in it, quoted or in code, allows any answer.
A completion is mixed when thought or answer holds a letter or a digit of another script, code
and quotes included. Greek letters are mathematics unless they spell words; emoji, symbols,
punctuation and the letter-like signs of mathematics are no letters. Languages in Latin script,
romanised ones too, are not told apart from English.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from cascade_rl.types import Message

VERSION = "language-2"
_ALLOWED = (
    "LATIN",
    "GREEK",
    "MATHEMATICAL",
    "DOUBLE-STRUCK",
    "SCRIPT",
    "BLACK-LETTER",
    "KELVIN",
    "ANGSTROM",
    "OHM",
    "MICRO",
    "FEMININE",
    "MASCULINE",
    "MODIFIER",
    "SUPERSCRIPT LATIN",
    "CARON",
    "ROMAN NUMERAL",
    "FULLWIDTH LATIN",
    "FULLWIDTH DIGIT",
    "DIGIT",
    "PLANCK",
    "INFORMATION",
    "TURNED",
    "REVERSED",
    "ROTATED",
)
"""How the names of letters and digits begin that English and mathematics use."""
_GREEK_WORD = re.compile("[\u0370-\u03ff\u1f00-\u1fff]{3,}")
_ACCENTS = re.compile("[\u0386-\u0390\u03aa-\u03b0\u03c2\u03ca-\u03ce\u1f00-\u1fff]")
"""Accented letters and the final sigma, which words have and formulas do not."""


def mixed_language(prompt: Sequence[Message], text: str) -> bool:
    """Whether the prompt is purely English and the completion, thought included, is not."""
    return _foreign(text) and not any(_foreign(message.content) for message in prompt)


def foreign_share(text: str) -> float:
    """The share of a text's letters that are of another script than English and mathematics."""
    if text.isascii():
        return 0.0
    letters = {char: n for char, n in Counter(text).items() if char.isalpha()}
    foreign = sum(n for char, n in letters.items() if _is_foreign(char))
    return foreign / max(1, sum(letters.values()))


def _foreign(text: str) -> bool:
    """Whether a letter or digit of another script, or a Greek word, is in the text."""
    if text.isascii():
        return False
    if any(map(_is_foreign, set(text))):
        return True
    return any(_ACCENTS.search(word) for word in _GREEK_WORD.findall(text))


@functools.cache
def _is_foreign(char: str) -> bool:
    # Hebrew alef to dalet name cardinals only as symbols (U+2135 to U+2138), not as letters.
    if "\u2100" <= char <= "\u214f":
        return False
    if "\U0001f000" <= char <= "\U0001faff":
        return False  # emoji, though some of them are Japanese words
    # A radical or a squared word is a symbol to Unicode: look at what it stands for.
    return any(_is_foreign_letter(part) for part in char + unicodedata.normalize("NFKC", char))


def _is_foreign_letter(char: str) -> bool:
    if not char.isalpha() and not char.isdecimal():
        return False
    name = unicodedata.name(char, "")
    return bool(name) and not name.startswith(_ALLOWED)
