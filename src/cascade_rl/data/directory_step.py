"""A data command's outcome in a directory: groups of rows, each in a train and a validation file.

`Step`'s rule holds: every row is accounted for, and there is one report and one rejects file for
the directory. Nothing stands under a final name until all files are complete, and the report
comes last: a directory without `report.json` is unfinished.

Which side a row falls on depends on its prompt and the seed alone, not on its place: rows with
the same prompt are never on both sides.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cascade_rl.data.files import RowFile, raw_rows, write_json
from cascade_rl.data.schema import row_dict
from cascade_rl.data.step import Account
from cascade_rl.digests import digest_text
from cascade_rl.errors import DataError, OutputError
from cascade_rl.types import Conversation, Message, Row

REPORT, REJECTS = "report.json", "rejects.jsonl"
UNFINISHED = ".unfinished"
_SPACE = 1 << 64


@dataclass(frozen=True, slots=True)
class Validation:
    """How much of each group is held out: a share of the prompts, or that many rows at most.

    A group of two prompts or more has one at least on each side, unless nothing is held out.
    """

    share: float = 0.02
    rows: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise DataError(f"the share held out is {self.share}; expected 0 or more and below 1")
        if self.rows is not None and self.rows < 0:
            raise DataError(f"{self.rows} rows held out; expected 0 or more")

    @property
    def nothing(self) -> bool:
        """Whether all rows are for training."""
        return self.rows == 0 if self.rows is not None else self.share == 0

    def place(self, row: Row) -> int:
        """Where the row's prompt stands between 0 and 2**64; equal for equal prompts.

        Case and blanks do not count.
        """
        words = " ".join(m.content for m in asked(row)).casefold().split()
        return int(digest_text(str(self.seed), " ".join(words))[:16], 16)


def asked(row: Row) -> tuple[Message, ...]:
    """The prompt of a row; of a conversation, the turns before the first answer."""
    if not isinstance(row, Conversation):
        return row.prompt
    first = next(n for n, turn in enumerate(row.messages) if turn.role == "assistant")
    return row.messages[:first]


@dataclass(slots=True)
class _Group:
    """The rows of one group as they come, and what decides who is held out."""

    rows: RowFile
    smallest: int = _SPACE
    largest: int = -1
    first: list[int] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)

    def note(self, place: int, limit: int | None) -> None:
        """A row's place; with a limit, so many of the first places and their rows are counted."""
        self.smallest, self.largest = min(self.smallest, place), max(self.largest, place)
        if limit is None:
            return
        if place in self.counts:
            self.counts[place] += 1
        elif len(self.first) < limit:
            heappush(self.first, -place)
            self.counts[place] = 1
        elif self.first and place < -self.first[0]:
            del self.counts[-heappushpop(self.first, -place)]
            self.counts[place] = 1

    def end(self, validation: Validation) -> int:
        """The place below which rows are held out."""
        if validation.nothing or self.smallest == self.largest:
            return 0
        end = int(validation.share * _SPACE)
        if validation.rows is not None:
            end, left = 0, validation.rows
            for place in sorted(self.counts):
                left -= self.counts[place]
                if left < 0:
                    break
                end = place + 1
        return min(max(end, self.smallest + 1), self.largest)


class DirectoryStep(Account):
    """Writes OUT/GROUP_train and OUT/GROUP_val, OUT/rejects.jsonl and OUT/report.json.

    A group without a name has the files `train` and `val`.
    Memory does not grow with the rows, but for `Validation.rows`. `ending` is `.parquet` or
    `.jsonl`. A file that would have no rows is not written.
    """

    def __init__(
        self,
        command: str,
        out: Path,
        parameters: Mapping[str, Any],
        validation: Validation,
        ending: str = ".parquet",
    ) -> None:
        self._hidden = out / UNFINISHED
        super().__init__(command, out, parameters, RowFile(self._hidden / REJECTS))
        self.outputs: dict[str, int] = {}
        self._validation, self._ending = validation, ending
        self._groups: dict[str, _Group] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        try:
            shutil.rmtree(self._hidden, ignore_errors=True)
            self._hidden.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"cannot write in {self.out}: {error.strerror}") from None
        self._opened.enter_context(self._rejects)
        return self

    def keep(self, row: Row, group: str) -> None:
        """The row goes to the group's files."""
        if group not in self._groups:
            rows = RowFile(self._hidden / f"{group}.lines.jsonl")
            self._groups[group] = _Group(self._opened.enter_context(rows))
        place = self._validation.place(row)
        self._groups[group].note(place, self._validation.rows)
        self._groups[group].rows.write({"place": place, "row": row_dict(row, 0)})
        self.kept += 1

    @property
    def files(self) -> dict[Path, int]:
        """The files that were written, and how many rows each has."""
        return {self.out / name: rows for name, rows in self.outputs.items()}

    def report(self) -> dict[str, Any]:
        """What `report.json` will hold."""
        return super().report() | {"outputs": self.outputs}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        try:
            self._opened.__exit__(kind, error, where)
            if kind is None:
                for group in sorted(self._groups):
                    self._split(group)
                self._commit()
        finally:
            shutil.rmtree(self._hidden, ignore_errors=True)
            with suppress(OSError):  # it stays where it holds anything
                self.out.rmdir()

    def _split(self, group: str) -> None:
        """The group's files, their rows in the order in which they came."""
        found = self._groups[group]
        end = found.end(self._validation)
        for split in ("train", "val"):
            path = self._hidden / ("_".join(filter(None, (group, split))) + self._ending)
            try:
                with RowFile(path) as file:
                    for line in raw_rows(found.rows.path):
                        if (line["place"] < end) is (split == "val"):
                            file.write(_placed(line["row"], file.count, split))
            except DataError as error:  # its path is ours, and so would be its hint
                message = error.message.replace(str(path), path.name)
                raise DataError(message, hint="write JSON lines instead:  --jsonl") from None
            if file.count:
                self.outputs[path.name] = file.count
            else:
                path.unlink()

    def _commit(self) -> None:
        """Everything under its final name, the report last."""
        try:
            (self.out / REPORT).unlink(missing_ok=True)
            for name in (*self.outputs, REJECTS):
                (self._hidden / name).replace(self.out / name)
        except OSError as error:
            raise OutputError(f"cannot write in {self.out}: {error.strerror}") from None
        write_json(self.out / REPORT, self.report())


def _placed(row: dict[str, Any], index: int, split: str) -> dict[str, Any]:
    """A problem with its place and side in `extra_info`; other rows as they are."""
    if "extra_info" in row:
        row["extra_info"] = {**row["extra_info"], "index": index, "split": split}
    return row
