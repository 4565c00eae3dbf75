"""Math: the last box after the thinking against the reference; 1 when equal, else 0.

One final answer only. Policy, where graders differ:
- a chain of equalities (`1=5`, `x=1=2`) or a list ending in a comma is wrong; `x=5` is 5;
- a decimal must be exact: 0.333 is not 1/3;
- a unit may be added to a bare reference, another unit than the reference's is wrong;
- `5\\%` equals `5\\%` and 0.05, never 5;
- `nan` equals nothing;
- an integral, sum, product or limit is no answer unless the reference has one;
- (1,2) is not {1,2}; words that the reference does not have are wrong.
Plain numbers are compared exactly here; the rest goes to Math-Verify behind a hard deadline.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.types import Answer, Problem, Verdict, failed, right, unjudged, wrong
from cascade_rl.verifiers.math_worker import MathWorkerLost, default_worker

VERSION = "math-1"
MAX_ANSWER = 1000
"""Characters; longer boxed answers are compared as text only."""


def verify_math(
    problem: Problem, text: str, *, answer_pattern: str = "boxed", partial_credit: bool = False
) -> Verdict:
    """Score 1 when the last boxed answer outside the thinking equals the reference, else 0."""
    reference = problem.reference
    if not isinstance(reference, Answer) or not reference.text.strip():
        return unjudged("invalid", "a math problem needs a reference answer")
    if has_open_thought(text):
        return wrong("the thought never ends")
    found = last_boxed(answer_part(text))
    if found is None and answer_pattern == "last_number":
        found = (re.findall(r"-?\d+(?:\.\d+)?", answer_part(text)) or [None])[-1]
    if found is None:
        return wrong("no \\boxed{} in the answer")
    shown = found[:200]
    try:
        verdict = equal(found, reference.text)
    except MathWorkerLost as error:
        return unjudged("infra", str(error))
    if verdict is None:
        return failed("timeout", f"comparing {shown} took too long", answer=shown)
    return right(shown) if verdict else wrong(f"found {shown}", answer=shown)


def last_boxed(text: str) -> str | None:
    """The content of the last `\\boxed{...}` whose braces close, if the last box does."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    start += len("\\boxed{")
    depth = 1
    for position in range(start, len(text)):
        char = text[position]
        if char in "{}" and text[position - 1] != "\\":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return text[start:position].strip() or None
    return None


def equal(found: str, reference: str) -> bool | None:
    """Whether the answer equals the reference; None when deciding took too long.

    Raises MathWorkerLost when the process that computes cannot be kept alive.
    """
    found, reference = normalise(found[: MAX_ANSWER + 1]), _value_of(normalise(reference))
    if not found or _NOT_A_NUMBER.search(found):
        return False
    if _without_blanks(_value_of(found)) == _without_blanks(reference):
        return True
    found = _right_hand_side(found, reference)
    number, wanted = _number(found), _number(reference)
    if number is not None and wanted is not None:
        return number == wanted
    if not found or _refused(found, reference) or _too_hard(found):
        return False
    return default_worker().equal(_unitless(reference), _unitless(found))


# --- text -------------------------------------------------------------------------------------

_NOT_A_NUMBER = re.compile(r"(?<![a-z])nan(?![a-z])", re.IGNORECASE)
_SPACING = re.compile(
    r"\\text\s*\{\s*\}|(?<!\\)\\[,;:! ]|~|\\q?quad\b|"
    r"\\left(?![a-z])|\\right(?![a-z])|\\displaystyle"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![a-z])")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,|\{,\})\d{3})+(?![\d,])")


