"""Decoding and running of models that transformers alone knows, padded to one length.

Same interface as `decode.Decoder`, but all lines begin together: prompt and continuation of
every line lie in one cache behind a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from cascade_rl.engines.local.model import Model
from cascade_rl.errors import ConfigError

FIRST_CAPACITY = 64


def pad(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids [rows, longest] padded with 0 on the right, and lengths [rows].

    The padding is never attended to: causal attention or a mask hides it.
    """
    lengths = [len(sequence) for sequence in sequences]
    ids = np.zeros((len(sequences), max(lengths)), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : lengths[row]] = sequence
    return torch.from_numpy(ids), torch.tensor(lengths)


class _InPlaceLayer(CacheLayerMixin):
    """Keys and values in preallocated memory that doubles when it is full."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = keys.shape[2]
        self.keys, self.values = self._grown(keys, capacity), self._grown(values, capacity)
        self.is_initialized = True

    def _grown(self, old: Tensor, capacity: int) -> Tensor:
        new = old.new_empty(*old.shape[:2], capacity, old.shape[3])
        new[:, :, : self.length] = old[:, :, : self.length]
        return new

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the prefill made it."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append in place and return everything so far."""
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.keys, self.values = (
                self._grown(self.keys, 2 * end),
                self._grown(self.values, 2 * end),
            )
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the cache for the attention mask."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Cached tokens."""
        return self.length

    def get_max_cache_shape(self) -> int:
        """No maximum."""
        return -1

    def select(self, rows: Tensor) -> None:
        """Keep only those rows."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class PaddedDecoder:
    """Lines that begin together; see `decode.Decoder` for what each method does."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def fill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """Run prompts, all but their last tokens."""
        del slots  # all of them, in order
        ids, self._lengths_P = pad([prompt[:-1] for prompt in prompts])
        self._width = ids.shape[1]
        self._last = torch.tensor([prompt[-1] for prompt in prompts])
        cache = DynamicCache()
        if self._width:
            with self._model.precision():
                self._model.module.base_model(
                    input_ids=ids.to(self._model.device), past_key_values=cache, use_cache=True
                )
        self._filled = []
        for layer in cache.layers:
            keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
            if keys is None or values is None:
                raise ConfigError(
                    f"{type(self._model.module).__name__} has layers without keys and values; "
                    "the local engine runs attention models only",
                    hint="set  engine: verl  for this stage",
                )
            self._filled.append((keys, values))

    def begin(self, lines: np.ndarray, slots: np.ndarray) -> None:
        """All lines start, in order."""
        del lines
        device = self._model.device
        rows = torch.from_numpy(slots)
        capacity = self._width + FIRST_CAPACITY
        self._layers = [
            _InPlaceLayer(keys[rows.to(device)], values[rows.to(device)], capacity)
            for keys, values in self._filled
        ]
        self._cache = Cache(layers=list(self._layers))
        lengths = self._lengths_P[rows]
        self._mask = (torch.arange(self._width)[None] < lengths[:, None]).long().to(device)
        self._positions = lengths.to(device)
        self._inputs = self._last[rows].to(device)

    def end(self, lines: np.ndarray) -> None:
        """Lines are done; they go on, unread, until they are dropped."""

    def logits(self) -> Tensor:
        """Feed the input of every line; logits [B, V] in float32."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        with self._model.precision():
            output = self._model.module(
                input_ids=self._inputs[:, None],
                attention_mask=self._mask,
                position_ids=self._positions[:, None],
                past_key_values=self._cache,
                use_cache=True,
            )
        self._positions = self._positions + 1
        found: Tensor = output.logits[:, -1].float()
        return found

    def feed(self, ids: np.ndarray) -> None:
        """The tokens that `logits` will be asked about next."""
        self._inputs = torch.from_numpy(ids).to(self._model.device)

    def keep(self, lines: np.ndarray) -> None:
        """Drop all other lines."""
        rows = torch.from_numpy(lines).to(self._model.device)
        for layer in self._layers:
            layer.select(rows)
        self._mask, self._positions = self._mask[rows], self._positions[rows]
        self._inputs = self._inputs[rows]
