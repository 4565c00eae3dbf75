"""`cascade data mini`: every file of the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mini(
    directory: Annotated[Path, typer.Argument(help="where the files go")],
    seed: Annotated[int, typer.Option(help="data seed")] = 0,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="JSONL instead of parquet")] = False,
) -> None:
    """Write every generated file of the embedded default: problems, SFT rows, preference pairs."""
    from cascade_rl import mini as generators
    from cascade_rl.data.rows import write_rows

    for name in generators.NAMES:
        path = directory / f"{name}.{'jsonl' if jsonl else 'parquet'}"
        rows = generators.rows(name, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(path, rows)
        print(f"{path}  {len(rows)} rows")
