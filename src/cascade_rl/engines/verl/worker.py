"""verl's FSDP worker, with the master weights in float32: their digest, and a model directory.

The rule: ranks gather one tensor at a time, so no process ever holds the whole model. verl's own
merger would round to bfloat16, and a chain of stages must not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from verl.single_controller.base.decorator import Dispatch, register
from verl.workers.engine_workers import ActorRolloutRefWorker

from cascade_rl.digests import TensorDigest
from cascade_rl.engines.local.model import tied_weights
from cascade_rl.engines.verl import patches
from cascade_rl.engines.verl.rollout import NAME

SHARD_BYTES = 4 << 30

patches.a_sampler_class_by_name(NAME, "cascade_rl.engines.verl.rollout.TransformersRollout")
if os.environ.get("VERL_PLATFORM") == "cpu":
    patches.no_pinned_memory_without_a_gpu()


class CascadeWorker(ActorRolloutRefWorker):
    """A rank of the actor, rollout and reference workers."""

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def set_learning_rate(self, rate: float) -> None:
        """The rate of the next update; verl's own schedule starts its warm-up at 0."""
        for group in self.actor.engine.optimizer.param_groups:
            group["lr"] = rate

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def master_digest(self) -> str:
        """Digest of the weights: on every rank that of the whole model, on rank 0 only hashed."""
        digest = TensorDigest()
        for name, tensor in self._masters():
            if self.rank == 0:
                _add(digest, name, tensor)
        return digest.hexdigest() if self.rank == 0 else ""

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def export_masters(self, folder: str) -> str:
        """Write the weights as safetensors into a folder; returns their digest, on rank 0."""
        digest, shards = TensorDigest(), _Shards(Path(folder))
        for name, tensor in self._masters():
            if self.rank == 0:
                _add(digest, name, tensor)
                shards.add(name, tensor)
        if self.rank == 0:
            shards.finish()
        torch.distributed.barrier()
        return digest.hexdigest() if self.rank == 0 else ""

    def _masters(self) -> Iterator[tuple[str, Tensor]]:
        """Whole tensors by name, sorted, each tied weight once. A collective."""
        engine = self.actor.engine
        module = engine.module
        tied = tied_weights(module)
        for name, tensor in sorted(module.state_dict().items()):
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
