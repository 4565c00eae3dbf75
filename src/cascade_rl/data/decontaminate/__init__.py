"""Decontamination: rows that show an evaluation item, found by n-grams, whole prompts and URLs.

`Guard` holds the evaluation sets and `examine` looks rows up in it; `boilerplate.py` is the table
of what is not compared, `ngrams.py` makes the keys.
"""

from __future__ import annotations

from cascade_rl.data.decontaminate.guard import (
    CODE_NGRAM,
    NGRAM,
    Guard,
    Hit,
    RowSet,
    Tally,
    batches,
    clean,
    examine,
    problem_text,
    readable,
)

__all__ = [
    "CODE_NGRAM", "NGRAM", "Guard", "Hit", "RowSet", "Tally", "batches", "clean", "examine",
    "problem_text", "readable",
]  # fmt: skip
