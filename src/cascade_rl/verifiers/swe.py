"""SWE: an edit against the golden patch in the paper's order, and against hidden tests.

In this order (Nemotron-Cascade, equation 2): an unparsable edit scores -1; lexical similarity 1
scores 1; an edit that leaves every file unchanged scores 0; anything else is `partial` with its
lexical similarity, which a judge's P(YES) replaces where the stage has one.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from cascade_rl.chat import THINK_OPEN, answer_part, has_open_thought
from cascade_rl.sandbox.base import Limits, Program
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import Patch, Problem, Verdict, partial, right, unjudged, wrong
from cascade_rl.verifiers.code import judge
from cascade_rl.verifiers.patches import Unparsable, apply_diff, apply_edit
from cascade_rl.verifiers.similarity import SIMILARITIES, swe_rl_similarity, trimmed

__all__ = [
    "VERSION",
    "blankless",
    "edited_files",
    "swe_rl_similarity",
    "syntax_tree",
    "verify_swe",
    "verify_swe_resolved",
]

VERSION = "swe-3"
MAX_EDIT = 400_000
MAX_SOURCE = 200_000
"""Characters of Python that are parsed to compare syntax; longer files compare by blanks."""
ALMOST = 0.99
"""The most that an edit gets which is lexically equal to the golden patch and yet another text."""

Identity = Literal["text", "whitespace", "syntax"]


def verify_swe(
    problem: Problem,
    text: str,
    *,
    similarity: Literal["swe_rl", "changed_lines"] = "swe_rl",
    identical: Identity = "text",
) -> Verdict:
    """Score -1, 1, 0 or the lexical similarity to the golden patch, in the paper's order.

    `identical` says what leaves a file unchanged: equal text (the paper); lines equal up to
    blanks, though not the indentation of Python (`whitespace`); or an equal syntax tree too, so
    that comments are no change (`syntax`, Python only).
    """
    reference = problem.reference
    if not isinstance(reference, Patch):
        return unjudged("invalid", "a swe problem needs files and a golden patch")
    try:
        golden = apply_diff(reference.files, reference.patch)
    except Unparsable as error:
        return unjudged("invalid", f"golden patch: {error}")
    if _unchanged(reference.files, golden, "text"):
        return unjudged("invalid", "golden patch: it changes nothing")
    try:
        changed = edited_files(reference, text)
    except Unparsable as error:
        return wrong(f"unparsable: {error}", score=-1.0)
    score = SIMILARITIES[similarity](reference.files, changed, golden)
    if score == 1.0 and _same(reference.files, changed, golden):
        return right(reason="equal to the golden patch")
    if _unchanged(reference.files, changed, identical):
        return wrong("every file is unchanged")
    return partial(min(score, ALMOST), f"lexical similarity {score:.3f}")


def _same(files: Mapping[str, str], changed: Mapping[str, str], golden: Mapping[str, str]) -> bool:
    """Whether both leave the same text, up to line ends and blanks before them.

    Equal diffs do not say so: they take a form feed or U+2028 for a line end.
    """
    return all(
        trimmed(changed.get(path, files.get(path, "")))
        == trimmed(golden.get(path, files.get(path, "")))
        for path in changed.keys() | golden.keys()
    )


def _unchanged(files: Mapping[str, str], changed: Mapping[str, str], how: Identity) -> bool:
    return all(_equal(path, files.get(path, ""), after, how) for path, after in changed.items())


def _equal(path: str, before: str, after: str, how: Identity) -> bool:
    if before.replace("\r\n", "\n") == after.replace("\r\n", "\n"):
        return True
    if how == "text":
        return False
    python = path.endswith((".py", ".pyi"))
    if blankless(before, python) == blankless(after, python):
        return True
    if how == "whitespace" or not python:
        return False
    old, new = syntax_tree(before), syntax_tree(after)
    return old is not None and old == new


def blankless(text: str, indented: bool) -> list[str]:
    """Lines without blanks, empty ones left out; where `indented`, with their indentation."""
    lines = []
    for line in text.splitlines():
        if bare := "".join(line.split()):
            indent = line[: len(line) - len(line.lstrip())].expandtabs() if indented else ""
            lines.append(indent + bare)
    return lines


def syntax_tree(source: str) -> str | None:
    """The syntax tree without positions; None where there is none, or none in bounded time."""
    if len(source) > MAX_SOURCE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def verify_swe_resolved(problem: Problem, text: str) -> Verdict:
    """Score 1 when the edited files pass the hidden tests of `problem.extra["tests"]`, else 0.

    Tests are blocks of Python that raise when the edit is wrong. They see the functions of
    `extra["entry_file"]` by name (of the first shown file where it is absent) and may import
    any file of the problem as a module.
    """
    reference, tests = problem.reference, problem.extra.get("tests")
    if not isinstance(reference, Patch) or not tests:
        return unjudged("invalid", "a resolved check needs files and extra['tests']")
    try:
        golden = apply_diff(reference.files, reference.patch)
    except Unparsable as error:
        return unjudged("invalid", f"golden patch: {error}")
    try:
        changed = edited_files(reference, text)
    except Unparsable as error:
        return wrong(f"unparsable: {error}")
    after = {**reference.files, **changed}
    shown = reference.shown or tuple(reference.files)
    entry = problem.extra.get("entry_file", shown[0])
    modules = tuple((path, body) for path, body in after.items() if path.endswith(".py"))
    known = {*reference.files, *golden}
    program = Program(
        after.get(entry, ""),
        "assert",
        tuple(tests),
        files=modules,
        importable=tuple(path for path, _ in modules if path in known),
    )
    outcome = default_sandbox().run(program, Limits())
    verdict = judge(outcome, lambda index, value: "")
    return replace(right(), tier=outcome.tier) if verdict is None else verdict


def edited_files(reference: Patch, text: str) -> dict[str, str]:
    """The files the answer touches, after its edit. Raises Unparsable."""
    answer = answer_part(text)
    if has_open_thought(text) or answer.startswith(THINK_OPEN):
        raise Unparsable("the thought never ends")
    if len(answer) > MAX_EDIT:
        raise Unparsable(f"{len(answer)} characters; at most {MAX_EDIT} are read")
    return apply_edit(reference.files, answer, reference.format)
