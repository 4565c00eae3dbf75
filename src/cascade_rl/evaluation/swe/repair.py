"""The repair prompt: which files it shows, within a budget of tokens.

Two rules. The wanted files come first, each as far as it fits; noise is added one file at a time,
in random order, until the next would exceed the budget (Nemotron-Cascade, section 4.7). And files
stand in random order, so that their place tells nothing.

Lengths: the papers' prompts are 16K and then 24K in training (32K for 14B), 32K with YaRN 2 in the
8B's evaluation and 64K with YaRN 3 in the 14B's, each with 32K tokens to think (appendix B).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cascade_rl.data.sources.swe import file_block, repair_prompt
from cascade_rl.evaluation.swe.repository import Files

Shows = Literal["localized", "ground_truth", "mixed"]
CountTokens = Callable[[str], int]

MOST_MIXED = 5
"""Files of the golden patch and localized ones together, before noise."""
TURN = 16
"""Tokens kept for the turn's own marks and a mode flag."""


@dataclass(frozen=True, slots=True)
class Context:
    """The files of a prompt in their order, how many of them are noise, and its tokens."""

    paths: tuple[str, ...]
    noise: int
    tokens: int


def wanted_files(
    shows: Shows, golden: Iterable[str], localized: Sequence[str], top_k: int
) -> list[str]:
    """What a prompt is about, before noise: the golden files, the first `top_k`, or both.

    Of both there are at most five, golden ones first.
    """
    if shows == "ground_truth":
        return sorted(golden)
    if shows == "localized":
        return list(localized[:top_k])
    both = list(dict.fromkeys([*sorted(golden), *localized]))
    return both[: max(MOST_MIXED, len(set(golden)))]


def context(
    files: Files,
    issue: str,
    wanted: Sequence[str],
    budget: int,
    count: CountTokens,
    rng: random.Random,
    *,
    noise: Collection[str] = (),
) -> Context:
    """Files for one prompt of at most `budget` tokens; none where not one of `wanted` fits.

    `noise` are paths to draw from; they are added only beside a wanted file.
    """
    used = TURN + count(repair_prompt(issue, {}))
    chosen: list[str] = []
    for path in wanted:
        size = count(block) if (block := _block(files, path)) else budget
        if used + size <= budget:
            chosen.append(path)
            used += size
    added = 0
    drawn = sorted(set(noise) - set(chosen))
    rng.shuffle(drawn)
    for path in drawn if chosen else ():
        size = count(_block(files, path))
        if used + size > budget:
            break
        chosen.append(path)
        used += size
        added += 1
    rng.shuffle(chosen)
    return Context(tuple(chosen), added, used)


def _block(files: Files, path: str) -> str:
    return file_block(path, files[path]) + "\n\n" if path in files else ""


def yarn_factor(prompt_tokens: int, max_new_tokens: int, native: int = 32_768) -> int:
    """By how much YaRN must stretch a context of `native` tokens: 2 for 32K and 32K, 3 for 64K
    and 32K."""
    return max(1, -(-(prompt_tokens + max_new_tokens) // native))
