"""Prompts that RLHF leaves out: mathematics and competitive programming (arXiv 2512.13607 section
4.3: keeping the former cost about two points of AIME25).

One rule: asked of the prompt's text, whatever the row calls itself, since chat data is full of
both. Ordinary programming ("write a script that renames files") stays.
"""

from __future__ import annotations

import re

from cascade_rl.data.curate.rule import excerpt, question, sentences
from cascade_rl.types import Problem, Row

_LATEX = re.compile(
    r"\\(?:[dt]?frac|sqrt|sum|int|boxed|[dt]?binom|cdot|leq?|geq?|times|pi|theta|triangle|angle|mathbb"
    r"|overline|circ|equiv|pmod|log|sin|cos|tan|infty|begin\{(?:align|pmatrix|bmatrix|cases))(?![a-z])"
)
_FORMULA = re.compile(r"\$([^$\n]{1,200})\$|\\\[([^\n]{1,400}?)\\\]|\\\(([^\n]{1,200}?)\\\)")
_SYMBOLIC = re.compile(r"[=^_<>|]|[\w)]\s*[-+*/]\s*[\w(]|\w\(\w|^\s*-?[\w.,]{1,12}\s*$")
_TWO_WORDS = re.compile(r"[A-Za-z]{3,} [A-Za-z]{3,}")
_EQUATION = re.compile(
    r"(?<![\w/.])\d*[a-z](?:\^\d+)?\s*[-+*/]\s*\d*[a-z]?(?:\s*[-+*/]\s*\d*[a-z]?(?:\^\d+)?)?\s*="
    r"\s*-?\d|(?<![\w/.-])\d+\s*[-+*/×÷^]\s*\d+\s*(?:[-+*/×÷^]\s*\d+\s*){0,9}=\s*\??(?![\w=])"
    r"|\b[a-z]\([a-z]\)\s*=\s*-?\d*[a-z]"
)
_TASK = re.compile(
    r"\b(?:solve|evaluate|simplify|factori[sz]e|factor|differentiate|integrate|compute|calculate)\b"
    r"[^.?\n]{0,60}?(?:\d\s*[-+*/^=×÷]\s*[\dx(]|\b(?:equation|integral|derivative|polynomial"
    r"|probability|expression|inequality|determinant|square root|remainder|perimeter|hypotenuse)\b)"
    r"|\bsolve for [a-z]\b"
    r"|\bfind (?:the|all|every) (?:\w{1,14} ){0,3}?(?:values?|sum|number|area|probability|remainder"
    r"|product|perimeter|volume|integers?|ratio|roots?|solutions?|derivative|integral|angle|radius|digits?)"
    r" (?:of|that|such|when|for|between|[a-z]\b)"
    r"|\bprove that\b[^.\n]{0,200}[=<>≤≥\d]"
    r"|\b(?:math(?:ematics|s)?|algebra|geometry|calculus|trigonometry|arithmetic) (?:problem"
    r"|question|exercise|homework|puzzle)s? ?[:.]",
    re.IGNORECASE,
)
_TERM = re.compile(
    r"\b(integer|prime|divisor|divisible|multiple|polynomial|probability|triangle|rectangle|pentagon"
    r"|hexagon|octagon|polygon|quadrilateral|perimeter|area|radius|diameter|circumference|reciprocal"
    r"|consecutive|digit|remainder|factorial|square root|cube root|arithmetic sequence|geometric"
    r"|degree|fraction|divisors|distinct|ratio|coefficient|vertices|angle|square inche|cubic inche"
    r"|inches|ways|even number|odd number|product of|sum of|term of|relatively prime|base \d{1,2}"
    r"|random|coin|dice?|at least|at most|smallest|largest|greatest|least|positive|function)s?\b",
    re.IGNORECASE,
)
_TERMS = 3
"""Different words of mathematics from which a question is one of it."""
_NUMBER = re.compile(
    r"(?<![\w.])\$?\d[\d,]*(?:\.\d+)?(?:[a-z]{1,2})?(?!\w)|\b(?:half|twice|thrice|double|triple|two"
    r"|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|third|fourth|quarter)s?\b",
    re.IGNORECASE,
)
_AMOUNT = re.compile(
    r"\b(?:how (?:many|much|long|far|old|tall|fast|heavy|big|high)|what(?:'s| is| was| were| are"
    r"| will be| would be) (?:the|his|her|their|its|\w{1,14}'s?) (?:\w{1,14} ){0,3}?"
    r"(?:total|sum|number|cost|price|average|profit|distance|percentage|fraction|area|perimeter|probability|ratio|weight"
    r"|age|speed|volume|value|length|radius|remainder|product|score|capacity|amount"
    r"|temperature|salary|bill|population|time|height|combined|average speed)"
    r"|(?:what|which) (?:percentage|percent|fraction|number|place)|by what)\b[^?]{0,400}\?"
    r"|\b(?:calculate|determine|find|compute) (?:the|how many|how much|his|her|their) "
    r"(?:\w{1,14} ){0,3}?"
    r"(?:total|sum|number|cost|price|average|profit|distance|percentage|amount|many|much)\b",
    re.IGNORECASE,
)
_NUMBERS = 2
"""Numbers from which a text that asks for an amount is a word problem."""

