"""SWE: an edit against the golden patch in the paper's order, and against hidden tests.

In this order (Nemotron-Cascade, equation 2): an unparsable edit scores -1; lexical similarity 1
scores 1; an edit that leaves every file unchanged scores 0; anything else is `partial` with its
lexical similarity, which a judge's P(YES) replaces where the stage has one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from rapidfuzz.distance import Indel

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.sandbox.base import Limits, Program
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import Patch, Problem, Verdict, partial, right, unjudged, wrong
from cascade_rl.verifiers.code import judge
from cascade_rl.verifiers.patches import Unparsable, apply_diff, apply_edit

VERSION = "swe-1"
MAX_DIFFLIB = 30_000_000
"""Product of two diffs' lengths up to which difflib decides: about a second."""
MAX_EDIT = 400_000


def verify_swe(problem: Problem, text: str) -> Verdict:
    """Score -1, 1, 0 or the lexical similarity to the golden patch, in the paper's order."""
    reference = problem.reference
    if not isinstance(reference, Patch):
        return unjudged("invalid", "a swe problem needs files and a golden patch")
    try:
        golden = apply_diff(reference.files, reference.patch)
    except Unparsable as error:
        return unjudged("invalid", f"golden patch: {error}")
    try:
        changed = edited_files(reference, text)
    except Unparsable as error:
        return wrong(f"unparsable: {error}", score=-1.0)
    similarity = swe_rl_similarity(reference.files, changed, golden)
    if similarity == 1.0:
        return right(reason="equal to the golden patch")
    if all(after == reference.files.get(path, "") for path, after in changed.items()):
        return wrong("every file is unchanged")
    return partial(similarity, f"lexical similarity {similarity:.3f}")


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
        changed = edited_files(reference, text)
    except Unparsable as error:
        return wrong(f"unparsable: {error}")
    after = {**reference.files, **changed}
    shown = reference.shown or tuple(reference.files)
    entry = problem.extra.get("entry_file", shown[0])
    modules = tuple((path, body) for path, body in after.items() if path.endswith(".py"))
    program = Program(after.get(entry, ""), "assert", tuple(tests), files=modules)
    verdict = judge(default_sandbox().run(program, Limits()), lambda index, value: "")
    return right() if verdict is None else verdict


def edited_files(reference: Patch, text: str) -> dict[str, str]:
    """The files the answer touches, after its edit. Raises Unparsable."""
    if has_open_thought(text):
        raise Unparsable("the thought never ends")
    if len(text) > MAX_EDIT:
        raise Unparsable(f"{len(text)} characters; at most {MAX_EDIT} are read")
    return apply_edit(reference.files, answer_part(text), reference.format)


def swe_rl_similarity(
    files: Mapping[str, str], changed: Mapping[str, str], golden: Mapping[str, str]
) -> float:
    """Mean over the union of changed files of the difflib ratio of per-file unified diffs.

    SWE-RL (arXiv:2502.18449, core/reward.py): three lines of context, headers removed, a file
    changed on one side only counts 0, no change on either side 1.
    """
    found, wanted = _file_diffs(files, changed), _file_diffs(files, golden)
    paths = sorted(found.keys() | wanted.keys())
    if not paths:
        return 1.0
    ratios = [
        _ratio(found[path], wanted[path]) if path in found and path in wanted else 0.0
        for path in paths
    ]
    return sum(ratios) / len(ratios)


def _file_diffs(files: Mapping[str, str], changed: Mapping[str, str]) -> dict[str, str]:
    """Unified diffs of the files that really changed, without the two header lines."""
    diffs = {}
    for path, after in changed.items():
        before = files.get(path, "")
        if before != after:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
            diffs[path] = "\n".join(list(lines)[2:])
    return diffs


def _ratio(found: str, wanted: str) -> float:
    if found == wanted:
        return 1.0
    if len(found) * len(wanted) > MAX_DIFFLIB:
        # difflib would take minutes; the longest common subsequence is an upper bound of it.
        return float(Indel.normalized_similarity(found, wanted))
    return difflib.SequenceMatcher(None, found, wanted, autojunk=False).ratio()
