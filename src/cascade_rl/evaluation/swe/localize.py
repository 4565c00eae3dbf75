"""Which files have to change: by asking a model, by retrieval, and both fused.

Two rules. Fusion is reciprocal rank fusion with k = 0, the sum of 1 / rank (Nemotron-Cascade,
section 7), so the first file of either list is always near the top. And recall is all or
nothing: 1 when every file of the golden patch is among the first k, else 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.data.sft.swe_parts import listed_files
from cascade_rl.engines.generate import Response

ROLLOUTS = 16
"""Answers that are counted (section 7)."""
LISTED = 5
"""Files that one answer may list."""

LOCALIZE = """\
A repository has an issue. Read it and the names of the repository's files, and find those that \
have to be changed to resolve it.

--- BEGIN ISSUE
{issue}
--- END ISSUE

--- BEGIN STRUCTURE
{structure}
--- END STRUCTURE

Answer with the full paths of at most {most} files, one a line, the most important first, between \
triple backticks:
```
path/of/the/first.file
path/of/the/second.file
```"""
"""What is asked (2512.13607, appendix C.2, in our words)."""


def localization_prompt(issue: str, paths: Iterable[str], most: int = LISTED) -> str:
    """The issue and the repository's structure, names only."""
    return LOCALIZE.format(issue=issue.strip(), structure=structure(paths), most=most)


def structure(paths: Iterable[str]) -> str:
    """The paths as an indented tree; a directory's name ends in a slash."""
    lines: list[str] = []
    above: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        *folders, name = path.split("/")
        same = 0
        while same < min(len(folders), len(above)) and folders[same] == above[same]:
            same += 1
        lines += ["  " * depth + folders[depth] + "/" for depth in range(same, len(folders))]
        lines.append("  " * len(folders) + name)
        above = folders
    return "\n".join(lines)


def fitting(
    ranked: Sequence[str], paths: Collection[str], room: int, count: Callable[[str], int]
) -> list[str]:
    """The paths whose structure fits into `room` tokens: all, or as many as fit, ranked ones first.

    Paths that are not ranked come after those that are, by name.
    """
    order = [path for path in ranked if path in paths]
    order += sorted(set(paths) - set(order))
    while order and (tokens := count(structure(order))) > room:
        order = order[: min(len(order) - 1, len(order) * room // tokens)]
    return order


# --- generation ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generated:
    """Files by how many answers list them, and how many answers could not be read."""

    ranked: tuple[str, ...]
    unread: int


def by_frequency(
    responses: Sequence[Response], known: Collection[str], most: int = LISTED
) -> Generated:
    """Files of the repository that answers list, the most often listed first.

    Of files listed as often, the one that stands higher in the lists comes first. Only the first
    `most` files of an answer count, and only those there are.
    """
    counts: Counter[str] = Counter()
    places: Counter[str] = Counter()
    unread = 0
    for response in responses:
        paths = _paths(response)
        if paths is None:
            unread += 1
            continue
        for place, path in enumerate(paths[:most]):
            if path in known:
                counts[path] += 1
                places[path] += place
    ranked = sorted(counts, key=lambda p: (-counts[p], places[p] / counts[p], p))
    return Generated(tuple(ranked), unread)


def _paths(response: Response) -> list[str] | None:
    """The files that an answer lists; None for one that was cut off or lists none."""
    if response.finish == "length" or has_open_thought(response.text):
        return None
    listed = listed_files(answer_part(response.text))
    return listed if isinstance(listed, list) else None


# --- both -----------------------------------------------------------------------------------------


def fuse(*rankings: Sequence[str], k: int = 0) -> list[str]:
    """Reciprocal rank fusion: by the sum of 1 / (k + rank), ranks from 1.

    Of files with equal sums, the one that an earlier ranking places higher comes first.
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, path in enumerate(ranking, 1):
            scores[path] = scores.get(path, 0.0) + 1 / (k + rank)
    absent = max(map(len, rankings), default=0)
    places = [{path: place for place, path in enumerate(ranking)} for ranking in rankings]
    return sorted(
        scores, key=lambda p: (-scores[p], *(place.get(p, absent) for place in places), p)
    )


def recall(ranked: Sequence[str], golden: Collection[str], k: int) -> int:
    """1 when all golden files are among the first k, else 0."""
    return int(set(golden) <= set(ranked[:k]))
