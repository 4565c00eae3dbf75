"""Chains of thought that end in MATH-500 answers, most of them in another form than the reference.

Written by rules from the references alone, with no verifier's help: a right answer is a rewriting
that keeps the value (`\\frac{3}{4}` as 0.75, `3/4`, `\\dfrac{6}{8}`), a wrong one is another
problem's answer or a changed number, rewritten in the same ways. The same seed, the same texts.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

SHARE_WRONG = 0.3
SHARE_AS_IS = 0.2


@dataclass(frozen=True, slots=True)
class Item:
    """One completion; `rewritten` when its answer is not the reference's own text."""

    reference: str
    text: str
    right: bool
    rewritten: bool


def load(path: Path, count: int = 1000, seed: int = 0) -> list[Item]:
    """`count` completions over the problems of a MATH-500 file, a few for each problem."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    answers = [str(row["answer"]) for row in rows]
    draw = random.Random(seed)
    items = []
    for index in range(count):
        row = rows[index % len(rows)]
        reference = str(row["answer"])
        right = draw.random() >= SHARE_WRONG
        answer = reference if right else _another(reference, answers, draw)
        forms = [form for form in rewritings(answer, draw) if form != answer]
        if forms and draw.random() >= SHARE_AS_IS:
            answer = draw.choice(forms)
        text = chain_of_thought(str(row["problem"]), answer, draw)
        items.append(Item(reference, text, right, answer != reference))
    return items


def _another(reference: str, answers: list[str], draw: random.Random) -> str:
    """A wrong answer: a number of the reference changed by one, or another problem's answer."""
    numbers = list(re.finditer(r"(?<![\d.])\d{1,4}(?![\d.])", reference))
    if numbers and draw.random() < 0.6:
        found = draw.choice(numbers)
        changed = str(int(found[0]) + draw.choice((1, 2, 7)))
        return reference[: found.start()] + changed + reference[found.end() :]
    others = [answer for answer in answers if _shape(answer) != _shape(reference)]
    return draw.choice(others)


def _shape(answer: str) -> str:
    return re.sub(r"[\s()]|\\text|[{}]|\\left|\\right", "", answer)


# --- other forms of one value -----------------------------------------------------------------

_INTEGER = re.compile(r"-?\d+")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{?(\d+)\}?\{?(\d+)\}?")
_RADICAL = re.compile(r"(\d*)\s*\\sqrt\{(\d+)\}")
_DECIMAL = re.compile(r"\d*\.\d+")
_DEGREES = re.compile(r"(\d+)\^\\circ")
_TEXT = re.compile(r"\\text\{\(?([A-Za-z]+)\)?\}")
_GROUP = re.compile(r"(?:\\left)?\s*([(\[])(.*,.*?)(?:\\right)?\s*([)\]])")
_TERM = re.compile(r"(?:^|[+-])[^+-]+")


def rewritings(answer: str, draw: random.Random) -> Iterator[str]:
    """Other texts with the same meaning; none where no rule applies."""
    yield from _numbers(answer, draw)
    if match := _RADICAL.fullmatch(answer):
        outside, inside = int(match[1] or 1), int(match[2])
        yield f"\\sqrt{{{outside * outside * inside}}}"
        yield f"\\sqrt{{{inside}}} \\cdot {outside}"
        yield f"{outside}\\sqrt {{{inside}}}"
    if match := _DEGREES.fullmatch(answer):
        yield from (match[1], f"{match[1]}\\text{{ degrees}}", f"{match[1]}^{{\\circ}}")
    if match := _TEXT.fullmatch(answer):
        yield from (match[1], f"\\textbf{{{match[1]}}}", f"\\mathrm{{{match[1]}}}")
    if match := _GROUP.fullmatch(answer):
        yield from _groups(match, draw)
    if "\\cup" in answer or answer[:1] in "([":
        yield (
            answer.replace("(", "\\left(")
            .replace(")", "\\right)")
            .replace("\\left\\left", "\\left")
        )
    if re.fullmatch(r"-?\d{1,2}(?:, ?-?\d{1,2})+", answer):
        parts = [part.strip() for part in answer.split(",")]
        yield ", ".join(reversed(parts))
        yield "\\{" + ", ".join(parts) + "\\}"
        yield " \\text{ and } ".join(parts) if len(parts) == 2 else ", ".join(parts[1:] + parts[:1])
    if (
        re.fullmatch(r"[\d a-z^+{}-]+", answer)
        and re.search("[a-z]", answer)
        and "^{" not in answer
    ):
        yield from _polynomials(answer)
    yield f"\\,{answer}\\,"


