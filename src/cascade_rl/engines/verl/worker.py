"""verl's FSDP worker, with what our trainer asks of it: a rate, the masters, carried moments."""

from __future__ import annotations

import os
from pathlib import Path

from verl.single_controller.base.decorator import Dispatch, register
from verl.workers.engine_workers import ActorRolloutRefWorker

from cascade_rl.engines.verl import patches, weights
from cascade_rl.engines.verl.rollout import NAME

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
        """Digest of the whole model's weights, on rank 0; an empty string on the others."""
        return weights.digest_of(self.actor.engine)

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def export_masters(self, folder: str) -> str:
        """Write the weights as safetensors into a folder; returns their digest, on rank 0."""
        return weights.export(self.actor.engine, Path(folder))

    @register(dispatch_mode=Dispatch.ONE_TO_ALL)
    def load_moments(self, folder: str) -> None:
        """The optimizer's state out of the checkpoint of the family's stage before."""
        weights.load_moments(self.actor.engine, Path(folder))
