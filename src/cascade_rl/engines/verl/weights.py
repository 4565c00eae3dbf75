"""The float32 master weights of verl's FSDP engine: their digest, a model directory, the moments.

The rule: ranks gather one tensor at a time, and rank 0 holds one file's worth at most. verl's own
merger would round to bfloat16, and a chain of stages must not. Every function is a collective.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from cascade_rl.digests import TensorDigest
from cascade_rl.engines.local.model import tied_weights
from cascade_rl.errors import CheckpointError

SHARD_BYTES = 4 << 30


def digest_of(engine: Any) -> str:
    """Digest of the whole model's weights, on rank 0; an empty string on the others."""
    digest, first = TensorDigest(), torch.distributed.get_rank() == 0
    for name, tensor in _masters(engine):
        if first:
            _add(digest, name, tensor)
    return digest.hexdigest() if first else ""


def export(engine: Any, folder: Path) -> str:
    """Write the weights as safetensors into a folder; returns their digest, on rank 0."""
    digest, shards = TensorDigest(), _Shards(folder)
    first = torch.distributed.get_rank() == 0
    for name, tensor in _masters(engine):
        if first:
            _add(digest, name, tensor)
            shards.add(name, tensor)
    if first:
        shards.finish()
    torch.distributed.barrier()
    return digest.hexdigest() if first else ""


def load_moments(engine: Any, folder: Path) -> None:
    """The optimizer's state out of one of verl's checkpoints, under this stage's settings."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    file = folder / f"optim_world_size_{world}_rank_{rank}.pt"
    if not file.exists():
        raise CheckpointError(f"{file} is missing: it was saved by another number of ranks")
    saved = torch.load(file, weights_only=False, map_location="cpu")
    groups = engine.optimizer.state_dict()["param_groups"]
    engine.optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    if engine._is_offload_optimizer:
        engine.to("cpu", model=False, optimizer=True, grad=False)


def _masters(engine: Any) -> Iterator[tuple[str, Tensor]]:
    """Whole tensors by name, sorted, each tied weight once."""
    tied = tied_weights(engine.module)
    for name, tensor in sorted(engine.module.state_dict().items()):
        if name in tied:
            continue
        whole: Any = tensor
        if isinstance(whole, DTensor):
            staged: Any = whole.to(engine.device_mesh.device_type)
            whole = staged.full_tensor()
        yield name, whole.detach().float().cpu().contiguous()


def _add(digest: TensorDigest, name: str, tensor: Tensor) -> None:
    array: Any = tensor.numpy()
    digest.add(name, "float32", tensor.shape, [memoryview(array).cast("B")])


class _Shards:
    """Safetensors files of a few gigabytes, and their index where there are several."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, Tensor] = {}
        self._files: list[list[str]] = []
        self._bytes = self._total = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Hold one tensor; what is held is written when it would grow too large."""
        if self._held and self._bytes + tensor.nbytes > SHARD_BYTES:
            self._flush()
        self._held[name] = tensor
        self._bytes += tensor.nbytes
        self._total += tensor.nbytes

    def _flush(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"part-{len(self._files)}"
        save_file(self._held, target, metadata={"format": "pt"})
        self._files.append(list(self._held))
        self._held, self._bytes = {}, 0

    def finish(self) -> None:
        """Give the files their names."""
        self._flush()
        count = len(self._files)
        names = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
        names = ["model.safetensors"] if count == 1 else names
        for i, name in enumerate(names):
            (self._folder / f"part-{i}").rename(self._folder / name)
        if count > 1:
            places = {t: names[i] for i, file in enumerate(self._files) for t in file}
            index = {"metadata": {"total_size": self._total}, "weight_map": places}
            path = self._folder / "model.safetensors.index.json"
            path.write_text(json.dumps(index, indent=2))
