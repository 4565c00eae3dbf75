"""A sampler of verl's made of the local engine's: our decoder or vLLM's CPU build, one process.

The rule: log-probabilities, and of our decoder tokens too, are those the local engine would give
for the same weights and keys. It is for the CPU platform; on GPUs verl's own replica samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
import torch
from torch import Tensor
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

from cascade_rl.config import LocalConfig
from cascade_rl.engines.local.model import load_model
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams, generate
from cascade_rl.engines.local.vllm_sampler import VLLMSampler
from cascade_rl.engines.verl.job import read_job

NAME = "transformers"
GATHER_S = 0.05
"""How long the server waits for more requests before it samples a batch."""


@dataclass(frozen=True, slots=True)
class _Asked:
    prompt_ids: tuple[int, ...]
    key: int | None
    params: SamplingParams
    stop_ids: tuple[int, ...]
    answer: asyncio.Future[TokenOutput]


class TransformersServer:
    """An actor that holds a model and samples what it is asked for, in batches."""

    def __init__(self, job: str) -> None:
        self._job = read_job(job)
        torch.set_num_threads(1)
        rows = self._job.verl.sample_batch
        local = LocalConfig(device="cpu", dtype="float32", sample_batch=rows)
        self._model = load_model(self._job.start, self._job.chat, local)
        self._generate: Callable[..., Iterator[Generated]] = partial(generate, max_rows=rows)
        if self._job.verl.rollout == "vllm":
            self._generate = VLLMSampler(self._model, local).generate
        self._step = 0
        self._waiting: list[_Asked] = []
        self._loop: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1)  # weights never change under a batch

    async def generate(
        self, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        """One completion. `sampling_params` are vLLM's; temperature 0 is greedy."""
        asked = sampling_params
        greedy = not asked["temperature"]
        params = SamplingParams(
            1.0 if greedy else asked["temperature"],
            asked["top_p"],
            max(0, asked["top_k"]),
            asked["max_tokens"],
        )
        answer: asyncio.Future[TokenOutput] = asyncio.get_running_loop().create_future()
        key = None if greedy else asked["seed"]
        stop_ids = tuple(asked["stop_token_ids"])
        self._waiting.append(_Asked(tuple(prompt_ids), key, params, stop_ids, answer))
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            batch, self._waiting = self._waiting, []
            for alike in _by_params(batch):
                try:
                    found = await loop.run_in_executor(self._thread, self._sample, alike)
                except Exception as error:  # it is the caller's to know
                    for asked in alike:
                        asked.answer.set_exception(error)
                    continue
                for asked, generated in zip(alike, found, strict=True):
                    asked.answer.set_result(self._output(generated))

    def _sample(self, batch: list[_Asked]) -> list[Generated]:
        """The batch's completions in order; prompts in common are run once."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, asked in enumerate(batch):
            groups.setdefault(asked.prompt_ids, []).append(i)
        requests = [Request(ids, tuple(batch[i].key for i in g)) for ids, g in groups.items()]
        members = list(groups.values())
        found: dict[int, Generated] = {}
        for one in self._generate(self._model, requests, batch[0].params, batch[0].stop_ids):
            found[members[one.request][one.sample]] = one
        return [found[i] for i in range(len(batch))]

    def _output(self, found: Generated) -> TokenOutput:
        return TokenOutput(
            token_ids=list(found.ids),
            log_probs=list(found.logprobs),
            stop_reason="completed",
            extra_fields={
                "global_steps": self._step,
                "sampled_logprobs": list(found.sampled_logprobs),
                "entropy": found.entropy,
            },
        )

    async def take(self, weights: dict[str, Any], step: int | None) -> None:
        """The trainer's weights, in place."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._take, weights)
        self._step = self._step if step is None else step

    def _take(self, weights: dict[str, Any]) -> None:
        own = self._model.module.state_dict()
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(torch.from_numpy(weights[name]))

    async def sleep(self) -> None:
        """Memory is not shared with the trainer: nothing to give back."""

    async def wake_up(self, **_: Any) -> None:
        """See `sleep`."""

    async def clear_kv_cache(self) -> None:
        """Nothing is cached from batch to batch."""


def _by_params(batch: list[_Asked]) -> Iterable[list[_Asked]]:
    alike: dict[Any, list[_Asked]] = {}
    for asked in batch:
        alike.setdefault((asked.params, asked.stop_ids), []).append(asked)
    return alike.values()


def server_name(replica: int) -> str:
    """The server's name as a Ray actor."""
    return f"{NAME}_server_{replica}_0"


class TransformersReplica(RolloutReplica):
    """One server; it begins with the start model and is given every later one."""

    async def launch_servers(self) -> None:
        """Start the server."""
        name = server_name(self.replica_rank)
        job = str(self.config.engine_kwargs[NAME]["job"])
        actor = ray.remote(TransformersServer)
        server = actor.options(name=name, num_cpus=0, max_concurrency=self.max_concurrency)
        self._server_handle = server.remote(job)
        self._server_address = name
        self.servers = [self._server_handle]


class TransformersRollout(BaseRollout):
    """The trainer's end: a rank that owns a server sends it the weights."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, **_: Any) -> None:
        super().__init__(config, model_config, device_mesh)
        self._rank = torch.distributed.get_rank()

    async def resume(self, tags: list[str]) -> None:
        """Nothing was released."""

    async def release(self) -> None:
        """Memory is not shared."""

    async def update_weights(
        self, weights: Iterable[tuple[str, Tensor]], global_steps: int | None = None, **_: Any
    ) -> None:
        """Send every tensor; all ranks gather them, because that is a collective."""
        found = {name: tensor.detach().float().cpu().numpy() for name, tensor in weights}
        server = ray.get_actor(server_name(self._rank))
        await server.take.remote(found, global_steps)
