"""What row files hold: counts, lengths, references, recorded pass rates, repeats and drops.

Two rules. Rows stream: memory holds counters, and eight bytes for each prompt. And whatever is
no row of ours is counted as unreadable, never left out: the rows of all files and the unreadable
ones are everything there is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade_rl.chat import split_thought
from cascade_rl.data.files import Unreadable, files_of, raw_rows
from cascade_rl.data.pass_rate import pass_rates
from cascade_rl.data.schema import kind_of, parse_row
from cascade_rl.data.stats.measures import Measure, Repeats, Tally
from cascade_rl.errors import DataError
from cascade_rl.types import (
    Answer,
    Constraints,
    Conversation,
    Message,
    Pair,
    Patch,
    Problem,
    Row,
    Tests,
)

CountTokens = Callable[[str], int]
Progress = Callable[[int, int], None]
"""Called with (rows done, bytes of the files that are done)."""
TEXTS = ("prompt", "response", "thought", "chosen", "rejected")
"""What is measured in characters, words and tokens."""
REFERENCES = {
    "answer": "characters", "tests": "tests", "constraints": "constraints", "files": "files",
    "turns": "turns", "tools": "tools",
}  # fmt: skip
"""What is counted once a row, and its unit."""
NONE = "(none)"
SHOWN = 5
"""Unreadable rows of a file whose reasons are repeated."""
RATE_BINS = 10


@dataclass(slots=True)
class FileCount:
    """Rows of one file; `reasons` are those of its first unreadable ones."""

    path: str
    rows: int = 0
    unreadable: int = 0
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Drops:
    """What one command dropped, as its report says. `problem` is why a report was not read."""

    report: str
    command: str = ""
    read: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""


class Stats:
    """Everything counted so far. `count_tokens`, where given, adds lengths in tokens."""

    def __init__(self, count_tokens: CountTokens | None = None) -> None:
        self.units: dict[str, Callable[[str], int]] = {"characters": len, "words": _words}
        if count_tokens is not None:
            self.units["tokens"] = count_tokens
        self.files: list[FileCount] = []
        self.counts = {name: Tally() for name in ("kind", "domain", "source", "mode", "split")}
        self.measures: dict[tuple[str, str, str], Measure] = {}
        self.pass_rates: Counter[int] = Counter()
        self.pass_rate_sum = 0.0
        self.prompts = Repeats()
        self.drops: list[Drops] = []

    @property
    def rows(self) -> int:
        """Rows that could be read."""
        return sum(file.rows for file in self.files)

    @property
    def unreadable(self) -> int:
        """Rows that could not."""
        return sum(file.unreadable for file in self.files)

    def add(self, row: Row) -> None:
        """Count one row."""
        self.counts["source"].add(row.source or NONE)
        match row:
            case Problem():
                self._problem(row)
            case Conversation():
                self._conversation(row)
            case Pair():
                self._tally("pair", NONE, _mode(row.prompt), NONE)
                self._prompt("pair", row.prompt)
                self._text("chosen", "pair", row.chosen)
                self._text("rejected", "pair", row.rejected)

    def _problem(self, row: Problem) -> None:
        self._tally("problem", row.domain, _mode(row.prompt), str(row.extra.get("split") or NONE))
        self._prompt(row.domain, row.prompt)
        match row.reference:
            case Answer(text):
                self._number("answer", row.domain, len(text))
            case Tests(cases):
                self._number("tests", row.domain, len(cases))
            case Constraints(names):
                self._number("constraints", row.domain, len(names))
            case Patch(files):
                self._number("files", row.domain, len(files))
        if rates := pass_rates(row.extra):
            rate = float(rates[0].share)
            self.pass_rates[rate_bin(rate)] += 1
            self.pass_rate_sum += rate

    def _conversation(self, row: Conversation) -> None:
        asked = [message for message in row.messages if message.role != "assistant"]
        self._tally("conversation", NONE, _mode(asked), NONE)
        self._prompt("conversation", asked)
        for message in row.messages:
            if message.role == "assistant":
                thought, answer = message.thought, message.content
                if thought is None:
                    thought, answer = split_thought(answer)
                self._text("response", "conversation", answer)
                if thought is not None:
                    self._text("thought", "conversation", thought)
        self._number("turns", "conversation", len(row.messages))
        self._number("tools", "conversation", len(row.tools))

    def _tally(self, kind: str, domain: str, mode: str, split: str) -> None:
        named = {"kind": kind, "domain": domain, "mode": mode, "split": split}
        for name, value in named.items():
            self.counts[name].add(value)

    def _prompt(self, group: str, messages: Sequence[Message]) -> None:
        self._text("prompt", group, "\n".join(message.content for message in messages))
        self.prompts.add("\0".join(f"{m.role}\0{m.content}" for m in messages))

    def _text(self, what: str, group: str, text: str) -> None:
        for unit, length in self.units.items():
            self._measure(what, group, unit).add(length(text))

    def _number(self, what: str, group: str, value: int) -> None:
        self._measure(what, group, REFERENCES[what]).add(value)

    def _measure(self, what: str, group: str, unit: str) -> Measure:
        key = (what, group, unit)
        if key not in self.measures:
            self.measures[key] = Measure()
        return self.measures[key]

    def ordered(self) -> list[tuple[str, str, str, Measure]]:
        """(what, of which rows, unit, measure): prompts first, then answers, then references."""
        order = {what: place for place, what in enumerate((*TEXTS, *REFERENCES))}
        units = {unit: place for place, unit in enumerate(self.units)}
        keys = sorted(self.measures, key=lambda k: (order[k[0]], k[1], units.get(k[2], 0)))
        return [(*key, self.measures[key]) for key in keys]

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values: what `cascade data stats --json` prints."""
        different, repeated = self.prompts.count()
        rated = self.pass_rates.total()
        return {
            "rows": self.rows,
            "unreadable": self.unreadable,
            "files": [
                {"path": f.path, "rows": f.rows, "unreadable": f.unreadable, "reasons": f.reasons}
                for f in self.files
            ],
            "counts": {name: tally.sorted() for name, tally in self.counts.items()},
            "prompts": {"different": different, "repeated": repeated},
            "lengths": [
                {"what": what, "of": group, "unit": unit, **summary(measure)}
                for what, group, unit, measure in self.ordered()
            ],
            "pass_rate": {
                "rows": rated,
                "mean": self.pass_rate_sum / rated if rated else None,
                "histogram": {name: self.pass_rates[i] for i, name in enumerate(RATE_NAMES)},
            },
            "drops": [
                {"report": d.report, "command": d.command, "read": d.read, "kept": d.kept,
                 "dropped": dict(d.dropped), "problem": d.problem}
                for d in self.drops
            ],
        }  # fmt: skip


