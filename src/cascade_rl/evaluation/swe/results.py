"""What a run found of every issue, on disk: rows, predictions for SWE-bench's harness, a summary.

One rule: everything that is printed or compared is made of the rows, and the rows hold no time and
no place. A run that was killed and one that was not therefore end with the same files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from cascade_rl.data.files import RowFile, write_json
from cascade_rl.data.growing import growing, whole_lines
from cascade_rl.errors import OutputError
from cascade_rl.evaluation.swe.localize import recall
from cascade_rl.evaluation.swe.select import Judged, curves
from cascade_rl.evaluation.swe.validate import Evidence

ROWS, PREDICTIONS, SUMMARY = "results.jsonl", "predictions.jsonl", "summary.json"
RECALL_AT = (1, 2, 3, 4, 5)
LISTS = ("generation", "retrieval", "fused")
MOST_RANKED = 20
"""Files of each ranking that a row keeps."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tried:
    """One candidate in a row: its patch and the evidence, or why it is none; the verdict.

    `passed` is None where no test was run.
    """

    sample: int
    tokens: int
    error: str
    patch: str
    evidence: Evidence | None
    passed: bool | None


class Rows:
    """The rows of a directory, by the key of their issue and settings."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._file = file
        self._found: dict[str, Row] = {}
        size = 0
        for row, length in whole_lines(path):
            if "key" not in row:
                raise OutputError(
                    f"{path} holds rows that  cascade swe  did not write",
                    hint="name a directory of its own:  --out DIR",
                )
            self._found[row["key"]] = row
            size += length
        os.truncate(path, size)

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> Row:
        return self._found[key]

    def add(self, rows: Sequence[Row]) -> None:
        """Rows with their `key`; they are on disk when this returns."""
        self._file.write(b"".join(json.dumps(row).encode("ascii") + b"\n" for row in rows))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._found |= {row["key"]: json.loads(json.dumps(row)) for row in rows}


@contextmanager
def rows_in(out: Path) -> Iterator[Rows]:
    """The rows of an output directory. Raises OutputError where another command writes them."""
    busy = OutputError(
        f"another  cascade swe  is writing {out}", hint="wait for it, or name another:  --out DIR"
    )
    with growing(out / ROWS, busy) as file:
        yield Rows(out / ROWS, file)


def write_predictions(out: Path, name: str, rows: Sequence[Row]) -> None:
    """`predictions.jsonl` with the pipeline's pick, `candidates/NN.jsonl` with every sample.

    Each line has SWE-bench's three keys; where there is no patch it is empty. Files of samples
    that an earlier command with a larger k left are removed.
    """
    picked = {row["instance_id"]: _patch(row, row["chosen"]) for row in rows}
    _write_file(out / PREDICTIONS, name, picked)
    folder = out / "candidates"
    folder.mkdir(exist_ok=True)
    count = max((len(row["candidates"]) for row in rows), default=0)
    for path in folder.glob("*.jsonl"):
        if path.stem.isdecimal() and int(path.stem) >= count:
            path.unlink()
    for place in range(count):
        each = {row["instance_id"]: _patch(row, place) for row in rows}
        _write_file(folder / f"{place:02d}.jsonl", name, each)


def _patch(row: Row, place: int | None) -> str:
    tried = row["candidates"]
    return str(tried[place]["patch"]) if place is not None and place < len(tried) else ""


def _write_file(path: Path, name: str, patches: Mapping[str, str]) -> None:
    with RowFile(path) as file:
        for instance, patch in patches.items():
            file.write({
                "instance_id": instance, "model_name_or_path": name, "model_patch": patch
            })  # fmt: skip


# --- the summary ----------------------------------------------------------------------------------


def summary_of(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """What the rows say together; scores only where every candidate was judged."""
    tried = [candidate for row in rows for candidate in row["candidates"]]
    known = [row for row in rows if row["golden"]]
    found: dict[str, Any] = {
        "issues": len(rows),
        "recall": {name: _recalls(known, name) for name in LISTS if known},
        "answers": {
            "candidates": len(tried),
            "no_patch": sum(bool(candidate["error"]) for candidate in tried),
            "lists_unread": sum(row["lists_unread"] for row in rows),
            "without_prompt": sum(not row["shown"] for row in rows),
        },
        "tests": {
            "generated": sum(row["scripts"]["generated"] for row in rows),
            "reproduce": sum(row["scripts"]["kept"] for row in rows),
        },
    }
    if rows and all(row["resolved"] is not None for row in rows):
        found["resolved"] = sum(row["resolved"] for row in rows) / len(rows)
        samples = max(len(row["candidates"]) for row in rows)
        if samples:
            found["curves"] = asdict(curves([_judged(row, samples) for row in rows], seed))
    return found


def _recalls(rows: Sequence[Row], name: str) -> list[float]:
    """Recall among the first 1, 2, ... 5 files, a mean over issues with a golden patch."""
    return [
        sum(recall(row["localized"][name], row["golden"], k) for row in rows) / len(rows)
        for k in RECALL_AT
    ]


def _judged(row: Row, samples: int) -> Judged:
    """The candidates of a row; one for which no file fitted into a prompt has as many, no patch."""
    if not row["candidates"]:
        return Judged(row["instance_id"], (None,) * samples, (False,) * samples)
    evidence = tuple(
        Evidence(**found) if (found := candidate["evidence"]) is not None else None
        for candidate in row["candidates"]
    )
    return Judged(row["instance_id"], evidence, tuple(c["passed"] for c in row["candidates"]))


def write_summary(out: Path, summary: Mapping[str, Any]) -> None:
    """`summary.json`, whole or not at all."""
    write_json(out / SUMMARY, summary)
