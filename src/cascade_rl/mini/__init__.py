"""The embedded default: problems, demonstrations and preferences that fit a two-core machine.

Everything is drawn from exact generators, so references are known, splits are disjoint by
structure, and any amount can be made. `rows` is the one way in; `model.build_model` makes the
start model.
"""

from __future__ import annotations

from cascade_rl.errors import DataError
from cascade_rl.mini import chat, code, conflict, instructions, judge, math, pairs, sft, swe
from cascade_rl.mini.draw import SPLITS
from cascade_rl.types import Row

VERSION = "14"
"""Part of every key of a stage that trains on generated rows: raise it when rows change."""

DOMAINS = {
    "chat": chat.problems,
    "instruction_following": instructions.problems,
    "math": math.problems,
    "code": code.problems,
    "swe": swe.problems,
}
NAMES = (
    *(f"{domain}/{split}" for domain in DOMAINS for split in SPLITS),
    *(f"sft/{part}" for part in sft.PARTS),
    *(f"pairs/{split}" for split in SPLITS),
    *("judge/train", "judge/val"),
    "conflict/sft",
    *(f"conflict/pairs-{split}" for split in SPLITS),
    *(f"conflict/instructions-{split}" for split in SPLITS),
    *(f"conflict/disjoint-instructions-{split}" for split in SPLITS),
)


def rows(name: str, data_seed: int) -> list[Row]:
    """The rows called `name` (one of `NAMES`); the same seed gives the same rows."""
    if name not in NAMES:
        raise DataError(f"no generated rows are called {name!r}", hint=f"names: {', '.join(NAMES)}")
    group, _, part = name.partition("/")
    if group == "sft":
        return [*sft.conversations(next(p for p in sft.PARTS if p == part), data_seed)]
    if group == "conflict":
        return _conflict_rows(part, data_seed)
    split = next(split for split in SPLITS if split == part)
    if group == "pairs":
        return [*pairs.pairs(split, data_seed)]
    if group == "judge":
        return [*judge.conversations(split, data_seed)]
    return [*DOMAINS[group](split, data_seed)]


def _conflict_rows(part: str, data_seed: int) -> list[Row]:
    if part == "sft":
        return [*conflict.demonstrations(data_seed)]
    kind, _, ending = part.rpartition("-")
    split = next(split for split in SPLITS if split == ending)
    if kind == "pairs":
        return [*conflict.pairs(split, data_seed)]
    return [*conflict.instructions(split, data_seed, kind.startswith("disjoint"))]