def collect(
    paths: Sequence[Path],
    count_tokens: CountTokens | None = None,
    progress: Progress = lambda rows, size: None,
) -> Stats:
    """Count every row of the files and directories, and read the reports that lie beside them.

    Raises DataError for a path that is no row file, or for a file that is cut off.
    """
    stats = Stats(count_tokens)
    files = list(dict.fromkeys(file for path in paths for file in files_of(path)))
    done = size = 0
    for path in files:
        found = FileCount(str(path))
        stats.files.append(found)
        for row in _rows(path):
            if isinstance(row, str):
                found.unreadable += 1
                found.reasons += [row] if len(found.reasons) < SHOWN else []
            else:
                found.rows += 1
                stats.add(row)
            done += 1
            progress(done, size)
        size += path.stat().st_size
    folders = dict.fromkeys([*(p for p in paths if p.is_dir()), *(f.parent for f in files)])
    reports = [report for folder in folders for report in sorted(folder.glob("*report.json"))]
    stats.drops = [read_drops(report) for report in reports]
    return stats


def _rows(path: Path) -> Iterator[Row | str]:
    """Each row, or why it is none."""
    for raw in raw_rows(path):
        if isinstance(raw, Unreadable):
            yield raw.reason
            continue
        try:
            yield parse_row(raw, kind_of(raw if isinstance(raw, Mapping) else {}))
        except DataError as error:
            yield error.message


def read_drops(path: Path) -> Drops:
    """What a command's report says about drops. It may be anybody's file: nothing is trusted."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return Drops(str(path), problem=f"not JSON: {error}")
    match found:
        case {"command": str(command), "read": int(read), "kept": int(kept), "dropped": dict(drop)}:
            counts = {str(k): v for k, v in drop.items() if isinstance(v, int)}
            return Drops(str(path), command, read, kept, counts)
    return Drops(str(path), problem="no report of a data command: it names no read, kept, dropped")


def summary(measure: Measure) -> dict[str, float]:
    """Count, mean, median, 95th percentile and maximum of a measure."""
    return {
        "count": measure.count,
        "mean": measure.mean,
        "median": measure.quantile(0.5),
        "p95": measure.quantile(0.95),
        "max": measure.max,
    }


def rate_bin(rate: float) -> int:
    """The bin of a pass rate in `RATE_NAMES`: none and all right have one of their own."""
    if rate <= 0 or rate >= 1:
        return 0 if rate <= 0 else RATE_BINS + 1
    return 1 + min(RATE_BINS - 1, int(rate * RATE_BINS + 1e-9))


RATE_NAMES = (
    "0", *(f"{i / RATE_BINS:g} to {(i + 1) / RATE_BINS:g}" for i in range(RATE_BINS)), "1",
)  # fmt: skip


def _words(text: str) -> int:
    return len(text.split())


def _mode(messages: Sequence[Message]) -> str:
    """The mode of the user turns: one of the two, none, or both."""
    modes = sorted({message.mode for message in messages if message.mode})
    return " and ".join(modes) or NONE
