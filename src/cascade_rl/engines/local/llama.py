"""The forward pass of Llama-shaped models, written out: Llama, Qwen2, Qwen3 and Mistral.

One rule: tokens are flat. `hidden` takes N tokens of any number of sequences in a row, without
padding, and everything but attention treats them alike; who attends to whom is the caller's
`attend`. Prefill, decoding and learning differ in that function alone. Any other architecture
runs through transformers' own forward.

Axis suffixes: N tokens, H hidden, A heads, K heads of keys and values, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

FAMILIES = ("llama", "qwen2", "qwen3", "mistral")
STATIC_ROPE = ("default", "linear", "yarn", "llama3")
"""Kinds of rotary embedding whose angles do not depend on how long a sequence has become."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, query [N, A, D], key [N, K, D], value [N, K, D]) to [N, A, D]."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one block; projections of one input lie in one matrix."""

    norm_in: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    norm_q: Tensor | None
    norm_k: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    norm_mlp: Tensor
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Llama:
    """A model as `hidden` reads it. `cosines` and `sines` are [positions, D]."""

    heads: int
    kv_heads: int
    width: int
    eps: float
    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    cosines: Tensor
    sines: Tensor


def is_llama(module: Any) -> bool:
    """Whether `read` knows the module: its type, its activation, its attention and its angles."""
    config = module.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return (
        config.model_type in FAMILIES
        and config.hidden_act == "silu"
        and kinds == {"full_attention"}
        and (config.model_type != "mistral" or config.sliding_window is None)
        and rope in STATIC_ROPE
    )


def read(module: Any, positions: int, dtype: torch.dtype | None = None) -> Llama:
    """The weights of a transformers module, ready for sequences of up to `positions` tokens.

    Gradients flow back to its parameters, unless grad mode is off; `dtype` converts matrices.
    """
    trunk, config = module.base_model, module.config
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    place = torch.arange(positions, device=trunk.embed_tokens.weight.device)[None]
    with torch.no_grad():
        cosines, sines = trunk.rotary_emb(trunk.embed_tokens.weight, place)

    def matrix(*parts: Any) -> Tensor:
        found = map(weight_of, parts)
        weights = [weight if dtype is None else weight.to(dtype) for weight in found]
        return torch.cat(weights) if len(weights) > 1 else weights[0]

    def bias(*parts: Any) -> Tensor | None:
        if parts[0].bias is None:
            return None
        biases = [part.bias if dtype is None else part.bias.to(dtype) for part in parts]
        return torch.cat(biases) if len(biases) > 1 else biases[0]

    def layer(block: Any) -> Layer:
        attention, mlp = block.self_attn, block.mlp
        qkv = (attention.q_proj, attention.k_proj, attention.v_proj)
        norms = (getattr(attention, name, None) for name in ("q_norm", "k_norm"))
        norm_q, norm_k = (None if norm is None else norm.weight for norm in norms)
        return Layer(
            block.input_layernorm.weight, matrix(*qkv), bias(*qkv), norm_q, norm_k,
            matrix(attention.o_proj), bias(attention.o_proj),
            block.post_attention_layernorm.weight,
            matrix(mlp.gate_proj, mlp.up_proj), bias(mlp.gate_proj, mlp.up_proj),
            matrix(mlp.down_proj), bias(mlp.down_proj),
        )  # fmt: skip

    return Llama(
        heads,
        config.num_key_value_heads,
        width,
        config.rms_norm_eps,
        trunk.embed_tokens.weight,
        tuple(layer(block) for block in trunk.layers),
        trunk.norm.weight,
        cosines[0].float(),
        sines[0].float(),
    )


def weight_of(part: Any) -> Tensor:
    """The matrix of a projection; of one that LoRA wraps, with its update added."""
    base = getattr(part, "base_layer", None)
    if base is None:
        weight: Tensor = part.weight
        return weight
    [name] = part.lora_A
    update: Tensor = part.lora_B[name].weight @ part.lora_A[name].weight
    whole: Tensor = base.weight + part.scaling[name] * update
    return whole


def hidden(
    model: Llama, ids_N: Tensor, positions_N: Tensor, attend: Attend, *, recompute: bool = False
) -> Tensor:
    """Hidden states [N, H] after the last norm, in the dtype of the embedding.

    `recompute` keeps the inputs of the blocks alone and runs each again in the backward pass.
    """
    cosines_ND, sines_ND = model.cosines[positions_N], model.sines[positions_N]
    x_NH = F.embedding(ids_N, model.embedding)
    for index, layer in enumerate(model.layers):
        arguments = (model, layer, index, x_NH, cosines_ND, sines_ND, attend)
        if recompute:
            x_NH = checkpoint(_block, *arguments, use_reentrant=False)
        else:
            x_NH = _block(*arguments)
    return F.rms_norm(x_NH, model.norm.shape, model.norm, model.eps)


def _block(
    model: Llama,
    layer: Layer,
    index: int,
    x_NH: Tensor,
    cosines_ND: Tensor,
    sines_ND: Tensor,
    attend: Attend,
) -> Tensor:
    h_NH = F.rms_norm(x_NH, layer.norm_in.shape, layer.norm_in, model.eps)
    sizes = [model.heads, model.kv_heads, model.kv_heads]
    qkv = _linear(h_NH, layer.qkv, layer.qkv_bias).view(len(x_NH), sum(sizes), model.width)
    q_NAD, k_NKD, v_NKD = torch.split(qkv, sizes, dim=1)
    if layer.norm_q is not None and layer.norm_k is not None:
        q_NAD = F.rms_norm(q_NAD, layer.norm_q.shape, layer.norm_q, model.eps)
        k_NKD = F.rms_norm(k_NKD, layer.norm_k.shape, layer.norm_k, model.eps)
    q_NAD, k_NKD = turned(q_NAD, cosines_ND, sines_ND), turned(k_NKD, cosines_ND, sines_ND)
    found = attend(index, q_NAD, k_NKD, v_NKD).flatten(1)
    x_NH = x_NH + _linear(found, layer.out, layer.out_bias)
    h_NH = F.rms_norm(x_NH, layer.norm_mlp.shape, layer.norm_mlp, model.eps)
    gate, up = _linear(h_NH, layer.gate_up, layer.gate_up_bias).chunk(2, dim=-1)
    return x_NH + _linear(F.silu(gate) * up, layer.down, layer.down_bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """In the dtype of the weight; the residual stream keeps its own."""
    return F.linear(x.to(weight.dtype), weight, bias)


def turned(x_NAD: Tensor, cosines_ND: Tensor, sines_ND: Tensor) -> Tensor:
    """Rotary embedding: each pair (i, i + D/2) turned by its position's angle."""
    first, second = x_NAD.chunk(2, dim=-1)
    other = torch.cat([-second, first], dim=-1)
    return (x_NAD * cosines_ND[:, None] + other * sines_ND[:, None]).to(x_NAD.dtype)