def _numbers(answer: str, draw: random.Random) -> Iterator[str]:
    if _INTEGER.fullmatch(answer):
        n = int(answer)
        name = draw.choice("xnkSN")
        yield from (f"{name} = {n}", f"{n}.0", f"\\frac{{{2 * n}}}{{2}}", f"\\left({n}\\right)")
        yield draw.choice((f"{n}\\text{{ units}}", f"{n} \\text{{ ways}}", f"{n - 3}+3"))
        if abs(n) >= 1000:
            yield from (f"{n:,}", f"{n:,}".replace(",", "{,}"), f"{n:,}".replace(",", ",\\!"))
    if (match := _FRACTION.fullmatch(answer)) and int(match[3]):
        sign, above, below = match[1], int(match[2]), int(match[3])
        yield from (f"{sign}\\dfrac{{{above}}}{{{below}}}", f"{sign}{above}/{below}")
        yield f"{sign}\\frac{{{3 * above}}}{{{3 * below}}}"
        yield f"\\frac{{{sign}{above}}}{{{below}}}"
        reduced = below
        for prime in (2, 5):
            while reduced % prime == 0:
                reduced //= prime
        if reduced == 1:
            yield sign + _decimal(Fraction(above, below))
    if _DECIMAL.fullmatch(answer):
        exact = Fraction(answer)
        yield from (f"{exact.numerator}/{exact.denominator}", f"{answer}0")
        yield f"\\frac{{{exact.numerator}}}{{{exact.denominator}}}"


def _decimal(value: Fraction) -> str:
    places = 0
    while (value * 10**places).denominator > 1:
        places += 1
    digits = str(value * 10**places).rjust(places + 1, "0")
    return digits[:-places] + "." + digits[-places:] if places else digits


def _groups(match: re.Match[str], draw: random.Random) -> Iterator[str]:
    parts = [part.strip() for part in match[2].split(",")]
    other = [
        next(rewritings(part, draw), part) if _FRACTION.fullmatch(part) else part for part in parts
    ]
    for items in (parts, other):
        yield f"\\left{match[1]}{', '.join(items)}\\right{match[3]}"
        yield f"{match[1]} {' , '.join(items)} {match[3]}"
    if (match[1] + match[3]) in ("[]", "(]", "[)") and len(parts) == 2:
        low = "\\leq" if match[1] == "[" else "<"
        high = "\\leq" if match[3] == "]" else "<"
        yield f"{parts[0]} {low} x {high} {parts[1]}"


def _polynomials(answer: str) -> Iterator[str]:
    terms = [term.strip() for term in _TERM.findall(answer.replace(" ", ""))]
    turned = "".join(term if term[0] in "+-" else f"+{term}" for term in reversed(terms))
    yield turned.removeprefix("+")
    yield " ".join(re.sub(r"([+-])", r"\1 ", "".join(terms)).split()).replace("^2", "^{2}")
    yield f"y = {answer}"


# --- the reasoning around it ------------------------------------------------------------------

_STEPS = (
    "First, let me restate what is given. {problem}",
    "We set up the equation ${a}x + {b} = {c}$, so $x = \\frac{{{c} - {b}}}{{{a}}}$.",
    "Let $f(n) = n^2 + {a}n + {b}$. Evaluating at $n = {a}$ gives $f({a}) = {square}$.",
    "By the Pythagorean theorem, $\\sqrt{{{a}^2 + {b}^2}} = \\sqrt{{{sum}}}$, which we keep exact.",
    "Simplifying, we get\n\\[\n{a} \\cdot {b} + {c} = {product}.\n\\]",
    "Wait, I should double check the case where the variable is negative. It does not change this.",
    "Notice that ${c} \\equiv {remainder} \\pmod{{{a}}}$, so only the remainder matters here.",
    "There are $\\binom{{{a}}}{{2}} = {pairs}$ pairs, and each of them is counted once.",
    "Substituting back, both sides agree, so the solution is consistent with the conditions.",
    "Factoring the expression, $x^2 - {sum}x + {product} = 0$ has the roots that we need.",
    "This means that at most ${b}$ of the ${c}$ possibilities remain, and we go through them.",
)  # fmt: skip
_ENDINGS = (
    "Therefore, the final answer is $\\boxed{{{answer}}}$.",
    "Thus, the answer is:\n\\[\n\\boxed{{{answer}}}\n\\]",
    "So we have \\(\\boxed{{{answer}}}\\).",
    "**Final Answer**\n\n$\\boxed{{{answer}}}$",
)


def chain_of_thought(problem: str, answer: str, draw: random.Random) -> str:
    """About a thousand characters of reasoning with formulas, and the box."""
    lines = []
    for _ in range(draw.randint(6, 14)):
        a, b, c = draw.randint(2, 12), draw.randint(2, 40), draw.randint(41, 200)
        values = {"square": 2 * a * a + b, "sum": a * a + b * b, "product": a * b + c}
        values |= {"remainder": c % a, "pairs": a * (a - 1) // 2, "a": a, "b": b, "c": c}
        lines.append(draw.choice(_STEPS).format(problem=problem[:300], **values))
    return "\n\n".join([*lines, draw.choice(_ENDINGS).format(answer=answer)])
