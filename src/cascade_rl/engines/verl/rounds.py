"""Generation rounds of a step: verl's replay buffer, which gives the trainer a round at a time.

The rule: a round ends when all its prompts are done, and groups are admitted in the order they were
drawn. So no decision depends on what finishes first, and `max_rounds` bounds a step; verl's own
group filter admits what is done first and goes on for ever where nothing is mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

POLL_S = 0.2

Sampled = tuple[KVBatchMeta, dict[str, Any]]
SampleRound = Callable[[int], Sampled]
"""Called with the round's number of prompts; returns when all of them are done."""


class RoundBuffer(ReplayBuffer):
    """`trainer.v1.sampler.custom_sampler` of verl. `collect` is the trainer's, and set by it."""

    collect: Callable[[SampleRound], Sampled]

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Sampled:
        """The step's whole batch."""

        def one_round(prompts: int) -> Sampled:
            found: Sampled = ReplayBuffer.sample(self, global_steps, partition_id, prompts)
            return found

        return self.collect(one_round)
