"""Two lexical similarities of edits, from 0 to 1: the published `swe_rl`, and `changed_lines`.

Both are means over the union of the files that either edit really changed: a file on one side
only counts 0, also a test file or one more file than the golden patch has. Both take bounded
time; where the bound is met, a similarity is a lower bound of the true one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence

from rapidfuzz.distance import Indel

from cascade_rl.verifiers.matching import matched_characters

Files = Mapping[str, str]
Similarity = Callable[[Files, Files, Files], float]
"""(files before, files the answer changed, files the golden patch changed) to a number."""

WORK = 150_000
"""Limit of `swe_rl_similarity` an answer, about 35 ms; see `matching.matched_characters`."""
MAX_LINE_PAIRS = 3_000_000
"""Equal lines that one file's line diff may look at: about half a second."""
THRESHOLDS = {"swe_rl": 0.5, "changed_lines": 0.33}
"""From where on an edit counts as similar when data is curated; 0.5 is the paper's."""

TOO_LONG = "\0"
"""Instead of a diff that would take seconds: it is like nothing."""


class _TooLong(Exception):
    """A line diff that would take seconds."""


# --- SWE-RL -----------------------------------------------------------------------------------


def swe_rl_similarity(files: Files, found: Files, golden: Files, *, exact: bool = False) -> float:
    """Mean over the union of changed files of the difflib ratio of per-file unified diffs.

    SWE-RL (arXiv:2502.18449, core/reward.py): three lines of context, headers removed; no
    change on either side is 1. Exact up to about 10,000 characters a side, to 30,000 where the
    sides are alike; beyond, a lower bound. `exact=True` has no bound: for curation.
    """
    ours, theirs = _file_diffs(files, found), _file_diffs(files, golden)
    paths = ours.keys() | theirs.keys()
    if not paths:
        return 1.0
    both = sorted(ours.keys() & theirs.keys(), key=lambda p: (len(ours[p]) + len(theirs[p]), p))
    total, left = 0.0, WORK
    for nth, path in enumerate(both):
        a, b = ours[path], theirs[path]
        # Small files first: what they leave of the work is for the large ones.
        share = left // (len(both) - nth)
        if found[path] == golden[path] or a == b != TOO_LONG:
            total += 1.0
        elif TOO_LONG not in (a, b):
            limit = None if exact else share
            total += 2.0 * matched_characters(a, b, limit) / (len(a) + len(b))
            left -= min(share, 4 * (len(a) + len(b)))
    return total / len(paths)


def _file_diffs(files: Files, changed: Files) -> dict[str, str]:
    """Unified diffs, without header lines, of the files with changed lines."""
    diffs = {}
    for path, after in changed.items():
        try:
            diff = unified_diff(files.get(path, ""), after)
        except _TooLong:
            diff = TOO_LONG
        if diff:
            diffs[path] = diff
    return diffs


def diff_text(files: Files, changed: Files) -> str:
    """The changes as one unified diff with header lines, for a reader."""
    diffs = _file_diffs(files, changed)
    return "\n".join(
        f"--- a/{path}\n+++ b/{path}\n{changed[path] if diff == TOO_LONG else diff}"
        for path, diff in sorted(diffs.items())
    )


def unified_diff(before: str, after: str) -> str:
    """What `difflib.unified_diff` writes, three lines of context, without header lines."""
    old, new = before.splitlines(), after.splitlines()
    lines: list[str] = []
    for group in _BoundedMatcher(old, new).get_grouped_opcodes(3):
        a, b = _span(group[0][1], group[-1][2]), _span(group[0][3], group[-1][4])
        lines.append(f"@@ -{a} +{b} @@")
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                lines += [" " + line for line in old[i:i_end]]
            else:
                lines += ["-" + line for line in old[i:i_end]]
                lines += ["+" + line for line in new[j:j_end]]
    return "\n".join(lines)


def _span(start: int, stop: int) -> str:
    """A hunk's `first,count` as `diff -u` writes it."""
    count = stop - start
    first = start + 1 if count else start
    return str(first) if count == 1 else f"{first},{count}"


class _BoundedMatcher(difflib.SequenceMatcher[str]):
    """difflib's line matcher, which gives up after MAX_LINE_PAIRS. Raises _TooLong."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new)
        self._lines = len(old)
        self._pairs = [0]  # equal lines of `new` before each line of `old`
        places: Mapping[str, list[int]] = vars(self)["b2j"]
        for line in old:
            self._pairs.append(self._pairs[-1] + 1 + len(places.get(line, ())))
        self._left = MAX_LINE_PAIRS

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """As difflib's; it looks at each equal line of the whole of `new`."""
        ahi = self._lines if ahi is None else ahi
        self._left -= self._pairs[ahi] - self._pairs[alo]
        if self._left < 0:
            raise _TooLong
        return super().find_longest_match(alo, ahi, blo, bhi)


# --- changed lines ----------------------------------------------------------------------------


def changed_lines_similarity(files: Files, found: Files, golden: Files) -> float:
    """Mean over the union of changed files of how alike the removed and the added lines are.

    Lines are compared without their blanks, empty ones not at all, so context and blanks count
    nothing. A file's similarity is the lower one of its two sides (removed, added), each twice
    the common lines, in order, over those of both: to delete the right lines, or to add a
    comment to them, is not half of a fix. Equal lines that leave another text behind (in
    another place, say) are at most 0.9; 1 means the golden text up to blanks at line ends.
    """
    paths = [
        path
        for path in sorted(found.keys() | golden.keys())
        if _changed(files, found, path) or _changed(files, golden, path)
    ]
    if not paths:
        return 1.0
    return sum(_file_similarity(files, found, golden, path) for path in paths) / len(paths)


def _changed(files: Files, after: Files, path: str) -> bool:
    before = files.get(path, "")
    return trimmed(after.get(path, before)) != trimmed(before)


def trimmed(text: str) -> str:
    """The text with line feeds, no blanks at line ends and no empty lines at its own."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip(" \t") for line in lines).strip("\n")


def _file_similarity(files: Files, found: Files, golden: Files, path: str) -> float:
    before = files.get(path, "")
    ours, theirs = found.get(path, before), golden.get(path, before)
    if trimmed(ours) == trimmed(theirs):
        return 1.0
    try:
        sides = list(zip(_changed_lines(before, ours), _changed_lines(before, theirs), strict=True))
    except _TooLong:
        return 0.0
    # A side that neither edit has says nothing; where neither has any, only blanks changed.
    alike = [Indel.normalized_similarity(a, b) for a, b in sides if a or b]
    return min(*alike, 0.9) if alike else 0.0


def _changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The removed and the added lines, without blanks."""
    old, new = list(_bare_lines(before)), list(_bare_lines(after))
    removed: list[str] = []
    added: list[str] = []
    for tag, i, i_end, j, j_end in _BoundedMatcher(old, new).get_opcodes():
        if tag != "equal":
            removed += old[i:i_end]
            added += new[j:j_end]
    return removed, added


def _bare_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if bare := "".join(line.split()):
            yield bare


SIMILARITIES: dict[str, Similarity] = {
    "swe_rl": swe_rl_similarity,
    "changed_lines": changed_lines_similarity,
}
