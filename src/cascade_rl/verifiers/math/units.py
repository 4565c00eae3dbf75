"""Units after a number: which words are units, and which of them are one unit.

Policy: a unit may be left out by either side; when both have one it must be the same. Nothing is
converted: 50 mm is not 5 cm. A percentage is a number (5% is 0.05), never its numerator.
"""

from __future__ import annotations

import functools
import re

_SPELLINGS = """
mm: millimeter millimeters millimetre millimetres
cm: centimeter centimeters centimetre centimetres
dm: decimeter decimeters
m: meter meters metre metres
km: kilometer kilometers kilometre kilometres
in: inch inches
ft: foot feet
yd: yard yards
mi: mile miles
mg: milligram milligrams
g: gram grams
kg: kilogram kilograms
lb: lbs pound pounds
oz: ounce ounces
ml: mL milliliter milliliters
l: L liter liters litre litres
gal: gallon gallons
ms: millisecond milliseconds
s: sec second seconds
min: mins minute minutes
h: hr hrs hour hours
day: days
week: weeks
month: months
year: years
degree: degrees deg
rad: radian radians
dollar: dollars USD
cent: cents
yuan: RMB
euro: euros
mph:
unit: units
way: ways
time: times
people: person persons
K: kelvin
J: joule joules
N: newton newtons
W: watt watts
V: volt volts
Hz: hertz
"""
NAMES: dict[str, str] = {
    word: line.partition(":")[0]
    for line in _SPELLINGS.split("\n")
    if line
    for word in line.replace(":", " ").split()
}
"""Every spelling of a unit, with the one that stands for it."""

_NOT_UNITS = frozenset(
    "or and not is are if when where for but no none nan inf infinity than to from of with about "
    "approximately approx roughly maybe undefined plus minus mod times i e".split()
)
_BARE = "|".join(sorted((name for name in NAMES if len(name) > 1), key=len, reverse=True))
_TRAILING = re.compile(
    r"\s*(?:"
    r"(?P<degree>\^\\circ(?:\s*(?:C|F|\\text\{[CF]\}))?)"
    r"|(?P<percent>%)"
    r"|(?P<dollar>\\dollar)"
    r"|(?:\\?\s)*\\text\{(?P<text>[^{}\\0-9]{1,40})\}\s*(?:\^\s*\{?\s*(?P<power>[2-4])\s*\}?)?"
    rf"|(?<=[\d\s}}.)])(?P<bare>(?:(?:square|cubic|sq|cu)\.?\s+)?(?:{_BARE})(?:\s+(?:per|squared|"
    rf"cubed)(?:\s+(?:{_BARE}))?)?(?:/(?:{_BARE}|s|h|m|g|l))?)"
    r"\s*(?:\^\s*\{?\s*(?P<bare_power>[2-4])\s*\}?)?"
    r")\s*\.?\s*$"
)
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cu": "3", "cubed": "3"}


def split_unit(text: str) -> tuple[str, str]:
    """(number, unit) of a text; the unit is "" without one, and "%" for a percentage.

    Any one or two words in \\text{} after a number are a unit (`18 \\text{ eggs}`), except words
    that change what is said (`5 \\text{ or more}`), which stay with the number.
    """
    last = text[-1:]
    if (last.isdigit() or last in ")]") and "^" not in text[-8:]:
        return _without_dollar(text)
    match = _TRAILING.search(text)
    if match is None or not match.start():
        return _without_dollar(text)
    number = text[: match.start()].rstrip()
    if number.endswith(("+", "-", "*", "/", "^", "_", "=", ",", "\\cdot", "\\times")):
        return text, ""
    unit = _unit(match)
    return (number, unit) if unit else (text, "")


def _without_dollar(text: str) -> tuple[str, str]:
    if text.startswith(("\\dollar", "-\\dollar")):
        return text.replace("\\dollar", "", 1).strip(), "dollar"
    return text, ""


def _unit(match: re.Match[str]) -> str:
    if match["degree"]:
        return "degree" + match["degree"].strip("}")[-1:].replace("c", "").replace("{", "")
    if match["percent"]:
        return "%"
    if match["dollar"]:
        return "dollar"
    return canonical(match["text"] or match["bare"], match["power"] or match["bare_power"] or "")


@functools.lru_cache(maxsize=1024)
def canonical(words: str, power: str) -> str:
    """`cm2` for "square centimeters" and for "cm" with power 2; "" where it is no unit."""
    found = []
    for word in re.sub(r"[.()]", " ", words.replace("/", " per ")).split():
        if word in _POWERS:
            power = _POWERS[word]
        elif (word.lower() in _NOT_UNITS and word not in NAMES) or not word.isalpha():
            return ""
        else:
            found.append(NAMES.get(word) or NAMES.get(word.lower()) or word.lower())
    if not found or len(found) > 3:
        return ""
    return " ".join(found) + power
