"""A mixture drawn from its sources: exact multiplicities, one shuffle, the same for one seed.

Two rules. Rows wait in a file, memory holds twelve bytes for each and eight for each copy, so
what is mixed may be larger than memory. And each source is drawn by a seed of its own, so that
another source more or less changes nothing in what is drawn of this one.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade_rl.data.files import RowFile
from cascade_rl.data.lengths import Count
from cascade_rl.data.mix.mixture import SourceConfig, StageMixture
from cascade_rl.data.mix.pack import Pack, best_fit
from cascade_rl.data.schema import RowKind, parse_row, row_dict
from cascade_rl.data.step import Step
from cascade_rl.digests import digest_text
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Pair, Problem, Row

TOO_LONG = "longer than max_tokens"
OVER_BUDGET = "longer than a pack"
KINDS: dict[type[Row], RowKind] = {Problem: "problem", Conversation: "conversation", Pair: "pair"}

Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(slots=True)
class Share:
    """One line of the composition table. Tokens and copies are counted as rows are written."""

    source: SourceConfig
    first: int
    read: int = 0
    rows: int = 0
    copies: int = 0
    tokens: int = 0
    drawn: int = 0

    def line(self, copies: int, tokens: int) -> dict[str, Any]:
        """For the report; shares are of all `copies` and `tokens`."""
        exact = {"upsample": self.source.upsample or 1.0}
        return {
            "source": self.source.label,
            "file": self.source.file,
            **({"rows_wanted": self.source.rows} if self.source.rows else exact),
            "read": self.read,
            "usable": self.rows,
            "configured": self.source.copies(self.rows),
            "copies": self.copies,
            "not_drawn": self.rows - self.drawn,
            "tokens": self.tokens,
            "share_of_rows": round(self.copies / max(1, copies), 6),
            "share_of_tokens": round(self.tokens / max(1, tokens), 6),
        }


def mix(
    stage: StageMixture,
    seed: int,
    out: Path,
    count: Count,
    budget: int | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Step:
    """Write the mixture, and with a `budget` its packs beside it; returns the finished step.

    Raises DataError where a source has no row left, or rows of another kind than the first.
    """
    packs, packed = packs_path(out), False
    chosen = {"stage": stage.name, "seed": seed, "max_tokens": stage.max_tokens, "pack": budget}
    try:
        with Step("mix", out, {**chosen, **(parameters or {})}) as step:
            packed = _mix(stage, seed, step, count, budget)
    except BaseException:
        if packed:  # they would name rows of a file that is not there
            packs.unlink(missing_ok=True)
        raise
    if not packed:
        packs.unlink(missing_ok=True)  # those of an earlier mixture of this name
    return step


def _mix(stage: StageMixture, seed: int, step: Step, count: Count, budget: int | None) -> bool:
    """Whether packs were written."""
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix=".cascade-", dir=step.out.parent)
        )
        spool = stack.enter_context(Spool(Path(folder) / "rows"))
        shares = [_collect(source, stage, step, spool, count, budget) for source in stage.sources]
        order = _order(stage, shares, seed)
        if not len(order):
            raise DataError(f"stage {stage.name} draws no row at all", hint="raise upsample")
        written = _written(order, shares, step, spool)
        if budget is not None:
            step.details["packs"] = _pack(written, packs_path(step.out), budget)
        else:
            deque(written, maxlen=0)
    copies, tokens = sum(s.copies for s in shares), sum(s.tokens for s in shares)
    step.details["composition"] = [share.line(copies, tokens) for share in shares]
    step.details["total"] = {"copies": copies, "tokens": tokens}
    return budget is not None


def packs_path(out: Path) -> Path:
    """Where the packs of a mixture are, in the format of the mixture."""
    return out.with_suffix(f".packs{out.suffix}")


def _collect(
    source: SourceConfig,
    stage: StageMixture,
    step: Step,
    spool: Spool,
    count: Count,
    budget: int | None,
) -> Share:
    """All usable rows of a source go to the spool."""
    share, before = Share(source, len(spool)), step.read
    for row in step.rows(Path(source.file)):
        tokens = count(row)
        if stage.max_tokens is not None and tokens > stage.max_tokens:
            step.drop(row, TOO_LONG, tokens)
        elif budget is not None and tokens > budget:
            step.drop(row, OVER_BUDGET, tokens)
        else:
            spool.add(row, tokens)
            share.rows += 1
    share.read = share.rows + step.read - before
    if not share.rows:
        raise DataError(
            f"source {source.label} has no row to mix: {share.read} read from {source.file}, "
            "all unreadable or too long",
            hint="raise max_tokens, or leave the source out",
        )
    return share


def _order(stage: StageMixture, shares: Sequence[Share], seed: int) -> Places:
    """The rows of the mixture by their place in the spool, shuffled."""
    places = []
    for share in shares:
        draw = _generator(seed, stage.name, share.source.label)
        whole, rest = divmod(share.source.copies(share.rows), share.rows)
        extra = draw.permutation(share.rows)[:rest]
        share.drawn = share.rows if whole else rest
        places.append(share.first + np.concatenate([np.tile(np.arange(share.rows), whole), extra]))
    order: Places = np.concatenate(places)
    _generator(seed, stage.name, "").shuffle(order)
    return order


def _generator(seed: int, stage: str, source: str) -> np.random.Generator:
    return np.random.default_rng([seed, int(digest_text(stage, source)[:16], 16)])


def _written(order: Places, shares: Sequence[Share], step: Step, spool: Spool) -> Iterator[int]:
    """Keep every row of the mixture and yield its tokens."""
    firsts = np.array([share.first for share in shares])
    for place in order:
        share = shares[int(np.searchsorted(firsts, place, "right")) - 1]
        row, tokens = spool.get(int(place))
        step.keep(row)
        share.copies += 1
        share.tokens += tokens
        yield tokens


def _pack(lengths: Iterable[int], path: Path, budget: int) -> dict[str, Any]:
    """Write the packs; what the report says of them."""
    tokens = 0
    with RowFile(path) as file:
        for pack in best_fit(lengths, budget):
            file.write(_pack_row(file.count, pack))
            tokens += pack.tokens
        utilisation = tokens / max(1, file.count * budget)
        return {
            "file": str(path),
            "budget": budget,
            "packs": file.count,
            "tokens": tokens,
            "utilisation": round(utilisation, 6),
        }


def _pack_row(number: int, pack: Pack) -> dict[str, Any]:
    rows, lengths = list(pack.rows), list(pack.lengths)
    return {"pack": number, "rows": rows, "lengths": lengths, "tokens": pack.tokens}


class Spool:
    """Rows in a file, one JSON line each, fetched by place; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends, self._tokens = array("q", [0]), array("L")
        self._kind: RowKind | None = None

    def __enter__(self) -> Spool:
        self._file = self._path.open("w+b")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._tokens)

    def add(self, row: Row, tokens: int) -> None:
        """Append a row. Raises DataError for one of another kind than the first."""
        kind = KINDS[type(row)]
        if self._kind not in (None, kind):
            raise DataError(
                f"row {row.id} is a {kind}, the rows before it are {self._kind}s; expected one kind"
            )
        self._kind = kind
        plain = row_dict(row, 0)
        if isinstance(row, Problem) and "index" not in row.extra:
            del plain["extra_info"]["index"]  # its place in the mixture, given when it is written
        line = json.dumps(plain).encode()
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        self._tokens.append(tokens)

    def get(self, place: int) -> tuple[Row, int]:
        """The row at a place and its tokens."""
        assert self._kind is not None
        start, end = self._ends[place], self._ends[place + 1]
        self._file.seek(start)
        row = parse_row(json.loads(self._file.read(end - start)), self._kind)
        return row, self._tokens[place]
