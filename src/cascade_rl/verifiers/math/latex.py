"""LaTeX of one number or formula, read into an exact value.

Only what has one reading is read: `1/2x`, `\\sin 2x` or `f(x)` raise Unreadable, and Math-Verify
decides. Letters next to each other are factors; an integer before a proper fraction is a mixed
number (1\\frac{4}{5} is 9/5).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from cascade_rl.verifiers.math import algebra
from cascade_rl.verifiers.math.algebra import OPAQUE, Unreadable, Value

_TOKEN = re.compile(
    r"\s*(?:(\d*\.\d*\\overline\{\d+\}|\d+\.?\d*|\.\d+)|(\\[A-Za-z]+|\\[{}|])|(\S))"
)
_DEPTH = 25
_TOKENS = 400
_DERIVATIVE = re.compile(r"\\frac\s*\{\s*d[^{}]*\}\s*\{\s*d")
_MIXED_ENDS = ("", "+", "-", ")", "}", "]", ",")
_CONSTANTS = {"\\pi": "pi"}
_GREEK = frozenset(
    "\\alpha \\beta \\gamma \\delta \\theta \\phi \\varphi \\lambda \\mu \\omega \\rho \\sigma "
    "\\tau \\epsilon \\varepsilon \\eta \\kappa \\nu \\psi \\xi \\zeta \\chi".split()
)
_FUNCTIONS = frozenset(
    "\\sin \\cos \\tan \\cot \\sec \\csc \\arcsin \\arccos \\arctan \\sinh \\cosh \\tanh "
    "\\ln \\log \\exp".split()
)
_CALLABLE = frozenset("fghFGHPQ")
"""Letters before a bracket that may be functions: left to others."""


def read(text: str) -> Value:
    """The value of a formula. Raises Unreadable, or Undefined for a division by zero."""
    if text.isdigit():
        return algebra.number(_integer(text))
    if _DERIVATIVE.search(text):
        raise Unreadable
    reader = _Reader(text)
    value = reader.sum(0)
    if reader.token:
        raise Unreadable
    return value


def _integer(digits: str) -> int:
    if len(digits) > 1000:
        raise Unreadable
    return int(digits)


def decimal(text: str) -> Value:
    """The exact value of digits with at most one point, or of `0.1\\overline{6}`."""
    if "\\" in text:
        plain, _, repeated = text.partition("\\overline")
        repeated = repeated.strip("{}")
        whole, _, start = plain.partition(".")
        nines = 10 ** len(repeated) - 1
        above = _integer((whole + start) or "0") * nines + _integer(repeated)
        return algebra.number(above, nines * 10 ** len(start))
    whole, _, rest = text.partition(".")
    return algebra.number(_integer((whole + rest) or "0"), 10 ** len(rest))


class _Reader:
    """Recursive descent; `token` is the one to be read next, empty at the end."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self.token = self._tokens[0]

    def _take(self, wanted: str = "") -> str:
        token = self.token
        if not token or (wanted and token != wanted):
            raise Unreadable
        self._next += 1
        self.token = self._tokens[self._next]
        return token

    def sum(self, depth: int) -> Value:
        if depth > _DEPTH:
            raise Unreadable
        sign = -1 if self.token == "-" else 1
        if self.token in ("+", "-"):
            self._take()
        total = self._product(depth)
        if sign < 0:
            total = algebra.negative(total)
        while self.token in ("+", "-"):
            sign = -1 if self._take() == "-" else 1
            total = algebra.add(total, self._product(depth), sign)
        return total

    def _product(self, depth: int) -> Value:
        total = self._mixed(depth) if self._before_fraction() else self._factor(depth)
        slashed = False
        while self.token and self.token not in "+-)}],|" and self.token != "\\|":
            if self.token in ("*", "\\cdot", "\\times"):
                self._take()
                sign = self._sign()
                total = algebra.multiply(total, sign(self._factor(depth)))
            elif self.token in ("/", "\\div"):
                slashed = True
                self._take()
                total = algebra.divide(total, self._sign()(self._factor(depth)))
            elif slashed or self.token[0].isdigit() or self.token[0] == ".":
                raise Unreadable  # 1/2x, x2
            else:
                total = algebra.multiply(total, self._factor(depth))
        return total

    def _sign(self) -> Callable[[Value], Value]:
        if self.token in ("+", "-"):
            return algebra.negative if self._take() == "-" else _unchanged
        return _unchanged

    def _before_fraction(self) -> bool:
        return self.token.isdigit() and self._tokens[self._next + 1] == "\\frac"

    def _mixed(self, depth: int) -> Value:
        """A whole number directly before a fraction: added if proper, a factor if with letters."""
        whole = algebra.number(_integer(self._take()))
        self._take()
        above, below = self._argument(depth + 1), self._argument(depth + 1)
        fraction = algebra.divide(above, below)
        parts = algebra.rational(above), algebra.rational(below)
        if parts[0] is None or parts[1] is None:
            return algebra.multiply(whole, fraction)
        (a, one), (b, another) = parts[0], parts[1]
        if self.token not in _MIXED_ENDS or one != 1 or another != 1 or not 0 < a < b:
            raise Unreadable
        return algebra.add(whole, fraction)

    def _factor(self, depth: int) -> Value:
        base = self._atom(depth)
        while self.token in ("^", "!"):
            if self._take() == "!":
                base = _factorial(base)
                continue
            base = algebra.power(base, self._argument(depth))
            if self.token == "^":
                raise Unreadable
        return base

    def _argument(self, depth: int) -> Value:
        """What a command or ^ applies to: a group in braces, one digit, one letter, a command."""
        token = self.token
        if token == "{":
            return self._group("{", "}", depth)
        if token[:1].isdigit() and "." not in token:
            if len(token) > 1:  # TeX takes one digit
                self._tokens[self._next] = self.token = token[1:]
                return algebra.number(int(token[0]))
            return algebra.number(int(self._take()))
        if token in _CONSTANTS or token.isalpha():
            return self._atom(depth)
        if token == "\\frac":
            return self._atom(depth)
        raise Unreadable

    def _group(self, opening: str, closing: str, depth: int) -> Value:
        self._take(opening)
        value = self.sum(depth + 1)
        self._take(closing)
        return value

    def _atom(self, depth: int) -> Value:
        token = self.token
        first = token[:1]
        if first.isdigit() or first == ".":
            return decimal(self._take())
        if token == "(":
            return self._group("(", ")", depth)
        if token == "{":
            return self._group("{", "}", depth)
        if token == "|":
            return self._absolute(depth)
        if first.isalpha() or token in _GREEK:
            return self._letter()
        if token in _CONSTANTS:
            return algebra.letter(_CONSTANTS[self._take()])
        if first == "\\":
            return self._command(depth)
        raise Unreadable

    def _letter(self) -> Value:
        name = self._take().removeprefix("\\")
        if name in _CALLABLE and self.token == "(":
            raise Unreadable
        if name == "i" and self.token != "_":
            return algebra.IMAGINARY
        if self.token == "_":
            self._take()
            name += "_" + self._subscript()
        return algebra.letter(name)

    def _subscript(self) -> str:
        if self.token != "{":
            return self._take()[:1] if len(self.token) == 1 else self._refuse()
        self._take()
        parts = []
        while self.token.isalnum():
            parts.append(self._take())
        self._take("}")
        return "".join(parts) or self._refuse()

    def _refuse(self) -> str:
        raise Unreadable

    def _absolute(self, depth: int) -> Value:
        found = algebra.rational(self._group("|", "|", depth))
        if found is None:
            raise Unreadable
        return algebra.number(abs(found[0]), found[1])

    def _command(self, depth: int) -> Value:
        name = self._take()
        if name == "\\frac":
            above = self._argument(depth + 1)
            return algebra.divide(above, self._argument(depth + 1))
        if name == "\\sqrt":
            return self._root(depth)
        if name == "\\binom":
            return _binomial(self._argument(depth + 1), self._argument(depth + 1))
        if name in _FUNCTIONS:
            return self._call(name, depth)
        raise Unreadable

    def _root(self, depth: int) -> Value:
        degree = 2
        if self.token == "[":
            self._take()
            digits = self._take()
            degree = int(digits) if digits.isdigit() and len(digits) < 3 else 0
            self._take("]")
        if self.token.isdigit() and len(self.token) > 1:
            raise Unreadable  # \sqrt13: TeX and people differ
        argument = self._group("(", ")", depth) if self.token == "(" else self._argument(depth + 1)
        if degree < 2:
            raise Unreadable
        return algebra.whole_root(argument, degree)

    def _call(self, name: str, depth: int) -> Value:
        """A function of what is in brackets, or of one letter or number at the very end."""
        if self.token in ("(", "{"):
            closing = ")" if self.token == "(" else "}"
            argument = self._group(self.token, closing, depth)
            if self.token == "^":
                raise Unreadable
        else:
            argument = self._atom(depth)
            if self.token not in ("", "+", "-", ")", "}"):
                raise Unreadable
        return algebra.letter(f"{OPAQUE}{name}({algebra.canonical(argument)})")


def _tokens(text: str) -> list[str]:
    found = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position:].strip():
                raise Unreadable
            break
        found.append(match[0].strip())
        position = match.end()
        if len(found) > _TOKENS:
            raise Unreadable
    if not found:
        raise Unreadable
    found.append("")
    return found


def _unchanged(value: Value) -> Value:
    return value


def _factorial(value: Value) -> Value:
    found = algebra.rational(value)
    if found is None or found[1] != 1 or not 0 <= found[0] <= 200:
        raise Unreadable
    return algebra.number(math.factorial(found[0]))


def _binomial(n: Value, k: Value) -> Value:
    above, below = algebra.rational(n), algebra.rational(k)
    if above is None or below is None or above[1] != 1 or below[1] != 1:
        raise Unreadable
    if not 0 <= below[0] <= above[0] <= 1000:
        raise Unreadable
    return algebra.number(math.comb(above[0], below[0]))
