"""Whether two answers are one: True, False, or None where exact arithmetic cannot tell.

Shapes are compared first: a pair is never a set, a list never a number. So what Math-Verify is
asked later is only whether two formulas are equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cascade_rl.verifiers.math import algebra
from cascade_rl.verifiers.math.regions import region_of
from cascade_rl.verifiers.math.shapes import (
    Answer,
    Based,
    Equation,
    Group,
    Named,
    Number,
    Region,
    Words,
)

PRINTED_DIGITS = 10
"""A decimal with so many significant digits may be a program's print of an exact value."""


def match(found: Answer, reference: Answer) -> bool | None:
    """Whether the answer found is the reference."""
    if isinstance(found, Named) or isinstance(reference, Named):
        return _match_named(found, reference)
    if isinstance(found, Number) and isinstance(reference, Number):
        return match_numbers(found, reference)
    if isinstance(found, Equation) and isinstance(reference, Equation):
        return algebra.proportional(found.difference, reference.difference)
    if isinstance(found, Based) and isinstance(reference, Based):
        return found == reference
    if isinstance(found, Words) and isinstance(reference, Words):
        return found.text == reference.text
    if isinstance(found, Group) and isinstance(reference, Group):
        verdict = _match_groups(found, reference)
        if verdict is not None:
            return verdict
    if (here := region_of(found)) is not None and (there := region_of(reference)) is not None:
        return _match_regions(here, there)
    if type(found) is not type(reference):
        return _match_kinds(found, reference)
    return None


def _match_kinds(found: Answer, reference: Answer) -> bool | None:
    """Answers of different kinds differ, unless a word may be a product of letters."""
    for word, other in ((found, reference), (reference, found)):
        if isinstance(word, Words) and isinstance(other, Number):
            letters = algebra.variables(other.value)
            return None if letters and len(word.text) < 4 else False
    return False


def match_numbers(found: Number, reference: Number) -> bool | None:
    """By value and unit; a decimal of ten digits or more may be a printed exact value."""
    units = {found.unit, reference.unit} - {"", "%"}
    if len(units) > 1:
        return False
    verdict = algebra.same(found.value, reference.value)
    if verdict is False:
        return _printed(found, reference) or _printed(reference, found)
    return verdict


def _printed(decimal: Number, exact: Number) -> bool:
    digits = re.sub(r"[^0-9.]", "", decimal.digits)
    places = len(digits.partition(".")[2])
    if exact.digits or len(digits.replace(".", "").lstrip("0")) < PRINTED_DIGITS or not places:
        return False
    near, wanted = algebra.as_float(decimal.value), algebra.as_float(exact.value)
    if near is None or wanted is None:
        return False
    return abs(near - wanted) <= max(10.0**-places, 4e-16 * abs(wanted))


# --- names ------------------------------------------------------------------------------------


def _match_named(found: Answer, reference: Answer) -> bool | None:
    if isinstance(found, Named) and isinstance(reference, Named):
        if found.name == reference.name or "?" in (found.name, reference.name):
            return match(found.answer, reference.answer)
        return _match_as_equations(found, reference)
    named, plain = (found, reference) if isinstance(found, Named) else (reference, found)
    assert isinstance(named, Named)
    if isinstance(plain, Equation):
        sides = _as_equation(named)
        return None if sides is None else algebra.proportional(sides, plain.difference)
    if named is found:
        return match(named.answer, plain)
    return match(plain, named.answer)


def _match_as_equations(found: Named, reference: Named) -> bool | None:
    """Of y = 2x and x = y/2; but two names of one number are two answers."""
    sides = _as_equation(found), _as_equation(reference)
    if sides[0] is None or sides[1] is None:
        return False
    return algebra.proportional(sides[0], sides[1])


def _as_equation(named: Named) -> algebra.Value | None:
    if len(named.name) != 1 or not isinstance(named.answer, Number):
        return None
    return algebra.add(algebra.letter(named.name), named.answer.value, -1)


# --- groups -----------------------------------------------------------------------------------


def _match_groups(found: Group, reference: Group) -> bool | None:
    kinds = found.brackets, reference.brackets
    if kinds == ("list", "()") or (kinds == ("()", "list") and _names(reference) > 1):
        return _in_order(found, reference)
    if kinds in (("list", "list"), ("{}", "{}"), ("{}", "list"), ("list", "{}")):
        if _names(reference) > 1 and not _names(found):
            return _in_order(found, reference)
        if "or" in (found.joined, reference.joined) and _regions(found, reference):
            return None
        return _in_any_order(found, reference)
    if kinds[0] == kinds[1]:
        return _in_order(found, reference)
    return None if _regions(found, reference) else False


def _regions(found: Group, reference: Group) -> bool:
    return region_of(found) is not None and region_of(reference) is not None


def _names(group: Group) -> int:
    return len({item.name for item in group.items if isinstance(item, Named)})


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    open_ = False
    for verdict in verdicts:
        if verdict is False:
            return False
        open_ = open_ or verdict is None
    return None if open_ else True


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    open_ = False
    for verdict in verdicts:
        if verdict:
            return True
        open_ = open_ or verdict is None
    return None if open_ else False


def _in_order(found: Group, reference: Group) -> bool | None:
    if len(found.items) != len(reference.items):
        return False
    return _all(map(match, found.items, reference.items))


def _in_any_order(found: Group, reference: Group) -> bool | None:
    """Each item is in the other group; repetitions do not count."""
    if not found.items or not reference.items:
        return len(found.items) == len(reference.items)
    here = _all(_any(match(a, b) for b in reference.items) for a in found.items)
    if here is False:
        return False
    there = _all(_any(match(a, b) for a in found.items) for b in reference.items)
    return _all((here, there))


def _match_regions(found: Region, reference: Region) -> bool | None:
    if len(found.pieces) != len(reference.pieces):
        return False
    ends: list[bool | None] = []
    for mine, theirs in zip(found.pieces, reference.pieces, strict=True):
        ends.append((mine[1], mine[3]) == (theirs[1], theirs[3]))
        for a, b in ((mine[0], theirs[0]), (mine[2], theirs[2])):
            ends.append(a is b if a is None or b is None else algebra.same(a, b))
    return _all(ends)
