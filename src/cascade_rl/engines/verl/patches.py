"""What verl 0.9.1 has no place for, one function a bug, each named after what it waits for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any


def one_backend_for_a_device_that_is_the_cpu() -> None:
    """Verl asks torch for `cpu:gloo,cpu:gloo`, which it refuses: one device, named twice."""
    from verl.utils import distributed

    original = distributed.initialize_global_process_group_ray

    @functools.wraps(original)
    def initialize(timeout_second: Any = None, backend: str | None = None) -> None:
        original(timeout_second, backend or "cpu:gloo")

    distributed.initialize_global_process_group_ray = initialize


def no_pinned_memory_without_a_gpu() -> None:
    """Verl offloads the reference model into pinned memory, which only CUDA can allocate."""
    from verl.workers.engine.fsdp import transformer_impl

    policy = transformer_impl.CPUOffloadPolicy

    def unpinned(pin_memory: bool = True) -> Any:
        return policy(pin_memory=False)

    transformer_impl.CPUOffloadPolicy = unpinned


def a_sampler_class_by_name(name: str, path: str) -> None:
    """Verl has a registry of rollout replicas and, for their other half, a private dict."""
    from verl.workers.rollout import base

    base._ROLLOUT_REGISTRY[name, "async"] = path


def workers_that_begin_as(script: Path) -> None:
    """Ray has no place for another way to start a worker, only the name of a script of its own."""
    from ray._private import ray_constants

    ray_constants.SETUP_WORKER_FILENAME = str(script)  # joined to a folder, which it replaces
