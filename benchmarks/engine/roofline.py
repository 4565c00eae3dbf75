"""What one thread (or one GPU) of this machine does at most: matrix products and copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F

SIZE = {"cpu": 1024, "cuda": 8192}
BYTES = {"cpu": 1 << 28, "cuda": 1 << 32}
RUN = 16384
"""Tokens that are learned from at once: `local.micro_batch_tokens`."""


def _fastest(run: Callable[[], object], device: str, rounds: int = 8) -> float:
    """Seconds of the fastest round."""
    run()
    best = float("inf")
    for _ in range(rounds):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


def products(dtype: torch.dtype, device: str = "cpu") -> float:
    """Floating-point operations a second of a square matrix product."""
    size = SIZE[device]
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2.0 * size**3 / _fastest(lambda: F.linear(a, b), device)


def copies(device: str = "cpu") -> float:
    """Bytes a second that are read and written by a copy of memory no cache holds."""
    source = torch.zeros(BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2.0 * BYTES[device] / _fastest(lambda: target.copy_(source), device)


def alone(shapes: Sequence[tuple[int, int]], lines: int, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds a token of one CPU thread if a step were its matrix products and nothing else.

    `shapes` are the weights [out, in] that every token meets. `lines` of them are decoded at once;
    learning takes three products a weight. Returns (generation, update).
    """
    generation = update = 0.0
    for out, into in shapes:
        weight, few = torch.randn(out, into, dtype=dtype), torch.randn(lines, into, dtype=dtype)
        x, grad = torch.randn(RUN, into, dtype=dtype), torch.randn(RUN, out, dtype=dtype)
        generation += _fastest(partial(F.linear, few, weight), "cpu", 64) / lines
        for a, b in ((x, weight.T), (grad, weight), (grad.T, x)):
            update += _fastest(partial(torch.mm, a, b), "cpu") / RUN
    return generation, update
