"""Rows to learn from as one run of tokens without padding, and who attends to whom in it.

One surprise: completions of one prompt share it. The prompt (all but its last token) stands once
for its group, and every completion, from the prompt's last token on, attends to it and to
itself. It equals running every row whole, at a fraction of the cost when prompts are as long as
completions; gradients of all rows meet in the shared tokens.

Only attention sees padding, in buckets of rows of similar length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from cascade_rl.engines.local.batches import Row, length_buckets


@dataclass(frozen=True, slots=True)
class _Block:
    """Queries [R, T] that attend to keys [R, L]: places in the run, and what is seen.

    `seen_RTL` is None where it is causal attention over the queries themselves.
    """

    queries_RT: Tensor
    keys_RL: Tensor
    seen_RTL: Tensor | None
    real_RT: Tensor


class Packed:
    """A micro-batch as a run of N tokens: first the shared prompts, then the rows.

    `rows` is the order in which they stand; `places(row)` says where the token before each of a
    row's `ids` is, and `last` where its last token is.
    """

    def __init__(
        self, batch: Sequence[Row], device: torch.device, *, shared: bool, whole: bool
    ) -> None:
        """`whole` keeps each row's last token, which predicts nothing, for a scalar head.

        A row alone has nobody to share with, and is causal without a mask of its length squared.
        """
        shared = shared and len(batch) > 1
        self._device = device
        self._ids: list[int] = []
        self._positions: list[int] = []
        self._blocks: list[_Block] = []
        self._starts: dict[int, int] = {}
        prompts = self._prompts(batch) if shared else {}
        self.rows: list[Row] = []
        for bucket in length_buckets(batch, lambda row: len(row.ids) if shared else row.length):
            self._bucket(bucket, prompts, whole)
            self.rows += bucket
        self.ids_N = torch.tensor(self._ids, device=device)
        self.positions_N = torch.tensor(self._positions, device=device)

    def _prompts(self, batch: Sequence[Row]) -> dict[int, tuple[int, int]]:
        """Put each group's prompt in, but for its last token; (start, length) by group."""
        groups = {row.group: row.prompt_ids[:-1] for row in batch}
        found: dict[int, tuple[int, int]] = {}
        for group, ids in groups.items():
            found[group] = (len(self._ids), len(ids))
            self._append(ids, 0)
        filled = [(start, length) for start, length in found.values() if length]
        if filled:
            places, real = table(filled)
            self._add(places, places, None, real)
        return found

    def _append(self, ids: Sequence[int], position: int) -> None:
        self._ids += ids
        self._positions += range(position, position + len(ids))

    def _bucket(
        self, rows: Sequence[Row], prompts: dict[int, tuple[int, int]], whole: bool
    ) -> None:
        own, before = [], []
        for row in rows:
            if prompts:
                start, length = prompts[row.group]
                ids = (row.prompt_ids[-1], *row.ids)
            else:
                start, length = 0, 0
                ids = (*row.prompt_ids, *row.ids)
            self._starts[id(row)] = len(self._ids) + (0 if prompts else len(row.prompt_ids) - 1)
            ids = ids if whole else ids[:-1]
            own.append((len(self._ids), len(ids)))
            before.append((start, length))
            self._append(ids, length)
        places, real = table(own)
        if not any(length for _, length in before):
            self._add(places, places, None, real)
            return
        prompt, there = table(before)
        causal = np.tri(places.shape[1], dtype=bool)
        seen = np.concatenate(
            [
                np.broadcast_to(there[:, None], (len(rows), places.shape[1], prompt.shape[1])),
                np.broadcast_to(causal, (len(rows), *causal.shape)),
            ],
            axis=2,
        )
        self._add(places, np.concatenate([prompt, places], axis=1), seen, real)

    def _add(
        self, queries: np.ndarray, keys: np.ndarray, seen: np.ndarray | None, real: np.ndarray
    ) -> None:
        def put(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(self._device)

        self._blocks.append(
            _Block(put(queries), put(keys), None if seen is None else put(seen), put(real))
        )

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of the whole run; see `llama.Attend`."""
        shares = query.shape[1] != key.shape[1]
        found = []
        for block in self._blocks:
            q = query[block.queries_RT].transpose(1, 2)
            k, v = (x[block.keys_RL].transpose(1, 2) for x in (key, value))
            mask = None if block.seen_RTL is None else block.seen_RTL[:, None]
            out = scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=shares
            )
            found.append(out.transpose(1, 2)[block.real_RT])
        return torch.cat(found)

    def places(self, row: Row) -> np.ndarray:
        """Where the token stands that predicts each of the row's `ids`."""
        start = self._starts[id(row)]
        return np.arange(start, start + len(row.ids))

    def last(self, row: Row) -> int:
        """Where the row's last token stands; the run was made `whole`."""
        return self._starts[id(row)] + len(row.ids)


def table(spans: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Indices [R, longest] of (start, length) in a run, and which are real; the others are 0."""
    lengths = np.array([length for _, length in spans])
    starts = np.array([start for start, _ in spans])
    offsets = np.arange(lengths.max())
    real = offsets[None] < lengths[:, None]
    return np.where(real, starts[:, None] + offsets[None], 0), real
