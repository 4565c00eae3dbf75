"""What an answer is, read from its text: a number with a unit, a list, an interval, an equation.

`read_answer` raises Unreadable for a text that it does not understand, which Math-Verify then
decides, and Refused for a text that is no final answer: a chain of equalities (`x=1=5`), an
equation between numbers, a list that ends in a comma. A reference is never refused: of a chain it
means the last value.
"""

from __future__ import annotations

import re

from cascade_rl.verifiers.math import algebra, latex
from cascade_rl.verifiers.math.algebra import Unreadable, Value
from cascade_rl.verifiers.math.regions import ordered, region_of
from cascade_rl.verifiers.math.shapes import (
    Answer,
    Based,
    Equation,
    Group,
    Named,
    Number,
    Piece,
    Region,
    Words,
)
from cascade_rl.verifiers.math.units import split_unit


class Refused(Exception):
    """Not one final answer; the message is the reason."""


_MAX_ITEMS = 200
_INFINITE = {
    sign + "\\infty": Words(f"{name}infinity")
    for sign, name in (("", "+"), ("+", "+"), ("-", "-"), ("- ", "-"), ("+ ", "+"))
}
_NAME = re.compile(
    r"(?:\\(?:angle|triangle|overline|text|vec)\s*)*\{?\s*"
    r"(?:[A-Za-z](?:_(?:\w|\{\w+\}))?'*){1,3}\s*\}?\s*"
    r"(?:\([A-Za-z0-9_{}, ]*\)|\s*[:/]\s*[A-Za-z](?:_(?:\w|\{\w+\}))?)?"
    r"|\([A-Za-z_0-9{}]+(?:\s*,\s*[A-Za-z][A-Za-z_0-9{}]*)+\)|\|[A-Za-z]+\|"
    r"|\\frac\s*\{[A-Za-z]+\}\s*\{[A-Za-z]+\}|\\(?:theta|alpha|beta|phi|lambda|mu)\s*"
    r"|\\text\{[A-Za-z ]+\}"
)
_WORD = re.compile(
    r"\\text\{\s*([^{}\\]*[A-Za-z]{2}[^{}\\]*)\}"
    r"|(?!.*\b(?:and|or)\b)(?=.*[A-Za-z]{3})([A-Za-z]+(?:[ '-][A-Za-z]+)*)"
)
_REALS = re.compile(r"\\(?:mathbb\s*\{?\s*R\s*\}?|R(?![A-Za-z]))\s*(?:\\setminus\s*(\\\{.+\\\}))?")
_BASED = re.compile(r"([0-9A-F]+)\s*_\s*(?:\{\s*(\d+)\s*\}|(\d+))")
_DECIMAL = re.compile(r"[+-]?\s*(?:\d+\.?\d*|\.\d+)")
_SCIENTIFIC = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[eE]([+-]?\d{1,3})")
_CONNECTIVE = re.compile(r"\\text\{\s*,?\s*(or|and)\s*,?\s*\}|(?<![A-Za-z\\])(or|and)(?![A-Za-z])"
                         r"|\\(vee|wedge)(?![A-Za-z])")  # fmt: skip
_RELATION = re.compile(r"\\(?:le|ge|ne|in|approx)(?![A-Za-z])|[<>=]")
_MATRIX = re.compile(r"\\begin\{(?:pmatrix|bmatrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\w+\}", re.S)


def read_answer(text: str, *, trusted: bool = False) -> Answer:
    """The answer in a normalised text; `trusted` for a reference.

    Raises Unreadable, Refused, and algebra.Undefined for a division by zero.
    """
    if text.isdigit():
        return Number(latex.read(text), "", text)
    if text.endswith((",", ";")):
        raise Refused("ends in a comma")
    if found := _words(text):
        return found
    items, joined = _items(text)
    if len(items) > _MAX_ITEMS:
        raise Unreadable
    if len(items) == 1:
        return _item(text, trusted)
    answers = tuple(_item(item, trusted) for item in items)
    if joined == ";" and any("," in item for item in items):
        answers = tuple(read_answer(item, trusted=trusted) for item in items)
    return Group("list", _spread(answers), joined)


def _words(text: str) -> Words | None:
    match = _WORD.fullmatch(text)
    if match is None:
        return None
    words = " ".join((match[1] or match[2]).lower().split()).strip("().")
    if words == "infinity":
        return _INFINITE["\\infty"]
    return Words(words) if re.search("[a-z]{2}", words) else None


