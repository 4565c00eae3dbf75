"""Where a benchmark's published rows are, and how they are told from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cascade_rl.data.files import raw_rows


@dataclass(frozen=True, slots=True)
class Window:
    """Days of release, the first and the last both inside."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class Rows:
    """The published rows.

    `source` names the converter of `data.sources` that reads them, None goes by their keys.
    `shapes` are the sets of keys of which a row has one. `get` is what to type, or where to go, for
    the right file; `hub`, `subset` and `split` name the rows on the hub, where they can be had from
    there. `counts` are the numbers of rows that are known, each with what has so many: the paper's
    own comes first. `only` are the file names that count where a directory is given. `opened`
    yields the raw rows of a path.
    """

    source: str | None
    shapes: tuple[tuple[str, ...], ...]
    get: str
    counts: Mapping[int, str]
    hub: str | None = None
    subset: str | None = None
    split: str | None = None
    window: Window | None = None
    only: tuple[str, ...] = ()
    opened: Callable[[Path], Iterator[Any]] = raw_rows


@dataclass(frozen=True, slots=True)
class Published:
    """The rows of a benchmark; `ours` says that this project's own rows are taken too."""

    title: str
    rows: Rows
    ours: bool
