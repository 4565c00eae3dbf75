"""Mutants of a right program: the same program with one small change, as slips are made.

One rule: the same source, seed and count give the same mutants. Where there are more than were
asked for, every place of the program gets one before any gets a second. A mutant may compute
the same as the program; who uses them finds that out by running it.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cascade_rl.data.strength.slips import EXPRESSIONS, STATEMENTS
from cascade_rl.verifiers.code.asserts import parsed

Place = tuple[int, int]
"""Line and column in the source."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed program: the kind of change, its line in the original, and what it says now."""

    kind: str
    line: int
    source: str
    change: str


def mutants_of(source: str, count: int | None = None, seed: int = 0) -> list[Mutant]:
    """At most `count` different mutants, all of them for None. Raises SyntaxError and its kin."""
    found: dict[str, tuple[Place, Mutant]] = {}
    original = ast.unparse(parsed(source))
    for place, mutant in _every(source):
        if mutant.source != original:
            found.setdefault(mutant.source, (place, mutant))
    drawn = list(found.values())
    random.Random(seed).shuffle(drawn)
    if count is None or len(drawn) <= count:
        return [mutant for _, mutant in drawn]
    at: Counter[Place] = Counter()
    turns: list[tuple[int, int]] = []
    for index, (place, _) in enumerate(drawn):
        turns.append((at[place], index))
        at[place] += 1
    return [drawn[index][1] for _, index in sorted(turns)[:count]]


def _every(source: str) -> Iterator[tuple[Place, Mutant]]:
    tree = parsed(source)
    for node, replace in list(_sites(tree)):
        place = (node.lineno, node.col_offset)
        for kind, changed in _changes(node):
            replace(changed)
            text = ast.unparse(tree)
            replace([node])
            said = "; ".join(ast.unparse(part).split("\n")[0][:80] for part in changed)
            yield place, Mutant(kind, node.lineno, text, said)


def _changes(node: ast.stmt | ast.expr) -> Iterable[tuple[str, Sequence[ast.AST]]]:
    if isinstance(node, ast.stmt):
        for kind, slip in STATEMENTS.items():
            yield from ((kind, changed) for changed in slip(node))
    else:
        for kind, change in EXPRESSIONS.items():
            yield from ((kind, [changed]) for changed in change(node))


Replace = Callable[[Sequence[ast.AST]], None]
_LEFT_ALONE = ("annotation", "returns", "decorator_list", "type_params")
_NO_SITES = (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)


def _sites(tree: ast.AST) -> Iterator[tuple[ast.stmt | ast.expr, Replace]]:
    """Every statement and expression that may be changed, and how to put another in its place."""
    for field, value in ast.iter_fields(tree):
        if field in _LEFT_ALONE:
            continue
        if isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _site(item, _in_list(value, index))
        elif isinstance(value, ast.AST):
            yield from _site(value, _in_field(tree, field))


def _site(node: ast.AST, replace: Replace) -> Iterator[tuple[ast.stmt | ast.expr, Replace]]:
    if isinstance(node, _NO_SITES) or _is_docstring(node) or _is_main_guard(node):
        if isinstance(node, ast.If):
            yield from (site for part in node.body for site in _sites(part))
        return
    if isinstance(node, ast.JoinedStr):
        return
    if isinstance(node, ast.stmt | ast.expr):
        yield node, replace
    yield from _sites(node)


def _in_list(items: list[ast.AST], index: int) -> Replace:
    length = len(items)

    def replace(changed: Sequence[ast.AST]) -> None:
        items[index : index + 1 + len(items) - length] = changed

    return replace


def _in_field(owner: ast.AST, field: str) -> Replace:
    def replace(changed: Sequence[ast.AST]) -> None:
        setattr(owner, field, changed[0])

    return replace


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_main_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
