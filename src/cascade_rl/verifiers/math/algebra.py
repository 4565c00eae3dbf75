"""Exact arithmetic of what answers are made of: fractions of polynomials with integer coefficients.

A polynomial is a dict from monomials to integers. Its letters are variables, `pi`, `e`, the
imaginary unit `i`, and square roots of primes; roots and `i` are reduced when multiplied, so two
polynomials are equal exactly when their dicts are. What this arithmetic cannot reduce (a sine, a
cube root) is an *opaque* letter, named by its canonical text: two values with the same opaque
letters may be found equal, but never different.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, int]

_TERMS = 300
_BITS = 20_000
_SMALL_PRIMES_BELOW = 2_000
OPAQUE = "?"
"""First character of an opaque letter."""
ROOT = "√"
"""First character of the square root of a prime: `√7`."""


class Unreadable(Exception):
    """Not an expression of this arithmetic, or too large for it: others must decide."""


class Undefined(Exception):
    """A division by zero: equal to nothing."""


@dataclass(frozen=True, slots=True)
class Value:
    """above / below, both polynomials; below is not zero."""

    above: Polynomial
    below: Polynomial


_CONSTANTS: dict[str, complex] = {"pi": math.pi, "e": math.e, "i": 1j}
_ONE: Polynomial = {(): 1}
IMAGINARY = Value({(("i", 1),): 1}, _ONE)


def number(above: int, below: int = 1) -> Value:
    """A rational number."""
    return Value({(): above} if above else {}, {(): below})


def letter(name: str) -> Value:
    """A variable, `pi`, `e`, or an opaque letter."""
    return Value({((name, 1),): 1}, _ONE)


# --- polynomials ------------------------------------------------------------------------------


def _plus(a: Polynomial, b: Polynomial, sign: int = 1) -> Polynomial:
    total = dict(a)
    for monomial, factor in b.items():
        found = total.get(monomial, 0) + sign * factor
        if found:
            total[monomial] = found
        else:
            del total[monomial]
    return total


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    if b == _ONE:
        return a
    if a == _ONE:
        return b
    if len(a) * len(b) > _TERMS:
        raise Unreadable
    total: Polynomial = {}
    for left, x in a.items():
        for right, y in b.items():
            monomial, factor = _merge(left, right) if left and right else (left or right, 1)
            factor *= x * y
            if factor.bit_length() > _BITS:
                raise Unreadable
            total[monomial] = total.get(monomial, 0) + factor
    return {monomial: factor for monomial, factor in total.items() if factor}


def _merge(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    """The product of two monomials and the integer that roots and i^2 leave behind."""
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + power
    factor = 1
    for name, power in list(powers.items()):
        if name == "i" and power > 1:
            factor *= -1 if power % 4 >= 2 else 1
            powers[name] = power % 2
        elif power > 1 and name[0] == ROOT:
            factor *= int(name[1:]) ** (power // 2)
            powers[name] = power % 2
    return tuple(sorted(item for item in powers.items() if item[1])), factor


# --- values -----------------------------------------------------------------------------------


def add(a: Value, b: Value, sign: int = 1) -> Value:
    """The sum, or with sign -1 the difference."""
    if a.below == b.below:
        return Value(_plus(a.above, b.above, sign), a.below)
    above = _plus(_times(a.above, b.below), _times(b.above, a.below), sign)
    return Value(above, _times(a.below, b.below))


def multiply(a: Value, b: Value) -> Value:
    """The product."""
    return Value(_times(a.above, b.above), _times(a.below, b.below))


def divide(a: Value, b: Value) -> Value:
    """The quotient. Raises Undefined when b is zero, Unreadable when it may be."""
    if not b.above:
        raise Undefined
    if len(b.above) > 1 and opaque(b):
        raise Unreadable
    return Value(_times(a.above, b.below), _times(a.below, b.above))


def negative(a: Value) -> Value:
    """-a."""
    return Value({monomial: -factor for monomial, factor in a.above.items()}, a.below)


def rational(a: Value) -> tuple[int, int] | None:
    """(above, below) in lowest terms with below > 0, when `a` is written as a rational number."""
    if not a.above:
        return 0, 1
    if len(a.above) != 1 or len(a.below) != 1 or () not in a.above or () not in a.below:
        return None
    above, below = a.above[()], a.below[()]
    shared = math.gcd(above, below) * (1 if below > 0 else -1)
    return above // shared, below // shared


def power(base: Value, exponent: Value) -> Value:
    """The power; exponents other than whole numbers and halves stay opaque."""
    found, plain = rational(exponent), rational(base)
    if found is not None and found[1] == 1:
        return _whole_power(base, found[0])
    if found is not None and found[1] == 2 and plain is not None and plain[0] > 0:
        return _whole_power(square_root(base), found[0])
    return letter(f"{OPAQUE}^({canonical(base)},{canonical(exponent)})")


def _whole_power(base: Value, exponent: int) -> Value:
    plain = rational(base)
    if exponent < 0:
        return _whole_power(divide(number(1), base), -exponent)
    if exponent == 0:
        if not base.above:
            raise Undefined
        return number(1)
    if plain is not None:
        if exponent * max(abs(plain[0]), plain[1]).bit_length() > _BITS:
            raise Unreadable
        return number(plain[0] ** exponent, plain[1] ** exponent)
    if exponent > 60:
        raise Unreadable
    result = base
    for _ in range(exponent - 1):
        result = multiply(result, base)
    return result


def square_root(a: Value) -> Value:
    """The root of a rational number, reduced to roots of primes; of anything else opaque."""
    found = rational(a)
    if found is None:
        return letter(f"{OPAQUE}sqrt({canonical(a)})")
    above, below = found
    outside, primes = _squares_and_primes(abs(above) * below)
    monomial: Monomial = tuple(sorted((f"{ROOT}{prime}", 1) for prime in primes))
    root = Value({monomial: outside} if above else {}, {(): below})
    return multiply(root, IMAGINARY) if above < 0 else root


def _squares_and_primes(n: int) -> tuple[int, list[int]]:
    """The number as outside^2 times distinct primes. Raises Unreadable where n resists."""
    outside, primes, prime = 1, [], 2
    if n == 0:
        return 0, []
    while prime < _SMALL_PRIMES_BELOW and prime * prime <= n:
        times = 0
        while n % prime == 0:
            n //= prime
            times += 1
        outside *= prime ** (times // 2)
        if times % 2:
            primes.append(prime)
        prime += 1 if prime == 2 else 2
    if n > 1:
        root = math.isqrt(n)
        if root * root == n and root < _SMALL_PRIMES_BELOW**2:
            outside *= root
        elif n < _SMALL_PRIMES_BELOW**2:
            primes.append(n)
        else:
            raise Unreadable
    return outside, primes


def whole_root(a: Value, degree: int) -> Value:
    """The degree-th root, where it is rational; opaque otherwise."""
    found = rational(a)
    if degree == 2:
        return square_root(a)
    if found is not None and 2 < degree < 60:
        above, below = (_exact_root(part, degree) for part in found)
        if above is not None and below is not None:
            return number(above, below)
    return letter(f"{OPAQUE}root{degree}({canonical(a)})")


def _exact_root(n: int, degree: int) -> int | None:
    if n < 0:
        found = _exact_root(-n, degree) if degree % 2 else None
        return None if found is None else -found
    if n.bit_length() > 200:
        return None
    near = round(n ** (1 / degree))
    return next((k for k in (near - 1, near, near + 1) if k >= 0 and k**degree == n), None)


def canonical(a: Value) -> str:
    """One text for equal values. Raises Unreadable where a sum is below."""
    if len(a.below) != 1:
        raise Unreadable
    [(monomial, below)] = a.below.items()
    if monomial:
        raise Unreadable
    shared = math.gcd(below, *a.above.values()) * (1 if below > 0 else -1)
    above = sorted((m, factor // shared) for m, factor in a.above.items())
    text = f"{above}/{below // shared}"
    if len(text) > 2000:
        raise Unreadable
    return text


# --- comparisons ------------------------------------------------------------------------------


def opaque(a: Value) -> frozenset[str]:
    """The opaque letters in a value."""
    return frozenset(
        name
        for part in (a.above, a.below)
        for monomial in part
        for name, _ in monomial
        if name[0] == OPAQUE
    )


def same(a: Value, b: Value) -> bool | None:
    """Whether two values are equal; None where opaque letters leave it open."""
    hidden = opaque(a), opaque(b)
    equal = _times(a.above, b.below) == _times(b.above, a.below)
    if hidden[0] or hidden[1]:
        return True if equal and hidden[0] == hidden[1] else None
    return equal


def proportional(a: Value, b: Value) -> bool | None:
    """Whether a = 0 and b = 0 say the same because one is a constant times the other."""
    if opaque(a) or opaque(b) or len(a.below) != 1 or len(b.below) != 1:
        return None
    if any(a.below) or any(b.below) or set(a.above) != set(b.above) or not a.above:
        return False if not (any(a.below) or any(b.below)) else None
    first = next(iter(a.above))
    return all(b.above[m] * a.above[first] == k * b.above[first] for m, k in a.above.items())


def variables(a: Value) -> set[str]:
    """Letters that stand for no number."""
    names = {name for part in (a.above, a.below) for m in part for name, _ in m}
    return {name for name in names if name not in ("pi", "i") and name[0] != ROOT}


def as_float(a: Value) -> float | None:
    """About the value, 15 digits; None where it is not a real number of float size."""
    if opaque(a):
        return None
    try:
        found = _approximate(a.above) / _approximate(a.below)
    except (KeyError, OverflowError, ZeroDivisionError):
        return None
    return found.real if cmath.isfinite(found) and abs(found.imag) < 1e-12 else None


def _approximate(a: Polynomial) -> complex:
    total = 0j
    for monomial, factor in a.items():
        term = complex(factor)
        for name, exponent in monomial:
            root = name[0] == ROOT
            term *= (math.sqrt(int(name[1:])) if root else _CONSTANTS[name]) ** exponent
        total += term
    return total
