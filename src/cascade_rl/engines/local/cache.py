"""Keys and values: computed once a prompt, written in place, not copied for every head.

One surprise: what `prefill` returns carries gradients when it was called with them, so the
completions of a group can share their prompt in training as they do in sampling. The other:
transformers repeats keys and values over the query heads whenever there is a mask, a third of a
small model's decoding. `grouped_attention` makes the heads that share keys more query rows
instead; it is the same attention, registered through transformers' own interface. Handed a
`SharedPrompt`, it reads each prompt's keys once for all lines that continue it: in decoding a
small model, reading keys is most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
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


SHARING = ("llama", "qwen2", "qwen3")
"""Model types that hand every keyword to the attention function, and attend to everything."""


def shares_prompts(module: Any) -> bool:
    """Whether the module can decode on a `SharedPrompt`."""
    config = module.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return config.model_type in SHARING and kinds == {"full_attention"}


class SharedPrompt:
    """Keys and values of P prompts of at most L tokens, for B lines that each continue one.

    Lines of one prompt are neighbours. `attend` is exact: the softmax over prompt and
    continuation is put together from the log-sum-exp of its two parts.
    """

    def __init__(self, filled: Sequence[KeysValues], lengths_P: Tensor, lines: Tensor) -> None:
        self._layers = list(filled)
        length = filled[0][0].shape[2]
        padding_PL = torch.arange(length, device=lengths_P.device)[None] >= lengths_P[:, None]
        self._bias_PL = torch.zeros_like(padding_PL, dtype=torch.float32).masked_fill_(
            padding_PL, -torch.inf
        )
        self._arrange(lines)

    def _arrange(self, prompt_B: Tensor) -> None:
        """Forget prompts without lines; give each line its place in [prompts, widest group]."""
        used, self._prompt_B, counts = torch.unique_consecutive(
            prompt_B, return_inverse=True, return_counts=True
        )
        if len(used) < len(self._bias_PL):
            self._layers = [(keys[used], values[used]) for keys, values in self._layers]
            self._bias_PL = self._bias_PL[used]
        self._group = int(counts.max())
        first = (counts.cumsum(0) - counts)[self._prompt_B]
        slot = torch.arange(len(prompt_B), device=prompt_B.device) - first
        self._place_B = self._prompt_B * self._group + slot

    def keep(self, lines: Tensor) -> None:
        """Drop all other lines."""
        self._arrange(self._prompt_B[lines])

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None
    ) -> Tensor:
        """Output [B, 1, heads, D] of query [B, heads, 1, D] on the prompts and on the lines' own
        key and value [B, kv, T, D]."""
        rows, heads, _, width = query.shape
        prompt_key, prompt_value = self._layers[layer]
        prompts, kv = prompt_key.shape[:2]
        scale = width**-0.5 if scaling is None else scaling
        query_BKRD = (query * scale).view(rows, kv, heads // kv, width)
        spread = query_BKRD.new_zeros(prompts * self._group, *query_BKRD.shape[1:])
        spread[self._place_B] = query_BKRD
        grouped = spread.view(prompts, self._group, *query_BKRD.shape[1:]).transpose(1, 2)
        there, there_mass = _attend(
            grouped.flatten(2, 3), prompt_key, prompt_value, self._bias_PL[:, None, None]
        )
        by_line = (prompts * self._group, kv, heads // kv)
        shape = (prompts, kv, self._group, heads // kv)
        there = there.view(*shape, width).transpose(1, 2).reshape(*by_line, width)[self._place_B]
        there_mass = there_mass.view(shape).transpose(1, 2).reshape(by_line)[self._place_B]
        own, own_mass = _attend(query_BKRD, key, value, None)
        weight = torch.sigmoid(there_mass - own_mass)[..., None].to(own.dtype)
        return (own + weight * (there - own)).view(rows, 1, heads, width)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Attention [.., Q, D] and the logarithm of its softmax's denominator [.., Q]."""
    scores = (query @ key.transpose(-1, -2)).float()
    if bias is not None:
        scores = scores + bias
    mass = scores.logsumexp(-1)
    return (scores - mass[..., None]).exp_().to(value.dtype) @ value, mass


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
    prompt: SharedPrompt | None = kwargs.pop("shared_prompt", None)
    if prompt is not None:
        layer: Any = module.layer_idx
        return prompt.attend(layer, query, key, value, scaling), None
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
