"""A job's last validation: every sampler answers the benchmarks while it has the weights.

The rule: each answer brings its own sampling parameters, greedy ones among them, and its random
key is that of the local engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cascade_rl.engines.generate import Prompt, Response
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.generate import keys_of
from cascade_rl.engines.verl.questions import Questions
from cascade_rl.types import Finish

REPORT_S = 5.0


@dataclass(slots=True)
class Validation:
    """verl's load-balanced client, asked `in_flight` requests at a time.

    `window`: the most tokens, prompt and answer, that a sampler holds. `seed_shift` takes bits off
    a key for samplers that take none of 64. `report` is called with the answers so far.
    """

    client: Any
    encoder: Encoder
    window: int
    in_flight: int
    seed_shift: int
    report: Callable[[int], None]
    done: int = 0

    def holds(self, questions: Questions) -> bool:
        """Whether every prompt and its longest answer fit the window."""
        room = self.window - questions.sampling.max_new_tokens
        return all(len(self._ids(prompt)) <= room for prompt in questions.prompts)

    def answers(self, questions: Questions) -> list[Response]:
        """Every answer to every prompt."""
        return asyncio.run(self._answers(questions))

    async def _answers(self, questions: Questions) -> list[Response]:
        sampling = questions.sampling
        common = {
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "max_tokens": sampling.max_new_tokens,
            "stop_token_ids": list(self.encoder.stop_ids),
            "logprobs": True,
        }
        places = asyncio.Semaphore(self.in_flight)

        async def one(
            index: int, prompt: Prompt, ids: list[int], sample: int, key: int | None
        ) -> Response:
            temperature = 0.0 if key is None else sampling.temperature
            asked = {"temperature": temperature, "seed": (key or 0) >> self.seed_shift}
            async with places:
                found = await self.client.generate(
                    request_id=f"{prompt.id}/{sample}",
                    prompt_ids=ids,
                    sampling_params={**common, **asked},
                )
            return self._response(index, sample, found.token_ids[: sampling.max_new_tokens])

        reporting = asyncio.create_task(self._reporting())
        found = []
        for index, prompt in enumerate(questions.prompts):
            ids = self._ids(prompt)
            for sample, key in zip(prompt.samples, keys_of(prompt, sampling.seed), strict=True):
                found.append(one(index, prompt, ids, sample, key))
        try:
            return await asyncio.gather(*found)
        finally:
            reporting.cancel()

    def _ids(self, prompt: Prompt) -> list[int]:
        return list(self.encoder.prompt(prompt.messages, prompt.mode))

    def _response(self, index: int, sample: int, ids: list[int]) -> Response:
        self.done += 1
        finish: Finish = "stop" if ids and ids[-1] in self.encoder.stop_ids else "length"
        return Response(index, sample, self.encoder.text(ids), finish, len(ids))

    async def _reporting(self) -> None:
        """Tell of progress only: a sampler that is stuck has to look like one."""
        told = -1
        while True:
            if self.done > told:
                self.report(self.done)
                told = self.done
            await asyncio.sleep(REPORT_S)
