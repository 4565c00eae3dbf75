"""Drawing problems: splits by structure, generators by name, ids by content.

The rule: a structure (an operand pair, a program body, a set of constraints) belongs to one
split for ever, whatever the data seed, so nothing a stage trains on recurs under another name
in `val` or `test`. Template families whose index is `HELD_OUT` appear in `val` and `test` only.
Demonstrations have no prompt of any problem (`sft.py`).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Literal

from cascade_rl.types import Message, Mode, Problem

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

TRAIN_ROWS = 3000
"""Problems a domain in `train`; a stage of some 60 steps sees each at most a few times."""
EVAL_ROWS = 300
"""Problems a domain in `val` and in `test`."""
HELD_OUT_SHARE = 0.2
"""Share of `val` and `test` problems worded by the family that training never sees."""

_SHARES: tuple[tuple[Split, float], ...] = (("val", 0.15), ("test", 0.30), ("train", 1.0))


def digest(text: str, length: int = 10) -> str:
    """First hex characters of SHA-256; the source of every id and every split."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def split_of(structure: str) -> Split:
    """The one split a structure belongs to: 15 % val, 15 % test, 70 % train."""
    position = int(digest("split:" + structure, 8), 16) / 16**8
    return next(split for split, bound in _SHARES if position < bound)


def generator(name: str, data_seed: int) -> random.Random:
    """Random numbers of one row set; other row sets do not disturb them."""
    return random.Random(f"{name}:{data_seed}")


def family(rng: random.Random, families: Sequence[str], split: Split) -> str:
    """A template: the last one is held out from training."""
    if split != "train" and rng.random() < HELD_OUT_SHARE:
        return families[-1]
    return rng.choice(families[:-1])


def user(text: str, mode: Mode | None = None) -> Message:
    """A user turn."""
    return Message("user", text, mode=mode)


def collect(draw: Callable[[], Problem | None], count: int) -> tuple[Problem, ...]:
    """Call `draw` until there are `count` problems with different ids (None: draw again)."""
    found: dict[str, Problem] = {}
    tries = 0
    while len(found) < count:
        tries += 1
        assert tries < 200 * count, f"only {len(found)} of {count} distinct problems exist"
        problem = draw()
        if problem is not None:
            found.setdefault(problem.id, problem)
    return tuple(found.values())
