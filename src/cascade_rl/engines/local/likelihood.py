"""Log-probabilities and entropies of tokens under a vocabulary that is never held whole.

The rule: logits exist for a chunk of tokens at a time. The backward pass computes them again,
unless all of them fit in one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 22
"""Logits held at once: 16 MiB in float32."""
CHUNK_CUDA = 1 << 27
"""The same on a GPU, where a product of few rows is all reading of the head: 512 MiB."""


class _Likelihood(torch.autograd.Function):
    """See `likelihood`. Saves the hidden states, the head, and two numbers a token."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        head_VH: Tensor,
        targets_N: Tensor,
        temperature: float,
        entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        logprobs_N = hidden_NH.new_empty(len(hidden_NH), dtype=torch.float32)
        entropies_N, masses_N = torch.zeros_like(logprobs_N), torch.empty_like(logprobs_N)
        step = _step(hidden_NH, head_VH)
        dtype = _dtype(hidden_NH)
        hidden, head = hidden_NH.to(dtype), head_VH.to(dtype)
        logits = None
        for part in _parts(len(hidden_NH), step):
            logits = _logits(hidden[part], head, temperature)
            masses_N[part] = logits.logsumexp(-1)
            logprobs_N[part] = logits.gather(1, targets_N[part, None])[:, 0] - masses_N[part]
            if entropy:
                full = logits - masses_N[part, None]
                entropies_N[part] = -(full.exp() * full).sum(-1)
                del full
            if step < len(hidden_NH):
                logits = None
        small = logits if len(hidden_NH) <= step else None
        ctx.save_for_backward(hidden_NH, head_VH, targets_N, masses_N, entropies_N, small)
        ctx.temperature, ctx.step, ctx.entropy, ctx.dtype = temperature, step, entropy, dtype
        return logprobs_N, entropies_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor, grad_entropy_N: Tensor) -> tuple[Any, ...]:
        hidden_NH, head_VH, targets_N, masses_N, entropies_N, small = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden_NH)
        grad_head = torch.zeros_like(head_VH)
        hidden, head = hidden_NH.to(ctx.dtype), head_VH.to(ctx.dtype)  # as in the forward pass
        for part in _parts(len(hidden_NH), ctx.step):
            if small is None:
                full = _logits(hidden[part], head, ctx.temperature)
            else:
                full = small.clone()
            full.sub_(masses_N[part, None])
            # d logprob = onehot - p;  d entropy = - p (log p + entropy)
            if ctx.entropy:
                probs = full.exp()
                full.add_(entropies_N[part, None]).mul_(grad_entropy_N[part, None])
                grad = full.add_(grad_N[part, None]).mul_(probs).neg_()
                del probs
            else:
                grad = full.exp_().mul_(-grad_N[part, None])
            grad.scatter_add_(1, targets_N[part, None], grad_N[part, None])
            grad = grad.mul_(1.0 / ctx.temperature).to(ctx.dtype)
            if ctx.dtype == hidden_NH.dtype:
                torch.mm(grad, head, out=grad_hidden[part])
            else:
                grad_hidden[part] = grad @ head
            if ctx.dtype == head_VH.dtype:
                grad_head.addmm_(grad.T, hidden[part])
            else:
                grad_head += grad.T @ hidden[part]
            del full, grad  # or two chunks are held while the next one is made
        return grad_hidden, grad_head, None, None, None


def _step(hidden_NH: Tensor, head_VH: Tensor) -> int:
    """Tokens in a chunk."""
    chunk = CHUNK_CUDA if hidden_NH.device.type == "cuda" else CHUNK
    return max(1, chunk // len(head_VH))


def _dtype(hidden_NH: Tensor) -> torch.dtype:
    """Of the products with the head, in both directions: autocast's where it is on."""
    kind = hidden_NH.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_NH.dtype


def _parts(count: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _logits(hidden_NH: Tensor, head_VH: Tensor, temperature: float) -> Tensor:
    return (hidden_NH @ head_VH.to(hidden_NH.dtype).T).float().mul_(1.0 / temperature)


def likelihood(
    hidden_NH: Tensor,
    head_VH: Tensor,
    targets_N: Tensor,
    temperature: float = 1.0,
    *,
    entropy: bool = False,
) -> tuple[Tensor, Tensor]:
    """log-softmax(logits / T) of the targets [N] in float32, and the entropy [N] in nats.

    The entropy of the whole distribution is 0 where it is not asked for.
    """
    apply: Any = _Likelihood.apply
    found: tuple[Tensor, Tensor] = apply(hidden_NH, head_VH, targets_N, temperature, entropy)
    return found


def confidences(hidden_NH: Tensor, head_VH: Tensor, top: int) -> Tensor:
    """Minus the mean log-probability of the `top` likeliest tokens, [N] in nats."""
    found_N = hidden_NH.new_empty(len(hidden_NH), dtype=torch.float32)
    top = min(top, len(head_VH))
    for part in _parts(len(hidden_NH), _step(hidden_NH, head_VH)):
        logits = _logits(hidden_NH[part], head_VH, 1.0)
        found_N[part] = logits.logsumexp(-1) - logits.topk(top, dim=-1).values.mean(-1)
    return found_N
