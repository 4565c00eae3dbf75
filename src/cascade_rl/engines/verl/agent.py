"""One completion of one prompt: our prompt ids in, tokens out, every random number keyed.

The rule: whether a completion ended is read off its last token, for any sampler, and travels with
its text to the verifier.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.model import load_tokenizer
from cascade_rl.engines.local.sampler import row_key
from cascade_rl.engines.verl.job import read_job
from cascade_rl.engines.verl.settings import rollout_of
from cascade_rl.types import Finish


@functools.lru_cache(maxsize=2)
def encoder_of(folder: str) -> Encoder:
    """The job's encoder; made once a process."""
    job = read_job(folder)
    return Encoder(load_tokenizer(job.start, job.chat), job.chat)


class CascadeAgentLoop:
    """verl's agent loop of one turn. verl makes one for each completion."""

    def __init__(self, job: str, server_manager: Any, **_: Any) -> None:
        self._job = read_job(job)
        self._encoder = encoder_of(job)
        self._servers = server_manager

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Sample until a stop token or the stage's `max_new_tokens`."""
        job, prompt_ids = self._job, [int(i) for i in row["prompt_ids"]]
        stem = (job.seed, job.key, int(row["global_steps"]), row["problem_id"])
        key = row_key(*stem, int(row["occurrence"]), int(row["session_id"]))
        wanted = {
            "max_tokens": job.config.max_new_tokens,
            "stop_token_ids": list(self._encoder.stop_ids),
            "seed": key if rollout_of(job) == "transformers" else key >> 1,  # vLLM takes 63 bits
        }
        began = time.perf_counter()
        found = await self._servers.generate(
            request_id=f"{key:016x}",
            prompt_ids=prompt_ids,
            sampling_params=sampling_params | wanted,
        )
        seconds = time.perf_counter() - began
        ids = found.token_ids[: job.config.max_new_tokens]
        finish: Finish = "stop" if ids and ids[-1] in self._encoder.stop_ids else "length"
        return AgentLoopOutput(
            prompt_ids=prompt_ids,
            response_ids=ids,
            response_mask=[1] * len(ids),
            response_logprobs=found.log_probs[: len(ids)],
            num_turns=2,
            metrics=AgentLoopMetrics(generate_sequences=seconds),
            extra_fields={
                **found.extra_fields,
                "text": self._encoder.text(ids),
                "finish": finish,
            },
        )