def normalise(text: str) -> str:
    """One spelling of an answer: ASCII digits, no spacing commands, no dollar signs."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(_plain_digit(c) for c in text if unicodedata.category(c) != "Cf")
    text = text.replace("−", "-").replace("\\$", "").replace("$", "")
    text = _FRACTION.sub(r"\\frac", _SPACING.sub(" ", text))
    text = _THOUSANDS.sub(lambda m: re.sub(r"[,{}]", "", m.group()), text)
    return text.replace("\\%", "%").strip().rstrip(".").strip()


def _plain_digit(char: str) -> str:
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)


def _without_blanks(text: str) -> str:
    return re.sub(r"\s+", "", text)


# --- numbers ----------------------------------------------------------------------------------

_DECIMAL = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_PLAIN_NUMBER = re.compile(rf"({_DECIMAL})\s*(%?)")
_RATIO = re.compile(rf"({_DECIMAL})\s*/\s*(\d+)|([+-]?)\\frac\{{({_DECIMAL})\}}\{{({_DECIMAL})\}}")


def _number(text: str) -> Fraction | None:
    """The exact value of a decimal, a percentage or one fraction of decimals."""
    if match := _PLAIN_NUMBER.fullmatch(text):
        return Fraction(match[1]) / (100 if match[2] else 1)
    if match := _RATIO.fullmatch(text):
        sign = -1 if match[3] == "-" else 1
        above, below = Fraction(match[1] or match[4]), Fraction(match[2] or match[5])
        return sign * above / below if below else None
    return None


# --- policy -----------------------------------------------------------------------------------

_RELATION = re.compile(r"\\(?:leq?|geq?|neq?|equiv|approx)(?![a-z])|[<>≤≥≠]")
_UNEVALUATED = re.compile(r"\\(?:int|iint|oint|sum|prod|lim)(?![a-z])")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textrm|mbox|operatorname)\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt pi or and "
    "mod gcd lcm max min inf infinity in cup cap".split()
)
_UNITS = frozenset(
    "mm cm dm km kg mg g m s h l ml ms min sec seconds minutes hour hours day days week weeks "
    "month months year years degree degrees meter meters metres feet foot ft inch inches mile "
    "miles yard yards unit units square cubic cents dollars dollar percent mph lb lbs oz gallons "
    "liters litres grams people ways times".split()
)


_NAME = re.compile(r"\s*[A-Za-z](?:_\{?\w+\}?)?(?:\([\w, ]*\))?'*\s*")


def _right_hand_side(found: str, reference: str) -> str:
    """What `x = 5` says; empty for a chain or an equation between numbers."""
    if "=" in reference:
        return found if found.count("=") == reference.count("=") else ""
    if _RELATION.search(found):
        return found if found.count("=") == 0 else ""
    value = _value_of(found)
    return value if "=" not in value else ""


def _value_of(text: str) -> str:
    """5 for `x = 5`, where one name is on the left; other texts as they are."""
    left, sign, value = text.partition("=")
    return value.strip() if sign and "=" not in value and _NAME.fullmatch(left) else text


def _refused(found: str, reference: str) -> bool:
    if len(found) > MAX_ANSWER or found.endswith(",") or found.count(",") > 200:
        return True
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in found if char != "\n"):
        return True
    if _UNEVALUATED.search(found) and not _UNEVALUATED.search(reference):
        return True
    if ("%" in found) != ("%" in reference):
        return True
    if _bracket(found) != _bracket(reference) and "set" in (_bracket(found), _bracket(reference)):
        return True
    theirs, ours = _units(found), _units(reference)
    if theirs and ours and theirs != ours:
        return True
    return bool(_words(found) - _words(reference) - _FUNCTIONS - _UNITS)


def _bracket(text: str) -> str:
    if text.startswith(("\\{", "\\lbrace")):
        return "set"
    return "tuple" if text.startswith(("(", "[")) else ""


def _words(text: str) -> set[str]:
    text = _TEXT_COMMAND.sub(r" \1 ", text)
    return {word.lower() for word in _WORD.findall(_COMMAND.sub(" ", text))}


def _units(text: str) -> set[str]:
    inside = {word for part in _TEXT_COMMAND.findall(text) for word in part.lower().split()}
    return (_words(text) | inside) & _UNITS


def _unitless(text: str) -> str:
    """The text without units, which the policy has already compared."""
    text = _TEXT_COMMAND.sub(
        lambda m: " " if set(m[1].lower().split()) <= _UNITS else m.group(), text
    )
    return re.sub(r"(?<=\d)\s+(?:" + "|".join(sorted(_UNITS, key=len)[::-1]) + r")\b.*$", "", text)


# --- work that no answer needs ----------------------------------------------------------------

_LONG_NUMBER = re.compile(r"\d{60}")
_LONG_EXPONENT = re.compile(r"(?:\^|\*\*)\s*\{?\s*[+-]?\s*\(?\d{5}")
_LONG_FACTORIAL = re.compile(r"\d{4}\}?\)?\s*!|!\s*!|\)\s*!")


def _too_hard(text: str) -> bool:
    """Towers, huge exponents and factorials, long digits, deep nesting."""
    if _LONG_NUMBER.search(text) or _LONG_EXPONENT.search(text) or _LONG_FACTORIAL.search(text):
        return True
    depth = deepest = tower = 0
    for position, char in enumerate(text):
        depth += (char in "({[") - (char in ")}]")
        deepest = max(deepest, depth)
        tower += char == "^" and "^" in text[max(0, position - 4) : position]
    return deepest > 20 or tower > 0
