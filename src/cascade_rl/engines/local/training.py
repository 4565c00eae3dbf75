"""What a stage trains, behind one interface: the weights, their gradient and their optimizer.

`Training` is what the learner and the session need to know. `FlatTraining` is a team's: all
weights in one vector. `sharded.ShardedTraining` is that of ranks that hold a part each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cascade_rl.config import ChatConfig, OptimizerConfig
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.model import (
    Model,
    load_weights,
    params_digest,
    save_model,
    save_weights,
)
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.replica import Objective, Totals
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import CheckpointError, ConfigError


class Training(Protocol):
    """A model that learns. All rows of an update are given; how they are divided is its part."""

    model: Model

    def accumulate(
        self, parts: Iterable[Sequence[Row]], objective: Objective
    ) -> tuple[float, Totals]:
        """The gradient over the rows of at least one part: its norm, and sums over the rows.

        A part holds whole groups, and is read when those before it have been run.
        """

    def step(self, rate: float, scale: float) -> None:
        """One optimizer step at this rate on the gradient times `scale`."""

    def save_weights(self, file: Path) -> None:
        """What is trained, for a training checkpoint."""

    def load_weights(self, file: Path) -> None:
        """Read what `save_weights` wrote."""

    def save_optimizer(self, file: Path) -> None:
        """Moments and step count."""

    def load_optimizer(self, file: Path) -> None:
        """Read what `save_optimizer` wrote, of the same model in any stage of the family."""

    def digest(self) -> str:
        """Digest of the weights: that of the directory `export` writes."""

    def export(self, chat: ChatConfig, path: Path) -> None:
        """Write a Hugging Face directory; training can go on."""

    def forget(self) -> None:
        """Free the memory."""


class FlatTraining:
    """`Training` in a team's slot `train`."""

    def __init__(self, team: Team, loading: Loading, config: OptimizerConfig, peak: float) -> None:
        self._team = team
        self.model = team.load("train", loading, train=True)
        self._parameter = torch.nn.Parameter(team.values("train"))
        self._optimizer = make_optimizer([self._parameter], config, peak)

    def accumulate(
        self, parts: Iterable[Sequence[Row]], objective: Objective
    ) -> tuple[float, Totals]:
        """The gradient over the rows of all parts: its norm, and sums over the rows."""
        totals: Totals = {}
        gradient: Tensor | None = None
        for rows in parts:
            gradient, found = self._team.accumulate("train", rows, objective, gradient is not None)
            totals |= {name: totals.get(name, 0.0) + value for name, value in found.items()}
        assert gradient is not None
        self._parameter.grad = gradient
        return float(torch.linalg.vector_norm(gradient)), totals

    def step(self, rate: float, scale: float) -> None:
        """One optimizer step at this rate on the gradient times `scale`."""
        if scale != 1.0:
            assert self._parameter.grad is not None
            self._parameter.grad.mul_(scale)
        set_rate(self._optimizer, rate)
        self._optimizer.step()

    def save_weights(self, file: Path) -> None:
        """What is trained, for a training checkpoint."""
        save_weights(self.model.module, file)

    def load_weights(self, file: Path) -> None:
        """Read what `save_weights` wrote."""
        load_weights(self.model.module, file)

    def save_optimizer(self, file: Path) -> None:
        """Moments and step count."""
        torch.save(self._optimizer.state_dict(), file)

    def load_optimizer(self, file: Path) -> None:
        """Read what `save_optimizer` wrote, of the same model in any stage of the family."""
        state = read_optimizer(file, self._parameter.device)
        for moments in state["state"].values():
            exp_avg = moments.get("exp_avg") if isinstance(moments, dict) else None
            found = exp_avg.numel() if exp_avg is not None else None
            if found != self._parameter.numel():
                raise CheckpointError(
                    f"{file} holds moments of {found} parameters; the model has "
                    f"{self._parameter.numel()}"
                )
        groups = self._optimizer.state_dict()["param_groups"]  # this stage's settings, not theirs
        self._optimizer.load_state_dict({"state": state["state"], "param_groups": groups})

    def digest(self) -> str:
        """Digest of the weights: that of the directory `export` writes."""
        return params_digest(self.model.module)

    def export(self, chat: ChatConfig, path: Path) -> None:
        """Write a Hugging Face directory; training can go on."""
        save_model(self.model.module, self.model.tokenizer, chat, path)

    def forget(self) -> None:
        """Free the memory."""
        self._team.forget("train")


def make_optimizer(
    parameters: Sequence[torch.nn.Parameter], config: OptimizerConfig, peak: float
) -> torch.optim.Optimizer:
    """AdamW with its moments in float32, or in blocks of 8-bit numbers.

    Raises ConfigError where torchao is missing.
    """
    settings: dict[str, Any] = {
        "lr": peak, "betas": config.betas, "eps": config.eps, "weight_decay": config.weight_decay,
    }  # fmt: skip
    if config.moments == "float32":
        return torch.optim.AdamW(parameters, **settings, fused=True)
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        raise ConfigError(
            "optimizer.moments is int8, which needs torchao; it is not installed",
            hint="pip install 'cascade-rl[int8]'",
        ) from None
    found: torch.optim.Optimizer = AdamW8bit(parameters, **settings)
    return found


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):  # torchao compiles its step for one tensor
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def read_optimizer(file: Path, device: torch.device) -> dict[str, Any]:
    """What `save_optimizer` wrote. Raises CheckpointError where it is missing or torn."""
    try:
        found: dict[str, Any] = torch.load(file, weights_only=True, map_location=device)
    except (OSError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{file} is missing or torn: {error}") from None
    return found
