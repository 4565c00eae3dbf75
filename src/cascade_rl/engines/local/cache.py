"""Keys and values: computed once a prompt, written in place, not copied for every head.

One surprise: what `prefill` returns carries gradients when it was called with them, so the
completions of a group can share their prompt in training as they do in sampling. The other:
transformers repeats keys and values over the query heads whenever there is a mask, a third of a
small model's decoding. `grouped_attention` makes the heads that share keys more query rows
instead; it is the same attention, registered through transformers' own interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from cascade_rl.errors import ConfigError

ATTENTION = "cascade_grouped"
"""The name under which transformers finds `grouped_attention`."""

KeysValues = tuple[Tensor, Tensor]
"""One layer's keys and values, each [rows, heads, tokens, head dimension]."""


def prefill(module: Any, ids_PT: Tensor) -> list[KeysValues]:
    """Run right-padded prompts; keys and values of every layer.

    Causal attention hides the padding from the prompts; hide it from what follows by a mask.
    Raises ConfigError for a model whose state is not keys and values.
    """
    cache = DynamicCache()
    module.base_model(input_ids=ids_PT, past_key_values=cache, use_cache=True)
    found = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None:
            raise ConfigError(
                f"{type(module).__name__} has layers without keys and values; "
                "the local engine runs attention models only",
                hint="set  engine: verl  for this stage",
            )
        found.append((keys, values))
    return found


def cache_of(layers: Sequence[Any]) -> Cache:
    """A transformers cache of our layers."""
    return Cache(layers=list(layers))


def cache_of_rows(filled: Sequence[KeysValues], lines: Tensor) -> DynamicCache:
    """A growing cache whose row r starts as row `lines[r]` of a prefill; differentiable."""
    cache = DynamicCache()
    for index, (keys, values) in enumerate(filled):
        cache.update(keys[lines], values[lines], index)
    return cache


class InPlaceLayer(CacheLayerMixin):
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


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Output [rows, T, heads, D] of query [rows, heads, T, D] on key and value [rows, kv, L, D].

    The signature is transformers'. Without a mask, or without sharing, its own SDPA runs.
    """
    rows, heads, length, width = query.shape
    shared = heads // key.shape[1]
    if attention_mask is None or shared == 1:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
        return found
    stacked = query.reshape(rows, key.shape[1], shared * length, width)
    mask = attention_mask[:, :, None].expand(-1, -1, shared, -1, -1).flatten(2, 3)
    output = scaled_dot_product_attention(
        stacked, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling
    )
    return output.reshape(rows, heads, length, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, grouped_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
