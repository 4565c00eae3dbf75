"""The processes of the engine: one team that loads, learns and samples as if it were one.

The rule: each process takes a fixed share and results are added in process order, so a team of
a given size is reproducible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from cascade_rl.config import ChatConfig, LocalConfig
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.model import FlatParameters, Head, Model, load_model
from cascade_rl.engines.local.replica import (
    Objective,
    SFTObjective,
    Totals,
    accumulate,
    logprobs_of,
)
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams, generate


class Team:
    """Models by slot name (`train`, `reference`, `evaluate`), on one or more processes."""

    def __init__(self, local: LocalConfig) -> None:
        self.local = local
        torch.set_num_threads(local.threads)
        self._models: dict[str, Model] = {}
        self._flat: dict[str, FlatParameters] = {}

    def load(
        self,
        slot: str,
        path: Path,
        chat: ChatConfig,
        head: Head = "language",
        *,
        train: bool = False,
        yarn_factor: float = 1.0,
    ) -> Model:
        """Load a model directory into a slot; with `train` its parameters become one vector."""
        model = load_model(path, chat, self.local, head, yarn_factor)
        self._models[slot] = model
        if train:
            size = FlatParameters.size(model.module)
            values = torch.zeros(size, device=model.device)
            gradients = torch.zeros(size, device=model.device)
            self._flat[slot] = FlatParameters(model.module, values, gradients, adopt=False)
        return model

    def forget(self, slot: str) -> None:
        """Free a slot."""
        self._models.pop(slot, None)
        self._flat.pop(slot, None)

    def flat(self, slot: str) -> FlatParameters:
        """The parameters and the summed gradient of a slot loaded with `train`."""
        return self._flat[slot]

    def accumulate(self, slot: str, rows: Sequence[Row], objective: Objective) -> Totals:
        """Gradient of the objective over `rows` into `flat(slot).gradients`; returns sums."""
        self._flat[slot].gradients.zero_()
        budget = self.local.micro_batch_tokens
        shared = not isinstance(objective, SFTObjective) and not self.local.gradient_checkpointing
        return accumulate(self._models[slot], rows, objective, budget, shared)

    def logprobs(self, slot: str, rows: Sequence[Row], temperature: float) -> list[np.ndarray]:
        """Log-probabilities [T] of every row's tokens."""
        budget, shared = self.local.micro_batch_tokens, not self.local.gradient_checkpointing
        return logprobs_of(self._models[slot], rows, temperature, budget, shared)

    def sample(
        self, slot: str, requests: Sequence[Request], params: SamplingParams, stops: Sequence[int]
    ) -> Iterator[Generated]:
        """Complete every request, yielding rows as they finish."""
        yield from generate(self._models[slot], requests, params, stops, self.local.sample_batch)

    def close(self) -> None:
        """End the processes; the team cannot be used again."""
        self._models.clear()
        self._flat.clear()