def _items(text: str) -> tuple[list[str], str]:
    """The parts between top-level commas, semicolons, "and", "or"; and what joins them."""
    joined = ","
    if "or" in text or "and" in text or "\\vee" in text or "\\wedge" in text:
        words = {
            (m[1] or m[2] or {"vee": "or"}.get(m[3], "and")) for m in _CONNECTIVE.finditer(text)
        }
        if len(words) > 1:
            raise Unreadable
        if words:
            [joined] = words
            text = re.sub(r",\s*,", ",", _CONNECTIVE.sub(",", text))
    for separator in ";,":
        parts = split_top(text, separator)
        if len(parts) > 1:
            if not all(parts):
                raise Refused("an empty place in a list")
            return parts, separator if joined == "," else joined
    return [text], joined


def split_top(text: str, separator: str) -> list[str]:
    """Parts between separators outside brackets and braces, stripped."""
    if separator not in text:
        return [text.strip()]
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == separator and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return parts


def _spread(answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """With the two values of each a \\pm b as items of their own."""
    spread: list[Answer] = []
    for answer in answers:
        if isinstance(answer, Group) and answer.joined == "pm":
            spread += answer.items
        else:
            spread.append(answer)
    return tuple(spread)


def _item(text: str, trusted: bool) -> Answer:
    if not text:
        raise Unreadable
    if _RELATION.search(text):
        return _relation(text, trusted)
    bracketed = text[0] in "([" or text.startswith(("\\{", "\\emptyset", "\\begin", "\\langle"))
    if bracketed and (inside := _bracketed(text, trusted)):
        return inside
    if match := _REALS.fullmatch(text):
        return _reals(match[1], trusted)
    if "\\cup" in text:
        return _union(text, trusted)
    if "\\pm" in text:
        return _plus_minus(text)
    if ":" in text:
        parts = split_top(text, ":")
        return Group("ratio", tuple(read_number(part) for part in parts))
    if found := _words(text):
        return found
    if text in _INFINITE:
        return _INFINITE[text]
    return read_number(text)


def read_number(text: str) -> Number | Based:
    """A number or formula with its unit."""
    if match := _BASED.fullmatch(text):
        return Based(match[1].lstrip("0"), match[2] or match[3])
    number, unit = split_unit(text)
    if match := _SCIENTIFIC.fullmatch(number):
        ten = algebra.power(algebra.number(10), algebra.number(int(match[2])))
        return Number(algebra.multiply(latex.read(match[1]), ten), unit)
    value = latex.read(number)
    if unit == "%":
        value = algebra.divide(value, algebra.number(100))
    return Number(value, unit, number if _DECIMAL.fullmatch(number) else "")


# --- brackets ---------------------------------------------------------------------------------


def _bracketed(text: str, trusted: bool) -> Answer | None:
    """A group, interval, set or matrix that is the whole text; None where it is a product."""
    if match := _MATRIX.fullmatch(text.removeprefix("[").removesuffix("]").strip()):
        return _matrix(match[1])
    text = text.replace("\\langle", "(").replace("\\rangle", ")")
    if text.replace(" ", "") in ("\\emptyset", "\\{\\}"):
        return Group("{}", ())
    start = 2 if text[0] == "\\" else 1
    end = _end_of_group(text)
    if end != len(text):
        return None
    inside = text[start : end - (2 if text[-2] == "\\" else 1)]
    brackets = text[start - 1] + text[-1]
    parts = split_top(inside, ",") if brackets != "{}" else _items(inside)[0]
    if inside.rstrip().endswith(","):
        raise Refused("ends in a comma")
    if len(parts) == 1 and brackets in ("()", "[]"):
        return None if brackets == "()" and "\\pm" not in inside else _one(inside, brackets)
    if not all(parts) or len(parts) > _MAX_ITEMS:
        raise Unreadable
    if brackets == "{}":
        return Group("{}", _spread(tuple(_item(part, trusted) for part in parts)))
    return Group(brackets, tuple(_item(part, trusted) for part in parts))


def _one(inside: str, brackets: str) -> Answer:
    raise Unreadable


def _end_of_group(text: str) -> int:
    """Where the bracket that opens the text closes: any of ) ] closes any of ( [."""
    depth = 0
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0:
                return position + 1
    return -1


def _matrix(inside: str) -> Answer:
    rows = [row.strip() for row in re.split(r"\\\\(?:\s*\[\w+\])?", inside)]
    cells = [[cell.strip() for cell in row.split("&")] for row in rows if row]
    if not cells or len({len(row) for row in cells}) != 1:
        raise Unreadable
    found = tuple(read_number(cell) for row in cells for cell in row)
    return Group(f"{len(cells)}x{len(cells[0])}", found)


def _plus_minus(text: str) -> Answer:
    if text.count("\\pm") > 1 or "\\mp" in text:
        raise Unreadable
    both = [text.replace("\\pm", sign).strip() for sign in ("+", "-")]
    return Group("list", tuple(read_number(part.removeprefix("+").strip()) for part in both), "pm")


def _union(text: str, trusted: bool) -> Answer:
    pieces: list[Piece] = []
    for part in text.split("\\cup"):
        region = region_of(_item(part.strip(), trusted))
        if region is None:
            raise Unreadable
        pieces += region.pieces
    return ordered(pieces)


def _reals(without: str | None, trusted: bool) -> Region:
    """The real line, or what is left of it without some points."""
    points = region_of(_item(without, trusted)) if without else Region(())
    if points is None:
        raise Unreadable
    ends = [piece[0] for piece in points.pieces]
    return Region(
        tuple(
            (low, False, high, False)
            for low, high in zip([None, *ends], [*ends, None], strict=True)
        )
    )


# --- relations --------------------------------------------------------------------------------


def _relation(text: str, trusted: bool) -> Answer:
    signs = [match[0] for match in _RELATION.finditer(text)]
    parts = [part.strip() for part in _RELATION.split(text)]
    if "\\approx" in signs:
        return _approximate(text, trusted)
    if signs == ["="]:
        return _equation(parts[0], parts[1], trusted)
    if set(signs) == {"="}:
        if not trusted:
            raise Refused("a chain of equalities")
        return Named(name_of(parts[0]) or "?", _item(parts[-1], trusted))
    if signs == ["\\in"] and (name := name_of(parts[0])):
        return Named(name, _item(parts[1], trusted))
    if len(signs) > 2 or "\\in" in signs or "=" in signs:
        raise Unreadable
    return _inequality(parts, signs)


def _approximate(text: str, trusted: bool) -> Answer:
    """`1/3 \\approx 0.333` is its exact side, if the decimal is a rounding of it."""
    exact, _, decimal = text.partition("\\approx")
    if not exact.strip():
        return _item(decimal.strip(), trusted)
    answer = _item(exact.strip(), trusted)
    if trusted:
        return answer
    inner = answer.answer if isinstance(answer, Named) else answer
    digits = decimal.strip()
    if not isinstance(inner, Number) or not re.fullmatch(r"-?\d*\.?\d+", digits):
        raise Refused("two values")
    near = algebra.as_float(inner.value)
    if near is None or abs(near - float(digits)) > 0.51 * 10.0 ** -len(digits.partition(".")[2]):
        raise Refused("two values")
    return answer


def name_of(text: str) -> str:
    """The name without blanks, "" where the text is more than a name."""
    return text.replace(" ", "") if _NAME.fullmatch(text) else ""


def _equation(left: str, right: str, trusted: bool) -> Answer:
    if not left or not right:
        raise Refused("half an equation")
    if name := name_of(left):
        return Named(name, _item(right, trusted))
    difference = algebra.add(latex.read(left), latex.read(right), -1)
    if not algebra.variables(difference) and not trusted:
        raise Refused("an equation between numbers")
    if name := name_of(right):
        return Named(name, read_number(left))
    return Equation(difference)


def _inequality(parts: list[str], signs: list[str]) -> Answer:
    """A region of one name: `x > 1`, `1 < x \\le 2`, `x \\ne 0`."""
    names = [name_of(part) for part in parts]
    at = {1: 0, 2: 1}[len(signs)]
    if len(signs) == 1 and names[1] and not names[0]:
        at = 1
    if not names[at] or sum(map(bool, names)) != 1:
        raise Unreadable
    if signs == ["\\ne"]:
        value = _bound(parts[1 - at])
        return Named(names[at], Region(((None, False, value, False), (value, False, None, False))))
    if "\\ne" in signs:
        raise Unreadable
    low: tuple[Value | None, bool] = (None, False)
    high: tuple[Value | None, bool] = (None, False)
    for index, sign in enumerate(signs):
        before = index < at  # the bound is written before the name
        bound = _bound(parts[index] if before else parts[index + 1])
        closed = sign in ("\\le", "\\ge")
        if (sign in ("<", "\\le")) == before:
            low = (bound, closed) if low[0] is None else _unread()
        else:
            high = (bound, closed) if high[0] is None else _unread()
    return Named(names[at], ordered([(*low, *high)]))


def _unread() -> tuple[Value | None, bool]:
    raise Unreadable


def _bound(text: str) -> Value | None:
    if text.lstrip("+-").strip() == "\\infty":
        return None
    return latex.read(text)
