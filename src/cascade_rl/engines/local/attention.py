"""Attention for grouped queries under a mask, without copying keys and values for every head.

One surprise: transformers repeats keys and values over the query heads whenever there is a mask,
which is a third of a small model's decoding. Here the heads that share keys become more query
rows instead; the numbers are the same attention. Registered through transformers' own interface.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "cascade_grouped"


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


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
