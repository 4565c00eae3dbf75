"""One row of each: duplicates dropped by their keys, or the rows that another set holds.

Two rules. Rows that are the same by any key, directly or through others, are one cluster, and
of a cluster the longest stays (of equally long ones the smallest digest): the result does not
depend on the order of rows or files. And every reject says which row was kept and by which key.

The files are read twice: for the keys, then for the rows. Memory holds keys, ids and MinHash
bands, about 600 bytes a row where `near` counts; no row.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cascade_rl.data.dedup.identity import Identity, Key, Scope, digest, identity, text_of
from cascade_rl.data.dedup.near import NearIndex
from cascade_rl.data.rows import Reject, iter_rows
from cascade_rl.data.schema import row_dict
from cascade_rl.data.step import Step
from cascade_rl.digests import digest_json
from cascade_rl.types import Row

THRESHOLD = 0.8
"""Jaccard of word 5-grams from which prompts are near duplicates."""
VALUE_KEYS: tuple[Key, ...] = ("exact", "url", "commit", "io")
REASONS: Mapping[Key, str] = {
    "exact": "exact duplicate",
    "url": "same problem page",
    "commit": "same commit",
    "io": "same sample tests",
    "near": "near duplicate",
}
ELSEWHERE = " in another set"
NONE = -1
TURN, TOGETHER, ALONE = 0, 1, 2
"""One of several turns; all of them together; the only one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which keys count (None: each domain's own), what `near` means, what of a row is compared."""

    by: tuple[Key, ...] | None = None
    threshold: float = THRESHOLD
    scope: Scope | None = None


def dedup(files: Sequence[Path], step: Step, rules: Rules) -> None:
    """Keep one row of every cluster, in the order of the input."""
    with _index(step, rules) as index:
        catalog = Catalog(index)
        for number, file in enumerate(files):
            for row in _readable(file):
                catalog.add(row, number, rules)
        index.finish()
        kept_of = catalog.clusters()
        seen = 0
        for file in files:
            for row in step.rows(file):
                kept = kept_of[seen]
                if kept == seen:
                    step.keep(row)
                else:
                    key, detail = catalog.reason(seen, kept)
                    if len(files) > 1:
                        detail["file"] = str(files[catalog.files[kept]])
                    step.drop(row, REASONS[key], detail)
                seen += 1
        step.details["clusters"] = _sizes(kept_of)
        step.details["near"] = {"texts": len(index), "compared": index.verified}


def _sizes(kept_of: Sequence[int]) -> dict[str, int]:
    """How many clusters of two rows or more there are, and the rows of the largest."""
    sizes = [size for size in Counter(kept_of).values() if size > 1]
    return {"count": len(sizes), "largest": max(sizes, default=0)}


class Catalog:
    """The keys of all rows, by row number in the order read."""

    def __init__(self, index: NearIndex) -> None:
        self.index = index
        self.files = array("H")
        self.ids: list[str] = []
        self._sizes, self._digests, self._texts = array("Q"), array("Q"), array("q")
        self._values: dict[Key, array[int]] = {key: array("Q") for key in VALUE_KEYS}
        self._shared: dict[Key, set[int]] = {key: set() for key in VALUE_KEYS}
        self._parents = array("q")

    def add(self, row: Row, file: int, rules: Rules) -> None:
        """Take a row's keys."""
        found = identity(row, rules.by, rules.scope)
        near = "near" in found.keys and found.texts[0]
        self.ids.append(row.id)
        self.files.append(file)
        self._sizes.append(len(text_of(row, "row")))
        self._digests.append(_content(row))
        self._texts.append(self.index.add(found.texts[0], found.numbers) if near else NONE)
        for key, values in self._values.items():
            values.append(found.values.get(key, 0))

    def clusters(self) -> list[int]:
        """For every row the number of the row that stays in its place."""
        count = len(self.ids)
        self._parents = array("q", range(count))
        for key, values in self._values.items():
            first: dict[int, int] = {}
            for row, value in enumerate(values):
                if value and (other := first.setdefault(value, row)) != row:
                    self._shared[key].add(value)
                    self._union(row, other)
        rows = array("q", (row for row, text in enumerate(self._texts) if text != NONE))
        self.index.join(
            lambda a, b: self._union(rows[a], rows[b]), lambda text: self._root(rows[text])
        )
        best: dict[int, int] = {}
        for row in range(count):
            root = self._root(row)
            best[root] = min(best.get(root, row), row, key=self._rank)
        return [best[self._root(row)] for row in range(count)]

    def reason(self, row: int, kept: int) -> tuple[Key, dict[str, Any]]:
        """(the key that drops the row, what to tell of it)."""
        detail: dict[str, Any] = {"kept": self.ids[kept]}
        for key in VALUE_KEYS:
            if (value := self._values[key][row]) and value == self._values[key][kept]:
                return key, {**detail, "by": key}
        texts = self._texts[row], self._texts[kept]
        likeness = None if NONE in texts else self.index.similarity(*texts)
        if likeness is not None:
            return "near", {**detail, "by": "near", "similarity": round(likeness, 4)}
        through: list[Key] = [k for k in VALUE_KEYS if self._values[k][row] in self._shared[k]]
        key = (*through, "near")[0]
        return key, {**detail, "by": key, "through": "other rows of the cluster"}

    def _rank(self, row: int) -> tuple[int, int, int]:
        """The longest first, then by digest; only equal rows are left to their order."""
        return -self._sizes[row], self._digests[row], row

    def _root(self, row: int) -> int:
        parents = self._parents
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    def _union(self, row: int, other: int) -> None:
        first, second = sorted((self._root(row), self._root(other)))
        self._parents[second] = first


def _content(row: Row) -> int:
    """64 bits of everything in a row but its place in a file."""
    plain = row_dict(row, 0)
    plain.get("extra_info", {}).pop("index", None)
    return int(digest_json(plain)[:16], 16)


# --- one set without another ------------------------------------------------------------------


def subtract(file: Path, others: Sequence[Path], step: Step, rules: Rules) -> None:
    """Keep the rows of `file` whose prompt is in none of `others` (2512.13607, section 4).

    Prompts are compared whatever the kind of row, so SFT conversations and RL problems meet. A
    conversation of several turns also holds the prompts of its turns.
    """
    with _index(step, rules) as index:
        prompts = Prompts(index)
        for number, other in enumerate(others):
            for row in _readable(other):
                prompts.add(row.id, number, identity(row, rules.by, "prompt"))
        index.finish()
        for row in step.rows(file):
            found = prompts.find(identity(row, rules.by, "prompt"))
            if found is None:
                step.keep(row)
                continue
            key, number, detail = found
            detail = {**detail, "by": key, "file": str(others[number])}
            step.drop(row, REASONS[key] + ELSEWHERE, detail)
        step.details["against"] = {"files": [str(other) for other in others], **prompts.counts()}


class Prompts:
    """The prompts of a set: which of them is this one?

    Prompts are compared as a whole, and one turn of several with prompts of one turn. Two such
    turns are not: `Please rewrite that.` is no prompt.
    """

    def __init__(self, index: NearIndex) -> None:
        self.index = index
        self._ids: list[str] = []
        self._files = array("H")
        self._rows: dict[Key, dict[int, int]] = {key: {} for key in VALUE_KEYS}
        self._turns: dict[int, int] = {}
        self._owners, self._parts = array("q"), bytearray()

    def counts(self) -> dict[str, int]:
        """For the report."""
        return {"prompts": len(self._ids), "texts": len(self._owners)}

    def add(self, name: str, file: int, found: Identity) -> None:
        """Take the prompt of a row."""
        row = len(self._ids)
        self._ids.append(name)
        self._files.append(file)
        for key, value in found.values.items():
            self._rows[key].setdefault(value, row)
        for number, text in enumerate(found.texts):
            if number and text and "exact" in found.keys:
                self._turns.setdefault(digest(" ".join(text)), row)
            if text and "near" in found.keys:
                self.index.add(text, 0 if number else found.numbers)
                self._owners.append(row)
                self._parts.append(_part(number, found))

    def find(self, found: Identity) -> tuple[Key, int, dict[str, Any]] | None:
        """(key, file, what to tell) of a prompt that is the same, None for none."""
        for key, row in self._same_value(found):
            return key, self._files[row], {"kept": self._ids[row]}
        if "near" not in found.keys or not len(self.index):
            return None
        for number, text in enumerate(found.texts):
            if not text:
                continue
            part = _part(number, found)
            numbers = 0 if part == TURN else found.numbers
            hit = self.index.query(text, numbers, partial(self._may_meet, part))
            if hit is not None:
                row = self._owners[hit[0]]
                told = {"kept": self._ids[row], "similarity": round(hit[1], 4)}
                return "near", self._files[row], told
        return None

    def _may_meet(self, part: int, text: int) -> bool:
        """The only turn of a prompt meets all; several turns together meet each other."""
        theirs = self._parts[text]
        return ALONE in (part, theirs) or part == theirs == TOGETHER

    def _same_value(self, found: Identity) -> Iterator[tuple[Key, int]]:
        for key, value in found.values.items():
            if value in self._rows[key]:
                yield key, self._rows[key][value]
        if "exact" in found.keys:
            if found.values["exact"] in self._turns:
                yield "exact", self._turns[found.values["exact"]]
            for text in found.texts[1:]:
                if (value := digest(" ".join(text))) in self._rows["exact"]:
                    yield "exact", self._rows["exact"][value]


def _part(number: int, found: Identity) -> int:
    """What the text of that number is to its row."""
    return TURN if number else ALONE if len(found.texts) == 1 else TOGETHER


def _readable(file: Path) -> Iterator[Row]:
    """The rows of a file; those that cannot be read are counted where rows are kept."""
    return (row for row in iter_rows(file) if not isinstance(row, Reject))


@contextmanager
def _index(step: Step, rules: Rules) -> Iterator[NearIndex]:
    """An index whose file lies beside the output for as long as the block takes."""
    with (
        tempfile.TemporaryDirectory(prefix=".cascade-", dir=step.out.parent) as folder,
        NearIndex(Path(folder) / "shingles", rules.threshold) as index,
    ):
        yield index
