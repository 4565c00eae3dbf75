"""One data command's outcome: the rows it kept, those it dropped and why, and a report.

One rule: every row that went in is accounted for. `read` is `kept` and all of `dropped`, and what
was dropped lies beside the output with its reason. All files appear together at the end of the
block, the report last; after an exception there is none.

    with Step("dedup", Path("out.parquet"), {"threshold": 0.8}) as step:
        for row in step.rows(Path("in.parquet")):
            step.drop(row, "exact duplicate", "of gsm8k-17") if seen(row) else step.keep(row)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cascade_rl.data.files import RowFile, suffix, write_json
from cascade_rl.data.rows import Reject, RowKind, iter_rows, rejects_path
from cascade_rl.data.schema import row_dict
from cascade_rl.types import Row

UNREADABLE = "unreadable"


class Account:
    """What went in, what was kept and what was dropped, whatever files it goes to.

    `parameters` are what the user chose and are repeated in the report; whatever else is to be
    said goes to `details` before the block ends.
    """

    def __init__(
        self, command: str, out: Path, parameters: Mapping[str, Any], rejects: RowFile
    ) -> None:
        self.command, self.out, self.parameters = command, out, dict(parameters)
        self.inputs: list[str] = []
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.details: dict[str, Any] = {}
        self._begun = time.monotonic()
        self._rejects = rejects

    def rows(self, path: Path, kind: RowKind | None = None) -> Iterator[Row]:
        """The readable rows of an input; the others are dropped as `unreadable`."""
        self.inputs.append(str(path))
        for row in iter_rows(path, kind):
            if isinstance(row, Reject):
                self.refuse(row.row, UNREADABLE, row.reason)
            else:
                yield row

    def drop(self, row: Row, reason: str, detail: Any = "") -> None:
        """The row goes to the rejects. `reason` is one of a few, `detail` this row's own."""
        self.refuse(row_dict(row, self.read), reason, detail)

    def refuse(self, raw: Any, reason: str, detail: Any = "") -> None:
        """`drop` for what is no row yet."""
        index = self.read
        self._rejects.write({"index": index, "reason": reason, "detail": detail, "row": raw})
        self.dropped[reason] += 1

    @property
    def read(self) -> int:
        """Rows accounted for so far."""
        return self.kept + self.dropped.total()

    def report(self) -> dict[str, Any]:
        """What `report_path` will hold."""
        return {
            "command": self.command,
            "inputs": self.inputs,
            "output": str(self.out),
            "parameters": self.parameters,
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "seconds": round(time.monotonic() - self._begun, 3),
            **self.details,
        }


class Step(Account):
    """Writes OUT, OUT.rejects.jsonl and OUT.report.json."""

    def __init__(self, command: str, out: Path, parameters: Mapping[str, Any]) -> None:
        suffix(out)
        super().__init__(command, out, parameters, RowFile(rejects_path(out)))
        self._stack = ExitStack()
        self._rows = RowFile(out)

    def __enter__(self) -> Self:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(self._rejects)
        self._stack.enter_context(self._rows)  # ends first: rows that fail leave no rejects
        return self

    def keep(self, row: Row) -> None:
        """The row goes to the output."""
        self._rows.write(row_dict(row, self.kept))
        self.kept += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, where)
        if kind is None:
            write_json(report_path(self.out), self.report())


def report_path(out: Path) -> Path:
    """Where the report on an output is."""
    return out.with_name(f"{out.name}.report.json")
