"""Pairs of files like source code, of a given size; standard library only, for both sides."""

from __future__ import annotations

import random

NAMES = "value index result self other name path config token count total line".split()
CALLS = "append update get join read check build format parse split".split()
KINDS = ("alike", "unlike")
EACH = 4


def pairs(kind: str, size: int) -> list[tuple[str, str]]:
    """(a file, another one) of about `size` characters: edited at every eighth line, or apart."""
    found = []
    for seed in range(EACH):
        rng = random.Random(seed)
        first = source(rng, size)
        if kind == "unlike":
            found.append((first, source(rng, size)))
            continue
        lines = first.split("\n")
        for _ in range(len(lines) // 8):
            lines[rng.randrange(len(lines))] = _line(rng)
        found.append((first, "\n".join(lines)[:size]))
    return found


def source(rng: random.Random, size: int) -> str:
    """Lines of assignments, calls, conditions and definitions."""
    lines: list[str] = []
    written = 0
    while written < size:
        lines.append(_line(rng))
        written += len(lines[-1]) + 1
    return "\n".join(lines)[:size]


def _line(rng: random.Random) -> str:
    a, b = rng.choice(NAMES), rng.choice(NAMES)
    call, number = rng.choice(CALLS), rng.randrange(100)
    indent = " " * rng.choice((4, 8, 8, 12))
    shapes = (
        f"{indent}{a} = {b}.{call}({number})",
        f"{indent}if {a} is not None and {b} > {number}:",
        f"{indent}return {a}.{call}({b}, {a}_{number})",
        f"{indent}self.{a}[{b}] = {call}({number}, {a})",
        f"\n    def {call}_{a}(self, {b}):",
        f"{indent}# the {a} of a {b} is at most {number}",
    )
    return rng.choice(shapes)
