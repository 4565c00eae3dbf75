from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from cascade_rl.engines.local import likelihood as module
from cascade_rl.engines.local.likelihood import likelihood

PEAK = """
import sys, torch
from cascade_rl.engines.local.likelihood import CHUNK, likelihood
vocabulary = int(sys.argv[1])
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) << 10
torch.set_num_threads(1)
hidden = torch.randn(4096, 16, requires_grad=True)
head = torch.randn(vocabulary, 16, requires_grad=True)
targets = torch.randint(vocabulary, (4096,))
likelihood(hidden[:2], head, targets[:2])[0].sum().backward()  # what torch itself needs once
before = peak()
likelihood(hidden, head, targets)[0].sum().backward()
print((peak() - before - head.nbytes) / (4 * CHUNK))  # beside the gradient of the head
"""


@pytest.mark.parametrize("chunk", [1 << 22, 700])
@pytest.mark.parametrize("entropy", [False, True])
def test_values_and_gradients_are_those_of_log_softmax(
    chunk: int, entropy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(30, 8, generator=generator, dtype=torch.float64).float()
    head = torch.randn(100, 8, generator=generator)
    targets = torch.randint(100, (30,), generator=generator)
    weights, broad = torch.randn(2, 30, generator=generator)
    for tensor in (hidden, head):
        tensor.requires_grad_()
    full = torch.log_softmax(hidden @ head.T / 0.6, dim=-1)
    expected = full[torch.arange(30), targets], -(full.exp() * full).sum(-1)
    loss = (weights * expected[0]).sum() + (broad * expected[1]).sum() * entropy
    gradients = torch.autograd.grad(loss, (hidden, head))
    found = likelihood(hidden, head, targets, 0.6, entropy=entropy)
    torch.testing.assert_close(found[0], expected[0])
    if entropy:
        torch.testing.assert_close(found[1], expected[1])
    loss = (weights * found[0]).sum() + (broad * found[1]).sum() * entropy
    for ours, theirs in zip(torch.autograd.grad(loss, (hidden, head)), gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_under_autocast_the_backward_pass_has_the_forward_passs_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(40, 64, generator=generator).requires_grad_()
    head = (torch.randn(3000, 64, generator=generator) * 0.3).requires_grad_()
    targets = torch.randint(3000, (40,), generator=generator)

    def gradients(chunk: int) -> tuple[torch.Tensor, ...]:
        monkeypatch.setattr(module, "CHUNK", chunk)
        with torch.autocast("cpu", torch.bfloat16):
            found, _ = likelihood(hidden, head, targets)
        return torch.autograd.grad(found.sum(), (hidden, head))

    at_once, in_parts = gradients(1 << 22), gradients(9000)
    # Over the vocabulary the gradient of a log-probability by the logits sums to nothing.
    pushed = (in_parts[1].sum(0) - at_once[1].sum(0)).abs().max()
    assert pushed < 0.05, pushed
    for whole, parts in zip(at_once, in_parts, strict=True):
        assert (parts - whole).norm() < 0.01 * whole.norm()


def test_memory_does_not_grow_with_the_vocabulary_beyond_the_chunk() -> None:
    # Else the C library raises its threshold as it goes, and what is freed stays in the process.
    returned = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    chunks = [
        float(subprocess.run([sys.executable, "-c", PEAK, str(size)], check=True,
                             capture_output=True, text=True, env=returned).stdout)
        for size in (1_000, 32_000, 150_000)
    ]  # fmt: skip
    assert max(chunks) < 3, chunks  # the logits, their exponentials, and little else
