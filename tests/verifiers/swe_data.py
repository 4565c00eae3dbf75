"""Real golden patches with files to apply them to, and edits made from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from cascade_rl.types import Patch, Problem
from cascade_rl.verifiers.diffs import parse_diff

Data = Callable[[str], Path]


def swebench_patches(data: Data) -> list[str]:
    """58 golden patches of SWE-bench, some of them of several files."""
    text = data("swe/swebench_gold_check_harness.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["model_patch"] for line in text.splitlines()]


def gym_problems(data: Data) -> list[Problem]:
    """Five issues with the whole text of their files."""
    text = data("swe/nemogym_swerl_gen_example.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [
        problem_of(
            json.loads(row["metadata"]["relevant_file_contents"]),
            row["instance"]["patch"],
            row["instance"]["problem_statement"],
        )
        for row in rows
    ]


def problem_of(files: dict[str, str], patch: str, issue: str = "it is broken") -> Problem:
    reference = Patch(files, patch, tuple(sorted(files)), "either", issue)
    return Problem("swe", "swe", (), reference, "test")


def real_problems(data: Data) -> Iterator[Problem]:
    yield from gym_problems(data)
    for patch in swebench_patches(data):
        yield problem_of(files_under(patch), patch)


def files_under(patch: str) -> dict[str, str]:
    """Files to which a diff applies: its own lines, and numbered ones between its hunks."""
    files = {}
    for diff in parse_diff(patch):
        lines: list[str] = []
        for hunk in diff.hunks:
            lines += [f"between = {n}\n" for n in range(len(lines), hunk.start)]
            lines += hunk.before
        if diff.old is not None:
            files[diff.old] = "".join(lines)
    return files


def blocks(files: dict[str, str], after: dict[str, str]) -> str:
    """An answer of SEARCH/REPLACE blocks that turns whole files into others."""
    parts = []
    for path, text in after.items():
        search, replace = files.get(path, ""), text
        parts.append(
            f"### {path}\n<<<<<<< SEARCH\n{_ended(search)}=======\n{_ended(replace)}>>>>>>> REPLACE"
        )
    return "\n".join(parts)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def at_changes(problem: Problem, change: Callable[[str], str]) -> dict[str, str]:
    """The files after `change` of every line that the golden patch removes.

    Where it only adds lines, the line before them is changed.
    """
    reference = problem.reference
    assert isinstance(reference, Patch)
    found = {}
    for diff in parse_diff(reference.patch):
        if diff.old is None:
            continue
        lines = reference.files[diff.old].splitlines(keepends=True)
        for hunk in diff.hunks:
            kept = 0
            while hunk.before[kept : kept + 1] == hunk.after[kept : kept + 1] != []:
                kept += 1
            tail = 0
            while tail < min(len(hunk.before), len(hunk.after)) - kept and (
                hunk.before[-1 - tail] == hunk.after[-1 - tail]
            ):
                tail += 1
            places = range(hunk.start + kept, hunk.start + len(hunk.before) - tail)
            for n in places or [max(hunk.start + kept - 1, 0)]:
                lines[n] = change(lines[n])
        found[diff.old] = "".join(lines)
    return found
