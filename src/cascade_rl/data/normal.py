"""The words of a text as comparisons see them: without case, punctuation, markup or accents.

`words` is what decontamination compares; two texts that a reader takes for the same problem have
the same words, whether they are typeset in LaTeX, in Unicode or in plain text. One surprise:
letters and digits part, so that `2x`, `2 x` and `$2x$` are the same two words. `_ngrams.c` does
the same at the speed of a corpus, and a test holds the two equal.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

DROPPED = frozenset(
    """
    frac dfrac tfrac cfrac left right big bigl bigr bigg biggl biggr text textbf textit textrm
    texttt textsf mathrm mathbf mathit mathsf mathtt mathbb mathcal boldsymbol bm operatorname
    mbox hbox displaystyle textstyle limits nolimits quad qquad hspace vspace phantom cdot times
    div pm mp le leq leqslant ge geq geqslant lt gt ne neq approx equiv sim cong in notin to
    rightarrow leftarrow implies iff dots ldots cdots vdots ddots circ degree prime mid colon
    langle rangle lfloor rfloor lceil rceil lbrace rbrace vert lvert rvert begin end hline
    noindent par item begingroup endgroup emph underline overline mathopen mathclose
    """.split()
)
"""LaTeX commands that are no words; every other command is one, by its name."""

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "epsilon",
    "ζ": "zeta", "η": "eta", "θ": "theta", "ϑ": "theta", "ι": "iota", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "ς": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega",
}  # fmt: skip
SYMBOLS = {
    "√": "sqrt", "∞": "infty", "∑": "sum", "∏": "prod", "∫": "int", "∪": "cup", "∩": "cap",
    "⊂": "subset", "⊆": "subseteq", "∠": "angle", "△": "triangle", "⊥": "perp", "∥": "parallel",
    "∅": "emptyset", "∂": "partial",
}  # fmt: skip
"""Characters that are the word of the LaTeX command of that name; other signs are no words."""

SCRIPT = "\x01"
"""Before the folding of a raised or lowered digit: a run of them is one number of its own."""

_APOSTROPHES = "’‘ʼ′`´"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_ACCENT = re.compile(r"""\\['"`^~](?=[a-z])""")
_TOKEN = re.compile(
    r"""
      \\(?:begin|end)\{[a-z*]*\}                      # an environment: no word
    | \\(?P<command>[a-z]+)
    | \\.                                             # \( \, \{ \\ : no word
    | (?P<number>[0-9]+(?:(?:,|\{,\}|\\,|,\\!)[0-9]{3}(?![0-9]))*)
    | (?P<letters>[a-z\x80-\U0010ffff]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_SEPARATORS = re.compile(r"[^0-9]+")


def words(text: str) -> list[str]:
    """The normalised words of a text, in order.

    >>> words(r"Let $f(x)=\\frac{1}{2}x^{10}$; it's ≤ 1,000.")
    ['let', 'f', 'x', '1', '2', 'x', '10', 'its', '1000']
    """
    found = []
    for token in _TOKEN.finditer(plain(text)):
        kind = token.lastgroup
        if kind == "letters":
            found.append(token[0])
        elif kind == "number":
            found.append(_SEPARATORS.sub("", token[0]))
        elif kind == "command" and token["command"] not in DROPPED:
            found.append(_command(token["command"]))
    return found


def _command(name: str) -> str:
    r"""The word of a command: `\varphi` is `\phi` in another shape."""
    return name[3:] if name.startswith("var") and len(name) > 3 else name


def plain(text: str) -> str:
    """The text in lower case, accents and apostrophes dropped, in ASCII where that is possible."""
    folded = text if text.isascii() else _NOT_ASCII.sub(lambda run: _fold_run(run[0]), text)
    return _ACCENT.sub("", folded.lower()).replace("'", "")


def _fold_run(run: str) -> str:
    pieces: list[str] = []
    raised = False
    for character in run:
        folded = fold(character)
        script = folded.startswith(SCRIPT)
        if script:
            folded = folded[1:] if raised else " " + folded[1:]
        raised = script
        pieces.append(folded)
    return "".join(pieces)


@cache
def fold(character: str) -> str:
    """What one character outside ASCII stands for: letters of words, ASCII signs, or blanks.

    A raised or lowered digit comes with `SCRIPT` before it.
    """
    if character in _APOSTROPHES:
        return "'"
    if unicodedata.decomposition(character).startswith(("<super>", "<sub>")):
        digit = unicodedata.normalize("NFKD", character)
        return SCRIPT + digit if digit in "0123456789" else _fold_letters(digit)
    return _fold_letters(character)


def _fold_letters(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold()).lower()
    return "".join(map(_fold_letter, letters))


def _fold_letter(letter: str) -> str:
    name = GREEK.get(letter) or SYMBOLS.get(letter)
    if name is not None:
        return f" {name} "
    if letter.isascii():
        return letter
    if unicodedata.category(letter) in ("Mn", "Cf"):
        return ""
    if not letter.isalnum():
        return " "
    digit = unicodedata.decimal(letter, None)
    if digit is not None:
        return str(digit)
    return f" {letter} " if _is_ideograph(letter) else letter


def _is_ideograph(letter: str) -> bool:
    """Chinese characters and Japanese kana are a word each; nothing else says where one ends."""
    point = ord(letter)
    return 0x3040 <= point <= 0x30FF or 0x3400 <= point <= 0x9FFF or 0x20000 <= point <= 0x3FFFF
