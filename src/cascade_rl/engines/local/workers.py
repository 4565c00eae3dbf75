"""The team of processes that trains and samples as if it were one.

The rule: each process takes a fixed share of the rows and gradients are added in process order,
so a team of a given size is reproducible. Weights live in memory the processes share: after the
optimizer has stepped in the first, the others sample from the new weights at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascade_rl.config import LocalConfig
from cascade_rl.engines.local.batches import Row, shards
from cascade_rl.engines.local.model import FlatParameters, Model, device_of
from cascade_rl.engines.local.process import Loading, Replica, SharedMemory
from cascade_rl.engines.local.replica import Objective, Totals
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams
from cascade_rl.engines.local.vllm_sampler import samples_with_vllm
from cascade_rl.errors import ConfigError, TrainingError


class Team:
    """Models by slot on `local.processes` processes, of which this one is the first.

    The others start with the team and stay until `close`, or until this process ends.
    """

    def __init__(self, local: LocalConfig) -> None:
        if local.processes > 1 and device_of(local).type != "cpu":
            raise ConfigError(
                f"local.processes is {local.processes} on a GPU, which one process keeps busy",
                hint="set  local: {processes: 1}",
            )
        samples_with_vllm(local)  # refused now, not when the first batch is sampled
        self.local = local
        self._first = Replica(local, 0)
        self._others = [_Helper(local, rank) for rank in range(1, local.processes)]
        self._memory: dict[str, list[Tensor]] = {}

    def load(self, slot: str, loading: Loading, *, train: bool = False) -> Model:
        """Load a model directory into a slot; with `train` its parameters become one vector."""
        if not train:
            for other in self._others:
                other.ask("load_frozen", slot, loading)
            model = self._first.load(slot, loading)
        else:
            model = self._first.load(slot, loading)
            self._share(slot, loading, model)
        for other in self._others:
            other.result()
        return model

    def _share(self, slot: str, loading: Loading, model: Model) -> None:
        size, count = FlatParameters.size(model.module), self.local.processes
        if not self._others:
            self._memory[slot] = list(torch.zeros(2, size, device=model.device).unbind())
        else:
            # An anonymous file reached through /proc: nothing is left behind, however we end.
            descriptor = os.memfd_create(f"cascade-{slot}")
            os.ftruncate(descriptor, 4 * size * (1 + count))
            memory = SharedMemory(f"/proc/{os.getpid()}/fd/{descriptor}", size, count)
            self._memory[slot] = memory.open()
            for other in self._others:
                other.ask("load_shared", slot, loading, memory)
            for other in self._others:
                other.settle()
            os.close(descriptor)
        values, gradients = self._memory[slot][:2]
        self._first.flatten(slot, values, gradients, adopt=False)

    def forget(self, slot: str) -> None:
        """Free a slot."""
        for other in self._others:
            other.ask("forget", slot)
        self._first.forget(slot)
        self._memory.pop(slot, None)
        for other in self._others:
            other.result()

    def values(self, slot: str) -> Tensor:
        """All parameters of a slot loaded with `train`, one vector."""
        return self._memory[slot][0]

    def accumulate(
        self, slot: str, rows: Sequence[Row], objective: Objective, more: bool = False
    ) -> tuple[Tensor, Totals]:
        """Gradient of the objective over `rows`, one vector, and sums over the rows.

        With `more` it is added to that of the rows before.
        """
        shares = shards(rows, self.local.processes, self._first.shares(objective))
        for other, share in zip(self._others, shares[1:], strict=True):
            other.ask("accumulate", slot, share, objective)
        totals = self._first.accumulate(slot, shares[0], objective, more)
        gradient = self._memory[slot][1]
        for rank, other in enumerate(self._others, start=1):
            for name, value in other.result().items():
                totals[name] = totals.get(name, 0.0) + value
            gradient += self._memory[slot][1 + rank]
        return gradient, totals

    def logprobs(self, slot: str, rows: Sequence[Row], temperature: float) -> list[np.ndarray]:
        """Log-probabilities [T] of every row's tokens, in the order of `rows`."""
        return self._divided("logprobs", slot, rows, temperature)

    def confidences(self, slot: str, rows: Sequence[Row], top: int) -> list[np.ndarray]:
        """Confidences of every row's weighted tokens, in the order of `rows`."""
        return self._divided("confidences", slot, rows, top)

    def score(self, slot: str, rows: Sequence[Row]) -> list[float]:
        """The scalar head at the last token of every row, in the order of `rows`."""
        return self._divided("score", slot, rows)

    def _divided(self, name: str, slot: str, rows: Sequence[Row], *arguments: Any) -> list[Any]:
        """Ask every process for its share of the rows; answers in the order of `rows`."""
        shares = shards(rows, self.local.processes, self._first.shares())
        for other, share in zip(self._others, shares[1:], strict=True):
            other.ask(name, slot, share, *arguments)
        parts = [getattr(self._first, name)(slot, shares[0], *arguments)]
        parts += [other.result() for other in self._others]
        found = {
            id(row): answer
            for share, part in zip(shares, parts, strict=True)
            for row, answer in zip(share, part, strict=True)
        }
        return [found[id(row)] for row in rows]

    def sample(
        self, slot: str, requests: Sequence[Request], params: SamplingParams, stops: Sequence[int]
    ) -> Iterator[Generated]:
        """Complete every request, yielding rows as they finish in any process.

        The order between processes is not reproducible; what each row becomes is.
        """
        count = self.local.processes
        for rank, other in enumerate(self._others, start=1):
            other.ask("sample", slot, requests[rank::count], params, stops)
        busy = {other.pipe: (rank, other) for rank, other in enumerate(self._others, start=1)}
        try:
            for item in self._first.sample(slot, requests[::count], params, stops):
                yield replace(item, request=item.request * count)
                yield from self._arrived(busy, timeout=0.0)
            while busy:
                yield from self._arrived(busy, timeout=None)
        finally:  # a consumer that stopped early must not leave answers in the pipes
            while busy:
                for _ in self._arrived(busy, timeout=None):
                    pass

    def _arrived(
        self, busy: dict[Connection, tuple[int, _Helper]], timeout: float | None
    ) -> Iterator[Generated]:
        """What the busy helpers have sent; one that is done leaves `busy`."""
        for pipe in wait(list(busy), timeout) if busy else []:
            assert isinstance(pipe, Connection)
            rank, other = busy[pipe]
            try:
                kind, item = other.receive()
            except BaseException:
                del busy[pipe]  # it has said all it will say
                raise
            if kind == "item":
                yield replace(item, request=item.request * self.local.processes + rank)
            else:
                del busy[pipe]

    def close(self) -> None:
        """End the other processes; the team cannot be used again."""
        for other in self._others:
            other.close()
        self._others = []


