"""Rows to learn from, and how they are cut into shards and micro-batches.

The rule: every cut is a function of the rows and the configuration alone, and losses carry
weights normalised over the whole update batch, so cuts change rounding and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

BUCKET_RATIO = 0.7


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence: a context `prompt_ids` and the tokens `ids` [T] that follow it.

    `weights_T` weighs each token in the loss (0: context too). Rows of one `group` share their
    prompt and stay together. `logprobs_T` are the sampler's, `old_logprobs_T` those of the
    policy before the first update on this batch, `reference_T` those of the KL reference.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    weights_T: np.ndarray
    group: int
    advantage: float = 0.0
    logprobs_T: np.ndarray | None = None
    old_logprobs_T: np.ndarray | None = None
    reference_T: np.ndarray | None = None

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt_ids) + len(self.ids)

    def with_old(self, logprobs_T: np.ndarray) -> Row:
        """The row with the log-probabilities before the batch's first update."""
        return replace(self, old_logprobs_T=logprobs_T)

    def with_reference(self, logprobs_T: np.ndarray) -> Row:
        """The row with the reference model's log-probabilities."""
        return replace(self, reference_T=logprobs_T)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of some groups of an update batch, and what is to be divided by, summed over parts."""

    rows: list[Row]
    weight: float = 1.0


def by_group(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one group together, groups in order of first appearance."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return list(groups.values())


def _group_cost(group: Sequence[Row], shared: bool) -> int:
    if shared:
        return len(group[0].prompt_ids) + sum(len(row.ids) for row in group)
    return sum(row.length for row in group)


def shards(rows: Sequence[Row], count: int, shared: bool) -> list[list[Row]]:
    """Whole groups dealt to `count` shards, the largest first, each to the lightest shard."""
    found: list[list[Row]] = [[] for _ in range(count)]
    load = [0] * count
    for group in sorted(by_group(rows), key=lambda g: -_group_cost(g, shared)):
        lightest = load.index(min(load))
        found[lightest] += group
        load[lightest] += _group_cost(group, shared)
    return found


def micro_batches(
    rows: Sequence[Row], budget: int, shared: bool, *, whole: bool = False
) -> list[list[Row]]:
    """Groups of similar length packed until their tokens exceed `budget`.

    A group that alone exceeds it is cut, and each part has the prompt; with `whole` it is a
    micro-batch of its own, as is a row that alone exceeds it.
    """
    groups = by_group(rows)
    if not whole:
        groups = [part for group in groups for part in _within(group, budget, shared)]
    found: list[list[Row]] = []
    spent = 0
    for group in sorted(groups, key=lambda g: -max(row.length for row in g)):
        cost = _group_cost(group, shared)
        if not found or spent + cost > budget:
            found.append([])
            spent = 0
        found[-1] += group
        spent += cost
    return found


def _within(group: Sequence[Row], budget: int, shared: bool) -> list[list[Row]]:
    """The group in parts that fit into the budget, in order; one of one row may not."""
    parts: list[list[Row]] = [[]]
    for row in group:
        if parts[-1] and _group_cost([*parts[-1], row], shared) > budget:
            parts.append([])
        parts[-1].append(row)
    return parts


def length_buckets(rows: Sequence[Row], length: Callable[[Row], int]) -> list[list[Row]]:
    """Rows cut by length so that none is shorter than a fixed share of its bucket's longest."""
    found: list[list[Row]] = []
    for row in sorted(rows, key=length, reverse=True):
        if not found or length(row) < BUCKET_RATIO * length(found[-1][0]):
            found.append([])
        found[-1].append(row)
    return found
