"""One spelling of an answer: ASCII digits, no invisible characters, few LaTeX commands.

Nothing here changes what an answer says, except for two readings that are policy: commas and
thin spaces between groups of three digits are separators outside brackets (1,234 is a number,
(1,234) a pair), and plain braces, which LaTeX does not print, are dropped around a whole answer.
"""

from __future__ import annotations

import re
import unicodedata

_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ",
    "÷": "/", "⁄": "/", "∕": "/", "≤": "\\le ", "≥": "\\ge ", "⩽": "\\le ", "⩾": "\\ge ",
    "≠": "\\ne ", "≈": "\\approx ", "π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ",
    "∩": "\\cap ", "∈": "\\in ", "±": "\\pm ", "√": "\\sqrt ", "°": "^\\circ ",
    "∅": "\\emptyset ", "⟨": "\\langle ", "⟩": "\\rangle ",
}  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))
_VULGAR = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4)}
_SPECIAL = str.maketrans(
    _SYMBOLS
    | {char: f"^{{{digit}}}" for char, digit in _RAISED.items()}
    | {char: f"\\frac{{{a}}}{{{b}}}" for char, (a, b) in _VULGAR.items()}
)

_COMMANDS = {
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "Bigl": "",
    "Bigr": "", "bigg": "", "Bigg": "", "mleft": "", "mright": "", "displaystyle": "",
    "textstyle": "", "limits": "", "quad": " ", "qquad": " ", "thinspace": " ", "enspace": " ",
    "dfrac": "\\frac", "tfrac": "\\frac", "cfrac": "\\frac", "leq": "\\le", "geq": "\\ge",
    "leqslant": "\\le", "geqslant": "\\ge", "lt": "<", "gt": ">", "neq": "\\ne",
    "lbrace": "\\{", "rbrace": "\\}", "degree": "^\\circ", "degrees": "^\\circ",
    "textbf": "\\text", "textrm": "\\text", "textit": "\\text", "textnormal": "\\text",
    "texttt": "\\text", "textsf": "\\text", "mbox": "\\text", "mathrm": "\\text",
    "mathbf": "\\text", "mathit": "\\text", "mathsf": "\\text", "hbox": "\\text",
    "operatorname": "\\text", "varnothing": "\\emptyset", "dbinom": "\\binom",
    "tbinom": "\\binom", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "land": "\\wedge",
    "lor": "\\vee", "infin": "\\infty", "imath": "i", "iff": "\\Leftrightarrow",
    "bmatrix": "pmatrix", "dots": "\\ldots", "cdots": "\\ldots", "thickspace": " ",
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_THIN = re.compile(r"(?<=\d)(?:,\\[!,;: ]|\\[!,;: ]|\s*\{\s*\\?,\s*\})\s*(?=\d{3}(?!\d))")
_SPACE = re.compile(r"(?<!\\)\\[,;:!> ]|~|\\\n")
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]")
_DOUBLED = re.compile(r"(?<!\\)\\\\(?=[A-Za-z(){}\[\]%$,;!])")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED_THOUSANDS = re.compile(r"-?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_ONE_LETTER = re.compile(r"\\text\s*\{\s*([ei])\s*\}")
_TEXT = re.compile(r"\\text\s*\{\s*")
_OPENING = re.compile(r"(?:\\boxed|\\text)?\s*\{")
_A_WORD = re.compile(r"[A-Za-z]{2}")
_PERCENT = re.compile(r"\\%|(?<=\d)\s*\\?(?:text\{\s*)?(?:percentage|percent|pct)\b\s*\}?")


def normalise(text: str) -> str:
    """One spelling of an answer; blanks are single and kept where they may mean something."""
    if not text.isascii():
        text = _ascii(text)
    if text.isalnum():
        return text
    if "\\" in text or "{" in text:
        text = _plain_latex(text)
    text = text.replace("$", "")
    if "**" in text:
        text = text.strip().strip("*").replace("**", "^")
    if "%" in text or "pct" in text or "percent" in text:
        text = _PERCENT.sub("%", text)
    if "," in text:
        text = _join_thousands(text)
    text = " ".join(text.split()).rstrip(".").rstrip() if text[-1:] != "…" else text
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", "")
    return _peel(text)


def _ascii(text: str) -> str:
    """Digits of any script and full-width forms as ASCII; invisible characters removed."""
    text = unicodedata.normalize("NFKC", text.translate(_SPECIAL))
    return "".join(map(_plain_digit, text)).translate(_SPECIAL)


def _plain_digit(char: str) -> str:
    if char.isascii():
        return char
    if unicodedata.category(char) == "Cf":
        return ""
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)


def _plain_latex(text: str) -> str:
    if "\\begin" not in text and "\\\\" in text:
        text = _DOUBLED.sub(r"\\", text)  # a backslash escaped once too often
    text = _THIN.sub(",", text) if _THIN.search(text) else text
    text = text.replace("\\$", "\\dollar ")
    text = _SPACE.sub(" ", _DELIMITERS.sub(" ", text))
    text = _COMMAND.sub(_spelling, text)
    if "matrix" in text:
        text = text.replace("{bmatrix}", "{pmatrix}")
    if "\\circ" in text:
        text = re.sub(r"\^\s*\{\s*\^?\s*\\circ\s*\}|\^\s*\\circ", "^\\\\circ", text)
    if "\\text" in text:
        text = _ONE_LETTER.sub(r" \1 ", _TEXT.sub(r"\\text{", text.strip()))
    return text


def _spelling(command: re.Match[str]) -> str:
    name = command[1]
    return _COMMANDS[name] if name in _COMMANDS else command[0]


def _join_thousands(text: str) -> str:
    """`1,234` to `1234` outside brackets."""
    parts, last, depth = [], 0, 0
    for match in _THOUSANDS.finditer(text):
        before = text[last : match.start()]
        depth += sum(before.count(c) for c in "([") - sum(before.count(c) for c in ")]")
        depth += before.count("\\{") - before.count("\\}")
        parts += [before, match[0].replace(",", "") if depth <= 0 else match[0]]
        last = match.end()
    return "".join([*parts, text[last:]])


def _peel(text: str) -> str:
    """Without braces, boxes, and \\text{} that holds no word, around the whole."""
    while text[-1:] == "}" and (opening := _OPENING.match(text)):
        start = opening.end()
        if text[-2:] == "\\}" or _closing(text, start) != len(text) - 1:
            return text
        inside = text[start:-1].strip()
        if "text" in opening[0] and _A_WORD.search(inside) and not inside[0].isdigit():
            return text
        text = inside
    return text


def _closing(text: str, start: int) -> int:
    """Where the brace opened just before `start` closes; -1 where it does not."""
    depth = 1
    for brace in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        if brace[0] in "{}":
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return brace.start()
    return -1


closing_brace = _closing
