"""The work that both sides are given, and what they say of it. Plain Python: the peer imports it.

One rule: a side is a process of its own that trains one step for each line it is sent, so that
the two can take turns and neither runs in the memory of the other.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Rewards = Literal["all", "half", "learn"]
TARGET_WORDS = 12


@dataclass(frozen=True)
class Work:
    """One setting: `new_tokens` is the limit, and where `fixed` the length of every completion."""

    model: str
    prompts: tuple[str, ...]
    """What the user says, for us; `rendered` is the same in the chat template, for the peer."""
    rendered: tuple[str, ...]
    batch: int
    group: int
    new_tokens: int
    fixed: bool
    rewards: Rewards
    learning_rate: float
    steps: int
    seed: int
    dtype: Literal["float32", "bfloat16", "autocast"]
    device: Literal["cpu", "cuda"] = "cpu"

    @classmethod
    def read(cls) -> Work:
        """The first line of the standard input."""
        values = json.loads(sys.stdin.readline())
        texts = {name: tuple(values[name]) for name in ("prompts", "rendered")}
        return cls(**{**values, **texts})

    def write(self) -> str:
        """The line that `read` reads."""
        return json.dumps(asdict(self)) + "\n"


def rewards_of(kind: Rewards, texts: Sequence[str], group: int) -> list[float]:
    """A number for each completion, those of one prompt beside each other.

    `all`: every group has signal. `half`: every second one. `learn`: how near the text is to
    twelve words, which a model learns in a few steps.
    """
    if kind == "learn":
        return [max(0.0, 1.0 - abs(len(t.split()) - TARGET_WORDS) / TARGET_WORDS) for t in texts]
    return [
        float(i % 2) if kind == "all" or (i // group) % 2 == 0 else 0.0 for i in range(len(texts))
    ]


@dataclass
class Report:
    """One step. Seconds are of processor time; `update` is all that is not generation."""

    whole: float
    generate: float
    tokens: int
    reward: float
    peak_mb: int

    @property
    def update(self) -> float:
        return self.whole - self.generate


class Clock:
    """Adds up processor time (on a GPU: time) of the parts it is told to."""

    def __init__(self, device: str) -> None:
        self.spent = 0.0
        self._device = device

    def now(self) -> float:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to `spent`."""

        def run(*args: Any, **kwargs: Any) -> Any:
            began = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent += self.now() - began

        return run


def peak_mb(device: str) -> int:
    """Largest resident memory of this process so far (on a GPU: allocated memory), in MB."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated() >> 20)
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) >> 10


def wait_for_turn() -> None:
    """Until the next line; ends the process where there is none."""
    if not sys.stdin.readline():
        sys.exit(0)


def report(found: Report) -> None:
    """Answer a line."""
    print("step " + json.dumps(asdict(found)), flush=True)
