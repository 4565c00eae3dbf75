"""One process of a team: its models by slot, and the loop of a process that serves them.

The rule: a process knows nothing of the others. Weights and gradients lie in memory that the
first process owns; what is asked and answered goes over one pipe, and a process whose pipe
closes is done, so none outlives the one that started it.
"""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascade_rl.config import ChatConfig, LocalConfig, LoRAConfig
from cascade_rl.engines.local.batches import Row, micro_batches
from cascade_rl.engines.local.model import FlatParameters, Head, Model, add_lora, load_model
from cascade_rl.engines.local.replica import (
    Objective,
    SFTObjective,
    Totals,
    accumulate,
    confidences_of,
    logprobs_of,
    score_rows,
)
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams, generate
from cascade_rl.engines.local.vllm_sampler import VLLMSampler, samples_with_vllm
from cascade_rl.errors import CascadeError


@dataclass(frozen=True, slots=True)
class Loading:
    """What `load` needs besides the slot."""

    path: Path
    chat: ChatConfig
    head: Head = "language"
    yarn_factor: float = 1.0
    lora: LoRAConfig | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """A file of float32: the values, then one gradient vector per process, each `size` long."""

    file: str
    size: int
    processes: int

    def open(self) -> list[Tensor]:
        """[values, gradients of process 0, 1, ...] as views of the one mapping."""
        total = self.size * (1 + self.processes)
        mapped = torch.from_file(self.file, shared=True, size=total, dtype=torch.float32)
        return list(mapped.view(-1, self.size).unbind())


class Replica:
    """The models one process holds by slot: `train`, `reference`, `evaluate`."""

    def __init__(self, local: LocalConfig, rank: int) -> None:
        self.local, self.rank = local, rank
        self._models: dict[str, Model] = {}
        self._gradients: dict[str, Tensor] = {}
        self._vllm: tuple[str, VLLMSampler] | None = None
        torch.set_num_threads(local.threads)
        keep_freed_memory()
        gc.collect()
        gc.freeze()  # what the imports left behind would be looked through again and again

    def load(self, slot: str, loading: Loading) -> Model:
        """Load a model directory into a slot."""
        model = load_model(
            loading.path, loading.chat, self.local, loading.head, loading.yarn_factor
        )
        if loading.lora is not None:
            add_lora(model.module, loading.lora, loading.seed)
        self._models[slot] = model
        return model

    def flatten(self, slot: str, values: Tensor, gradients: Tensor, *, adopt: bool) -> None:
        """Make the slot's parameters views of `values`, their gradients views of `gradients`."""
        FlatParameters(self._models[slot].module, values, gradients, adopt=adopt)
        self._gradients[slot] = gradients

    def load_shared(self, slot: str, loading: Loading, memory: SharedMemory) -> None:
        """Load for training on memory another process owns and has filled or will fill."""
        self.load(slot, loading)
        values, *gradients = memory.open()
        self.flatten(slot, values, gradients[self.rank], adopt=True)

    def load_frozen(self, slot: str, loading: Loading) -> None:
        """Load for sampling and scoring only."""
        self.load(slot, loading)

    def forget(self, slot: str) -> None:
        """Free a slot."""
        self._models.pop(slot, None)
        self._gradients.pop(slot, None)

    def accumulate(
        self, slot: str, rows: Sequence[Row], objective: Objective, more: bool = False
    ) -> Totals:
        """Gradient of the objective over `rows` into, or `more` of it onto, this process's own."""
        if not more:
            self._gradients[slot].zero_()
        shared = self.shares(objective)
        budget = self.local.micro_batch_tokens
        return accumulate(self._models[slot], rows, objective, budget, shared)

    def shares(self, objective: Objective | None = None) -> bool:
        """Whether rows of a group share their prompt's forward pass."""
        return not isinstance(objective, SFTObjective)

    def logprobs(self, slot: str, rows: Sequence[Row], temperature: float) -> list[np.ndarray]:
        """Log-probabilities [T] of every row's tokens."""
        budget = self.local.micro_batch_tokens
        return logprobs_of(self._models[slot], rows, temperature, budget, self.shares())

    def confidences(self, slot: str, rows: Sequence[Row], top: int) -> list[np.ndarray]:
        """Confidences of every row's weighted tokens, in order."""
        budget = self.local.micro_batch_tokens
        return confidences_of(self._models[slot], rows, top, budget, self.shares())

    @torch.no_grad()
    def score(self, slot: str, rows: Sequence[Row]) -> list[float]:
        """The scalar head at the last token of every row."""
        scores: dict[int, float] = {}
        for batch in micro_batches(rows, self.local.micro_batch_tokens, self.shares()):
            found = score_rows(self._models[slot], batch, self.shares()).tolist()
            scores.update(zip(map(id, batch), found, strict=True))
        return [scores[id(row)] for row in rows]

    def sample(
        self, slot: str, requests: Sequence[Request], params: SamplingParams, stops: Sequence[int]
    ) -> Iterator[Generated]:
        """Complete every request, yielding rows as they finish."""
        model = self._models[slot]
        if samples_with_vllm(self.local):
            yield from self._vllm_for(model).generate(model, requests, params, stops)
            return
        rows = max(1, self.local.sample_batch // self.local.processes)
        yield from generate(model, requests, params, stops, rows)

    def _vllm_for(self, model: Model) -> VLLMSampler:
        """The vLLM engine that is there, or a new one where the model's shape is another."""
        shape = model.module.config.to_json_string()
        if self._vllm is None or self._vllm[0] != shape:
            self._vllm = None  # its memory first
            self._vllm = shape, VLLMSampler(model, self.local)
        return self._vllm[1]


def keep_freed_memory() -> None:
    """Tell glibc to keep what tensors free, instead of asking the kernel for it every step.

    A sixth of a small model's time on a CPU went into page faults. Other C libraries are left
    as they are.
    """
    if sys.platform != "linux":
        return
    m_trim_threshold, m_mmap_threshold, never = -1, -3, 2**31 - 1
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(m_trim_threshold, never)
        mallopt(m_mmap_threshold, never)


def serve(descriptor: int) -> None:
    """A process's life: answer (command, arguments) until the pipe closes.

    Every answer is ("item", value) any number of times, then ("done", value) or
    ("error", exception).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides when to stop
    with Connection(descriptor) as pipe, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        local, rank = pipe.recv()
        replica = Replica(local, rank)
        commands: Mapping[str, Callable[..., Any]] = {
            "load_shared": replica.load_shared,
            "load_frozen": replica.load_frozen,
            "forget": replica.forget,
            "accumulate": replica.accumulate,
            "logprobs": replica.logprobs,
            "confidences": replica.confidences,
            "score": replica.score,
            "sample": replica.sample,
        }
        while True:
            name, arguments = pipe.recv()
            _answer(pipe, commands[name], arguments)


def _answer(pipe: Connection, command: Callable[..., Any], arguments: Sequence[Any]) -> None:
    try:
        result = command(*arguments)
        if isinstance(result, Iterator):
            for item in result:
                pipe.send(("item", item))
            result = None
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except CascadeError as error:
        pipe.send(("error", error))
    except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, OSError):
        pipe.send(("error", RuntimeError(f"in a process of the team:\n{traceback.format_exc()}")))
    else:
        pipe.send(("done", result))
