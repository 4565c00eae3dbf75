"""Mixed language: a purely English prompt answered, in part, in another script.

Policy: a prompt is purely English when all its letters are Latin (accents, as in names, count as
Latin) or mathematical symbols. A completion is mixed when thought or answer holds a letter of
another script. Greek letters are mathematics, as are the letter-like symbols of Unicode's
mathematical blocks. Latin-script languages other than English are not told apart.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

from cascade_rl.types import Message

VERSION = "language-1"
_ALLOWED = tuple(
    "LATIN GREEK MATHEMATICAL DOUBLE-STRUCK SCRIPT BLACK-LETTER KELVIN ANGSTROM OHM MICRO FEMININE "
    "MASCULINE MODIFIER FULLWIDTH~LATIN PLANCK INFORMATION TURNED REVERSED".replace(" ", "\n")
    .replace("~", " ")
    .split("\n")
)


def mixed_language(prompt: Sequence[Message], text: str) -> bool:
    """Whether the prompt is purely English and the completion, thought included, is not."""
    if text.isascii():
        return False
    return bool(_foreign(text)) and all(not _foreign(m.content) for m in prompt)


def _foreign(text: str) -> set[str]:
    """The letters of other scripts."""
    return set() if text.isascii() else {char for char in set(text) if _is_foreign(char)}


@functools.cache
def _is_foreign(char: str) -> bool:
    if not char.isalpha():
        return False
    name = unicodedata.name(char, "")
    # Hebrew alef to dalet name cardinals only as symbols (U+2135 to U+2138), not as letters.
    if "SYMBOL" in name and "\u2100" <= char <= "\u214f":
        return False
    return bool(name) and not name.startswith(_ALLOWED)
