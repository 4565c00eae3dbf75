"""Rows shaped like Dolci-Think-RL's, made up: columns of lists, `user: ` before the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COUNT = 12
NOUNS = "apples boats cups doors eggs forks gates hats inks jars kites lamps".split()


def row(verifier: str, prompt: str, truth: str) -> dict[str, Any]:
    return {
        "prompt": f"user: {prompt}",
        "ground_truth": [truth],
        "dataset": [verifier],
        "original_dataset": "made-up",
        "custom_id": f"{verifier}-{prompt}",
        "passrate": 0.5,
        "outputs": None,
    }


def rows() -> list[dict[str, Any]]:
    """A dozen of each verifier's, no prompt twice."""
    found = []
    for n, noun in enumerate(NOUNS):
        follow = (
            "[{'instruction_id': ['punctuation:no_comma'], 'kwargs': [None]}]"  # Python, not JSON
        )
        found += [
            row("math", f"{n} {noun}: how many {noun}?", str(n)),
            row("code", f"Write f that returns {n} {noun}.", f'["assert f() == {n}"]'),
            row("code_stdio", f"Print {n} {noun}.", '[{"input": "", "output": "1"}]'),
            row("ifeval", f"Praise {n} {noun}.", follow),
            row("general-quality", f"Tell me of {n} {noun}.", ""),
        ]
    return found


def write_dolci(path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(rows()), path)
    return path
