"""Published rows into ours: the work of `cascade data prepare`.

Two rules. A row that is not converted is in the rejects with its reason, so that the rows that
went in are the rows that came out and those. And one file holds one kind of row: a directory has
files for each, named as the founding recipe names them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade_rl.data.directory_step import DirectoryStep, Validation, asked
from cascade_rl.data.fields import present
from cascade_rl.data.files import READABLE, Unreadable, raw_rows
from cascade_rl.data.schema import row_dict
from cascade_rl.data.sources import convert, source_named
from cascade_rl.data.sources.common import Unfit
from cascade_rl.data.sources.hub import hub_rows
from cascade_rl.data.sources.instruct import instructed
from cascade_rl.data.sources.preferences import OTHER, TIE, joined
from cascade_rl.data.step import UNREADABLE, Account, Step
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Pair, Problem, Row

UNUSABLE = "unusable row"
BAD_TEXT = "unusable text"
Tick = Callable[[Account], None]
"""Called after every row that is kept."""
EXPECTED = (TIE,)
"""Reasons that say nothing against the input."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chose. `keep` names columns that are copied to `extra_info` as they are."""

    source: str | None = None
    instruct: bool = False
    keep: tuple[str, ...] = ()
    subset: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        if self.source is not None:
            source_named(self.source)


def prepare_file(inputs: Sequence[str], out: Path, choices: Choices, tick: Tick) -> Step:
    """All rows into one file. Raises DataError where they are of more than one kind."""
    _refuse_overlap(inputs, out)
    kinds: set[str] = set()
    with Step("prepare", out, _parameters(choices)) as step:
        for row in rows_of(step, inputs, choices):
            kinds.add(type(row).__name__.lower() + "s")
            if len(kinds) > 1:
                raise DataError(
                    f"the input holds {' and '.join(sorted(kinds))}, and a file holds one kind",
                    hint=f"write a directory:  --out {out.with_suffix('')} --split_by_domain",
                )
            step.keep(row)
            tick(step)
        _refuse_nothing(step)
    return step


def prepare_directory(
    inputs: Sequence[str],
    out: Path,
    choices: Choices,
    tick: Tick,
    validation: Validation,
    *,
    by_domain: bool,
    ending: str = ".parquet",
) -> DirectoryStep:
    """A train and a validation file for each group of rows."""
    _refuse_overlap(inputs, out)
    share = {"val_share": validation.share}
    parameters = _parameters(choices) | {
        "split_by_domain": by_domain,
        **(share if validation.rows is None else {"val_rows": validation.rows}),
        "seed": validation.seed,
    }
    with DirectoryStep("prepare", out, parameters, validation, ending) as step:
        for row in rows_of(step, inputs, choices):
            step.keep(row, group_of(row, by_domain=by_domain))
            tick(step)
        _refuse_nothing(step)
    return step


def group_of(row: Row, *, by_domain: bool) -> str:
    """What a row's file is called, without `train` or `val`."""
    match row:
        case Problem():
            return row.domain if by_domain else ""
        case Conversation():
            return "sft"
        case Pair():
            return "preference"


def rows_of(step: Account, inputs: Sequence[str], choices: Choices) -> Iterator[Row]:
    """The converted rows of all inputs; the others are refused with their reasons."""
    examples = step.details["first_of_each_reason"] = dict[str, str]()
    converted_to = step.details["converted_to"] = Counter[str]()
    for name in inputs:
        step.inputs.append(name)
        for raw in joined(opened(name, choices)):
            if isinstance(raw, Mapping) and OTHER in raw:
                step.details["joined"] = step.details.get("joined", 0) + 1
            found = _row_or_reason(raw, choices)
            if isinstance(found, tuple):
                step.refuse(raw.start if isinstance(raw, Unreadable) else raw, *found)
                examples.setdefault(*found)
            else:
                converted_to[group_of(found, by_domain=True)] += 1
                yield found


def _row_or_reason(raw: Any, choices: Choices) -> Row | tuple[str, str]:
    """The row, or why there is none: one of a few reasons, and this row's own detail."""
    if isinstance(raw, Unreadable):
        return UNREADABLE, raw.reason
    try:
        return converted(raw, choices)
    except Unfit as error:
        return error.reason, error.message
    except DataError as error:
        return UNUSABLE, error.message


def converted(raw: Any, choices: Choices) -> Row:
    """One raw row as ours, with what the user chose. Raises DataError."""
    row = convert(raw, choices.source)
    _refuse_bad_text(row)
    if isinstance(row, Problem):
        kept = present({key: raw[key] for key in choices.keep if key in raw})
        row = replace(row, extra={**row.extra, **kept})
        return instructed(row) if choices.instruct else row
    return row


def opened(name: str, choices: Choices) -> Iterator[Any]:
    """The raw rows of a file, a directory, or a data set on the hub."""
    path = Path(name)
    is_name = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if path.exists() or not is_name or name.endswith((*READABLE, ".gz")):
        return raw_rows(path)
    return hub_rows(name, choices.subset, choices.split)


def short_of(step: Account) -> int:
    """Rows that were refused for a fault of theirs; ties are none."""
    return sum(count for reason, count in step.dropped.items() if reason not in EXPECTED)


def _refuse_bad_text(row: Row) -> None:
    """Half a surrogate pair and NUL: no tokenizer, and no Parquet file, takes the first."""
    try:
        json.dumps(row_dict(row, 0), ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise Unfit(BAD_TEXT, "a text holds half a surrogate pair, which is no text") from None
    texts = [turn.content for turn in asked(row)]
    texts += [row.chosen, row.rejected] if isinstance(row, Pair) else []
    texts += [m.content for m in row.messages] if isinstance(row, Conversation) else []
    if any("\0" in text for text in texts):
        raise Unfit(BAD_TEXT, "a text holds a NUL character")


def _refuse_nothing(step: Account) -> None:
    if step.kept:
        return
    if not step.read:
        raise DataError(f"{', '.join(step.inputs)}: no rows; expected one at least")
    reasons = ", ".join(f"{count} {reason}" for reason, count in step.dropped.most_common())
    example = next(iter(step.details["first_of_each_reason"].values()))
    raise DataError(f"none of {step.read} rows could be converted: {reasons}; the first: {example}")


def _refuse_overlap(inputs: Sequence[str], out: Path) -> None:
    """An output that is, holds or lies in an input would be read the next time."""
    target = out.resolve()
    for name in inputs:
        path = Path(name)
        if not path.exists():
            continue
        found = path.resolve()
        if found == target or (path.is_dir() and found in target.parents):
            raise DataError(f"the output {out} is in the input {name}", hint="write elsewhere")


def _parameters(choices: Choices) -> dict[str, Any]:
    given = {
        "source": choices.source,
        "instruct": choices.instruct,
        "keep": list(choices.keep),
        "subset": choices.subset,
        "split": choices.split,
    }
    return {key: value for key, value in given.items() if value not in (None, [])}