class _Helper:
    """One other process: one question at a time, answered in full before the next."""

    def __init__(self, local: LocalConfig, rank: int) -> None:
        self.pipe, theirs = Pipe()
        with theirs:
            code = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                "from cascade_rl.engines.local.process import serve; "
                f"serve({theirs.fileno()})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._settled: tuple[str, Any] | None = None
        self.pipe.send((local, rank))

    def ask(self, name: str, *arguments: Any) -> None:
        """Send a command; its answer is read with `receive` or `result`."""
        try:
            self.pipe.send((name, arguments))
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None

    def receive(self) -> tuple[str, Any]:
        """The next (kind, value). Raises what the other process raised."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._ended() from None
        if kind == "error":
            raise value
        return kind, value

    def _ended(self) -> TrainingError:
        return TrainingError(
            f"a process of the team ended with status {self._process.wait()}",
            hint="out of memory? lower local.processes or local.sample_batch; then run again",
        )

    def settle(self) -> None:
        """Wait for the answer, and keep it for `result`."""
        self._settled = self.receive()

    def result(self) -> Any:
        """The value of the command's `done`."""
        settled, self._settled = self._settled, None
        return (settled or self.receive())[1]

    def close(self) -> None:
        """Close the pipe, which ends the process."""
        self.pipe.close()
        try:
            self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