_SITES = re.compile(
    r"\b(?:codeforces|leetcode|atcoder|hackerrank|codechef|topcoder|competitive programming"
    r"|time limit per test|memory limit per test)\b",
    re.IGNORECASE,
)
_STREAMS = re.compile(
    r"\b(?:standard (?:input|output)|stdin|stdout|from (?:the )?std ?in"
    r"|(?:number of|each) test cases?)\b",
    re.IGNORECASE,
)
_SECTION = re.compile(
    r"^[\W_]{0,9}((?:sample |example )?(?:input|output)(?: format)?|constraints|examples?|notes?)"
    r"(?: \d)?[\W_]{0,9}$",
    re.IGNORECASE | re.MULTILINE,
)
_BOUND = re.compile(
    r"(?:\u2264|<=|\\leq?(?![a-z])|<)\s*\$?\s*(?:10\s*(?:\^|\*\*)|\d{3,}|10[⁰¹²³⁴⁵⁶⁷⁸⁹])"
)
_FUNCTION_TASK = re.compile(
    r"\b(?:you are |you're )?given (?:an?|two|the|a list of) (?:\w{1,12} ){0,2}?(?:integer|array"
    r"|string|list|matrix|tree|graph|grid|sequence|permutation)s?\b",
    re.IGNORECASE,
)
_WRITES_PROGRAM = re.compile(
    r"\b(?:write|implement|create|give me|complete|fix|debug) (?:\w{1,12} ){0,4}?"
    r"(?:function (?:that|to|which|in|called|named|for)|program|script|code|class"
    r"|method|query)\b|^\s*(?:def \w{1,60}\(|import \w)",
    re.IGNORECASE | re.MULTILINE,
)
_ASKED = re.compile(r"\b(?:return|print|output|find|determine|count)\b", re.IGNORECASE)
_PROGRAM = re.compile(
    r"\b(?:function|program|code|algorithm|python|java|c\+\+|solution|complexity)\b", re.IGNORECASE
)


def no_math_or_code(row: Row) -> str | None:
    """Why the prompt is none for RLHF: a math problem, or one of a programming contest."""
    if isinstance(row, Problem) and row.domain in ("math", "code"):
        return f"{_NAMES[row.domain]}: its ability is {row.domain}"
    text = question(row)
    return contest_problem(text) or math_problem(text)


_NAMES = {"math": "math prompt", "code": "competitive programming prompt"}


def math_problem(text: str) -> str | None:
    """Formulas, an equation, a task of mathematics, or a story with numbers asking an amount.

    A program that is to be written may compute what it likes.
    """
    if _WRITES_PROGRAM.search(text):
        return None
    if "[asy]" in text:
        return "math prompt: a drawing in [asy]"
    for pattern in (_LATEX, _EQUATION, _TASK):
        found = pattern.search(text)
        if found:
            return f"math prompt: {excerpt(text, *found.span())}"
    for formula in _FORMULA.finditer(text):
        inner = formula[1] or formula[2] or formula[3]
        if _SYMBOLIC.search(inner) and not _TWO_WORDS.search(inner):
            return f"math prompt: {formula[0]}"
    parts = sentences(text)
    amount = next((part for part in parts if _AMOUNT.search(part)), None)
    if amount and len(_NUMBER.findall(text)) >= _NUMBERS:
        return f"math prompt: {amount[:80]}"
    terms = {term.lower() for term in _TERM.findall(text)}
    if len(terms) >= _TERMS and any(map(_ASKS.search, parts)):
        return f"math prompt: {', '.join(sorted(terms)[:5])}"
    return None


_ASKS = re.compile(r"\?$|\b(?:find|compute|calculate|determine|evaluate)\b", re.IGNORECASE)


def contest_problem(text: str) -> str | None:
    """A contest's name, its sections, its streams with bounds, or its wording with a program."""
    site = _SITES.search(text)
    if site:
        return f"competitive programming prompt: {site[0]}"
    sections = {match[1].lower().split()[-1] for match in _SECTION.finditer(text)}
    streams, bound = _STREAMS.search(text), _BOUND.search(text)
    if {"input", "output"} <= sections or (streams and (bound or sections)):
        return "competitive programming prompt: input and output"
    task = _FUNCTION_TASK.search(text)
    if task and _ASKED.search(text) and (bound or sections or _PROGRAM.search(text)):
        return f"competitive programming prompt: {excerpt(text, *task.span())}"
    return None
