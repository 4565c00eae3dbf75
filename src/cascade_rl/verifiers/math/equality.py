"""`equal(found, reference)`: exact arithmetic first, Math-Verify for what it cannot read.

`decide` is the exact part: True, False, or None for Math-Verify. Before that, `refused` turns
away what no answer needs (towers of exponents, 60 digits) and what Math-Verify would wrongly
accept.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from cascade_rl.verifiers.math import algebra
from cascade_rl.verifiers.math.algebra import Undefined, Unreadable
from cascade_rl.verifiers.math.answers import Refused, name_of, read_answer
from cascade_rl.verifiers.math.compare import match
from cascade_rl.verifiers.math.extract import boxed
from cascade_rl.verifiers.math.normalise import normalise
from cascade_rl.verifiers.math.shapes import Answer, Named, Number
from cascade_rl.verifiers.math.units import NAMES, split_unit
from cascade_rl.verifiers.math.worker import default_worker

MAX_ANSWER = 1000
"""Characters; longer answers are compared as text only."""


@dataclass(frozen=True, slots=True)
class _Reference:
    """What is computed once for a reference."""

    text: str
    squeezed: str
    answer: Answer | None
    choice: str


def equal(found: str, reference: str) -> bool | None:
    """Whether the answer equals the reference; None when deciding took too long.

    Both are expressions, in dollars or without. Raises MathWorkerLost when the process that
    computes cannot be kept alive.
    """
    verdict = decide(found, reference)
    if verdict is not None:
        return verdict
    wanted, text = _reference(reference).text, normalise(_unboxed(found))
    return default_worker().equal(split_unit(wanted)[0], split_unit(text)[0])


def decide(found: str, reference: str) -> bool | None:
    """What exact arithmetic and the text say; None where Math-Verify must be asked."""
    wanted = _reference(reference)
    if len(found) > MAX_ANSWER + len(reference):
        return found == reference
    text = normalise(_unboxed(found))
    if not text or _NOT_A_NUMBER.search(text):
        return False
    if text == wanted.text or _squeeze(text) == wanted.squeezed:
        return True
    if len(text) > MAX_ANSWER or too_hard(text) or _unreadable_characters(text):
        return False
    if wanted.choice:
        chosen = choice(text)
        if chosen or "(" in wanted.text:
            return chosen == wanted.choice
    try:
        verdict = None
        if wanted.answer:
            answer = read_answer(text)
            verdict = match(answer, wanted.answer)
            if verdict and _adds_letters(text, answer, wanted):
                return False
    except (Refused, Undefined):
        return False
    except Unreadable:
        verdict = None
    if verdict is None and refused(text, wanted.text):
        return False
    if verdict is False and _DECIMAL_COMMA.search(text + " " + wanted.text):
        return _without_comma(text) == _without_comma(wanted.text)
    return verdict


def _adds_letters(text: str, answer: Answer, wanted: _Reference) -> bool:
    """`5 + 0x` and `5x/x` for 5: a letter that cancels is none that was asked for."""
    if not (isinstance(answer, Number) and isinstance(wanted.answer, Number)):
        return False
    return bool(_letters(split_unit(text)[0]) - _letters(wanted.text))


@functools.lru_cache(maxsize=4096)
def _reference(reference: str) -> _Reference:
    text = normalise(_unboxed(reference[: 100 * MAX_ANSWER]))
    answer = None
    if len(text) <= MAX_ANSWER and not too_hard(text):
        try:
            answer = read_answer(text, trusted=True)
        except (Refused, Undefined, Unreadable):
            answer = None
    return _Reference(text, _squeeze(text), answer, choice(text))


def _unboxed(text: str) -> str:
    return boxed(text) or text if "\\boxed" in text else text


def _squeeze(text: str) -> str:
    """Without blanks, except those between letters and digits."""
    if " " not in text:
        return text
    return _BLANK.sub("", text)


_NOT_A_NUMBER = re.compile(r"(?<![a-z])nan(?![a-z])", re.IGNORECASE)
_BLANK = re.compile(r"(?<![A-Za-z0-9]) +| +(?![A-Za-z0-9])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(?:\d+,\d\d|\d{4,},\d+)(?![\d,])")


def _without_comma(text: str) -> str:
    """1000,99 as 1000.99, where the whole text is such a number."""
    return text.replace(",", ".") if re.fullmatch(r"-?(?:\d+,\d\d|\d{4,},\d+)", text) else text


# --- multiple choice --------------------------------------------------------------------------

_CHOICE = re.compile(
    r"(?:option |choice )?(?:\\text\{\s*)?(?P<open>\()?\s*(?:\\text\{\s*)?(?P<letter>[A-Ja-j])\s*"
    r"\}?\s*(?P<close>[.):])?\s*\}?\s*[.):]?(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_ANOTHER_CHOICE = re.compile(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])|\b(?:or|and|not)\b")


def choice(text: str) -> str:
    """The letter of `B`, `(B)`, `\\text{(B)}`, `B.` or `B) 5`; "" where there is none or two."""
    found = _CHOICE.fullmatch(text)
    if found is None or (found["letter"].islower() and not found["open"]):
        return ""
    rest = found["rest"].strip()
    if (rest and not found["close"]) or _ANOTHER_CHOICE.search(rest):
        return ""
    return found["letter"].upper()


# --- partial credit ---------------------------------------------------------------------------


def is_number(text: str) -> bool:
    """Whether a text is one number."""
    return _number(text) is not None


def _number(text: str) -> float | None:
    if len(text) > MAX_ANSWER:
        return None
    try:
        answer = read_answer(normalise(text))
    except (Refused, Undefined, Unreadable):
        return None
    if isinstance(answer, Named):
        answer = answer.answer
    return algebra.as_float(answer.value) if isinstance(answer, Number) else None


def closeness(found: str, reference: str) -> float:
    """0.8 within 1 % of the reference, 0.5 within 10 %, else 0."""
    near, wanted = _number(found), _number(reference)
    if near is None or not wanted:
        return 0.0
    error = abs(near - wanted) / abs(wanted)
    return 0.8 if error <= 0.01 else 0.5 if error <= 0.1 else 0.0


# --- what Math-Verify is not asked ------------------------------------------------------------

_UNEVALUATED = re.compile(r"\\(?:int|iint|oint|sum|prod|lim)(?![a-z])")
_RELATION = re.compile(r"\\(?:le|ge|ne|equiv|approx|in)(?![a-z])|[<>]")
_TWO_NUMBERS = re.compile(r"(?<![_\d.])\d[\d.]* \d|\d\.\d*\.")
_TEXT_COMMAND = re.compile(r"\\text\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_WORD = re.compile(r"[A-Za-z]{2,}")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt pi or and "
    "mod gcd lcm max min inf infinity in cup cap begin end pmatrix array".split()
)


def refused(found: str, reference: str) -> bool:
    """Whether an answer that was not read exactly is wrong whatever Math-Verify says."""
    if found.count(",") > 200 or found.endswith((",", ";", "=")) or _unbalanced(found):
        return True
    if "=" in found and not _may_equate(found, reference):
        return True
    if _UNEVALUATED.search(found) and not _UNEVALUATED.search(reference):
        return True
    if ("%" in found) != ("%" in reference):
        return True
    if _TWO_NUMBERS.search(found) and not _TWO_NUMBERS.search(reference):
        return True
    kinds = {_kind(found), _kind(reference)}
    if len(kinds) > 1 and not ("relation" in kinds and kinds & {"()", "[]", "(]", "[)", "union"}):
        return True
    if kinds == {"other"} and _letters(found) - _letters(reference):
        return True
    theirs = set(_TEXT_COMMAND.findall(split_unit(found)[0]))
    if theirs - set(_TEXT_COMMAND.findall(reference)) - _FUNCTIONS:
        return True
    return bool(_words(found) - _words(reference) - _FUNCTIONS - NAMES.keys())


def _may_equate(found: str, reference: str) -> bool:
    """One equality, after a name, or an equation where the reference is one."""
    if found.count("=") > max(1, reference.count("=")):
        return False
    left, wanted = found.partition("=")[0], reference.partition("=")
    return bool(name_of(left.strip())) or bool(wanted[1] and not name_of(wanted[0].strip()))


def _unbalanced(text: str) -> bool:
    return sum(map(text.count, "([")) != sum(map(text.count, ")]"))


def _kind(text: str) -> str:
    """Sets, pairs, intervals, relations and the rest never equal one another."""
    if text.startswith("\\{") and text.endswith("\\}"):
        return "set"
    if "\\cup" in text:
        return "union"
    if _RELATION.search(text):
        return "relation"
    if text[:1] in "([" and text[-1:] in ")]" and "," in text:
        return text[0] + text[-1] if text.count("(") + text.count("[") == 1 else "other"
    return "other"


def _letters(text: str) -> set[str]:
    """Free variables; e, i and a name before `=` are none."""
    text = _COMMAND.sub(" ", _TEXT_COMMAND.sub(" ", text.rpartition("=")[2]))
    return {*_LETTER.findall(text)} - {"e", "i"}


def _words(text: str) -> set[str]:
    text = _TEXT_COMMAND.sub(r" \1 ", text)
    return {word.lower() for word in _WORD.findall(_COMMAND.sub(" ", text))}


def _unreadable_characters(text: str) -> bool:
    return any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") for char in text)


_LONG_NUMBER = re.compile(r"\d{60}")
_LONG_EXPONENT = re.compile(r"(?:\^|\*\*)\s*\{?\s*[+-]?\s*\(?\d{5}")
_LONG_FACTORIAL = re.compile(r"\d{4}\}?\)?\s*!|!\s*!|\)\s*!")
_BINOMIAL = re.compile(r"\\binom|\\choose|\bC\(")


def too_hard(text: str) -> bool:
    """Towers, huge exponents, factorials and binomials, long digits, deep nesting."""
    if text.isalnum() and len(text) < 60:
        return False
    if _LONG_NUMBER.search(text) or _LONG_EXPONENT.search(text) or _LONG_FACTORIAL.search(text):
        return True
    if _BINOMIAL.search(text) and re.search(r"\d{5}|\^", text):
        return True
    if text.count("^") > 1 and _tower(text):
        return True
    if sum(map(text.count, "([{")) <= 20:
        return False
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest > 20


def _tower(text: str) -> bool:
    """Whether an exponent holds another exponent."""
    depth, open_at = 0, []
    for position, char in enumerate(text):
        if char == "{" or char == "(":
            depth += 1
            if text[:position].rstrip().endswith("^"):
                open_at.append(depth)
        elif char == "}" or char == ")":
            if open_at and open_at[-1] == depth:
                open_at.pop()
            depth -= 1
        elif (
            char == "^"
            and text[position : position + 6] != "^\\circ"
            and (open_at or re.search(r"\^\s*\w\s*$", text[max(0, position - 5) : position]))
        ):
            return True
    return False
