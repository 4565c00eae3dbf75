"""`cascade data prepare`: published data sets into our rows, one file or a directory of domains.

The founding recipe's spellings work too: `--input_path`, `--output_dir`, `--split_by_domain`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import duration, progress

if TYPE_CHECKING:
    from cascade_rl.data.step import Account

FILES = (".parquet", ".jsonl", ".json", ".csv", ".gz")
"""What ends like this is meant as a file; anything else as a directory."""
VAL_SHARE = 0.02
SHOWN = 300
"""Characters of an example."""


Inputs = Annotated[list[str] | None, typer.Argument(help="files, directories, or names on the hub")]
MoreInputs = Annotated[
    list[str] | None, typer.Option("--input", "--input_path", "--input-path", help="one more")
]
OUT_HELP = "a file (.parquet, .jsonl), or a directory with train and validation files"
Out = Annotated[Path | None, typer.Option("--out", "--output_dir", "--output-dir", help=OUT_HELP)]
Source = Annotated[str | None, typer.Option(help="what the rows are; else seen by their keys")]
Split = Annotated[
    bool, typer.Option("--split_by_domain", "--split-by-domain", help="math_train, math_val, ...")
]
Share = Annotated[
    float | None,
    typer.Option("--val_share", "--val-share", help=f"of each domain [default: {VAL_SHARE}]"),
]
Rows = Annotated[
    int | None,
    typer.Option("--val_rows", "--val-rows", min=0, help="that many of each domain instead"),
]
Seed = Annotated[int, typer.Option(help="chooses the validation rows")]
Instruct = Annotated[bool, typer.Option(help="append how to answer, where a prompt does not say")]
Keep = Annotated[list[str] | None, typer.Option(help="a column to copy to extra_info; repeatable")]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="JSONL files in a directory")]
Subset = Annotated[str | None, typer.Option(help="on the hub: which configuration")]
HubSplit = Annotated[str | None, typer.Option("--split", help="on the hub [default: train]")]
Allow = Annotated[
    bool, typer.Option("--allow-rejects", help="exit with 0 however many rows are rejects")
]


def prepare(
    inputs: Inputs = None,
    input_path: MoreInputs = None,
    out: Out = None,
    source: Source = None,
    split_by_domain: Split = False,
    val_share: Share = None,
    val_rows: Rows = None,
    seed: Seed = 0,
    instruct: Instruct = False,
    keep: Keep = None,
    jsonl: Jsonl = False,
    subset: Subset = None,
    hub_split: HubSplit = None,
    allow_rejects: Allow = False,
) -> int:
    """Convert published data sets to rows; what cannot be converted is kept with its reason.

    Exits with 1 where more than 1 % of the rows are rejects (ties are none).
    """
    from cascade_rl.data.directory_step import Validation
    from cascade_rl.data.prepare import Choices, prepare_directory, prepare_file

    names = [*(inputs or []), *(input_path or [])]
    target = _checked(names, out, split_by_domain or jsonl, val_share, val_rows)
    choices = Choices(source, instruct, tuple(keep or ()), subset, hub_split)
    validation = Validation(VAL_SHARE if val_share is None else val_share, val_rows, seed)
    begun = time.monotonic()
    try:
        with progress(0) as report:

            def tick(step: Account) -> None:
                report(step.read, 0)

            if target.suffix in FILES:
                step: Account = prepare_file(names, target, choices, tick)
                outputs = {target: step.kept}
            else:
                ending = ".jsonl" if jsonl else ".parquet"
                written = prepare_directory(
                    *(names, target, choices, tick, validation),
                    by_domain=split_by_domain,
                    ending=ending,
                )
                step, outputs = written, written.files
    except KeyboardInterrupt:
        print("stopped; nothing was written. Run the same command again.", file=sys.stderr)
        return 130
    return _end(step, outputs, time.monotonic() - begun, allow_rejects)


def _checked(
    names: list[str],
    out: Path | None,
    for_directory: bool,
    val_share: float | None,
    val_rows: int | None,
) -> Path:
    """The output. Raises InputError where what was given does not go together."""
    from cascade_rl.errors import InputError

    if not names:
        raise InputError("no input", hint="name files, directories or data sets on the hub")
    if out is None:
        raise InputError("no output", hint="name a file or a directory:  --out data")
    if val_share is not None and val_rows is not None:
        raise InputError("both --val_share and --val_rows are given; expected one of them")
    directory_only = for_directory or val_share is not None or val_rows is not None
    if out.suffix in FILES and directory_only:
        raise InputError(
            f"{out} is a file; rows are split in a directory", hint=f"--out {out.with_suffix('')}"
        )
    if out.suffix not in FILES and out.is_file():
        raise InputError(f"{out} is a file; expected a directory, or a name ending in .parquet")
    return out


def _end(step: Account, outputs: dict[Path, int], seconds: float, allow_rejects: bool) -> int:
    """Say what was written and dropped; 1 where too much was."""
    from cascade_rl.data.prepare import short_of
    from cascade_rl.data.rows import REJECT_LIMIT

    dropped = ", ".join(f"{count} {reason}" for reason, count in step.dropped.most_common())
    whole = f"{step.kept} kept, dropped: {dropped or 'none'}, in {duration(seconds)}"
    for path, rows in outputs.items():
        print(f"{path}  {rows} rows" if path != step.out else f"{path}  {whole}")
    if step.out not in outputs:
        print(f"{step.out}  {whole}")
    short = short_of(step)
    if short <= REJECT_LIMIT * step.read or allow_rejects:
        return 0
    print(
        f"error: {short} of {step.read} rows are rejects, more than {REJECT_LIMIT:.0%}; what was "
        "kept is written. See the rejects, or pass --allow-rejects. The first of each reason:",
        file=sys.stderr,
    )
    for reason, example in step.details["first_of_each_reason"].items():
        print(f"  {reason}: {example[:SHOWN]}", file=sys.stderr)
    return 1
