"""One optimizer for all three objectives: AdamW on fp32 masters, schedule, clipping.

The rule: an update whose loss or gradient is not finite is skipped and counted; three in a row
end the stage with its last checkpoint kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cascade_rl.config import OptimizerConfig
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.replica import Objective, Totals
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import CheckpointError, ConfigError, TrainingError

MAX_SKIPPED = 3


def learning_rate_at(step: int, total: int, peak: float, config: OptimizerConfig) -> float:
    """Rate of the 1-based `step` of `total`: linear warm-up, then down to the minimum.

    The peak is reached at the end of the warm-up, the minimum after the last step.
    """
    if step <= config.warmup_steps:
        return peak * step / config.warmup_steps
    if config.schedule == "constant":
        return peak
    done = (step - 1 - config.warmup_steps) / max(1, total - config.warmup_steps)
    left = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return config.min_learning_rate + (peak - config.min_learning_rate) * max(0.0, left)


@dataclass(frozen=True, slots=True)
class Update:
    """What an update did. `grad_norm` is before clipping; `applied` is False where skipped."""

    grad_norm: float
    learning_rate: float
    applied: bool
    totals: Totals


def make_optimizer(
    parameter: torch.nn.Parameter, config: OptimizerConfig, peak: float
) -> torch.optim.Optimizer:
    """AdamW with its moments in float32, or in blocks of 8-bit numbers.

    Raises ConfigError where torchao is missing.
    """
    settings: dict[str, Any] = {
        "lr": peak, "betas": config.betas, "eps": config.eps, "weight_decay": config.weight_decay,
    }  # fmt: skip
    if config.moments == "float32":
        return torch.optim.AdamW([parameter], **settings, foreach=False)
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        raise ConfigError(
            "optimizer.moments is int8, which needs torchao; it is not installed",
            hint="pip install 'cascade-rl[int8]'",
        ) from None
    found: torch.optim.Optimizer = AdamW8bit([parameter], **settings)
    return found


class Learner:
    """Updates the parameters in the team's slot `train`."""

    def __init__(self, team: Team, config: OptimizerConfig, peak: float, total: int) -> None:
        self._team = team
        self._config = config
        self._peak, self._total = peak, total
        self._parameter = torch.nn.Parameter(team.values("train"))
        self._optimizer = make_optimizer(self._parameter, config, peak)
        self.skipped = 0

    def update(self, step: int, rows: Sequence[Row], objective: Objective) -> Update:
        """One optimizer step on the sum of weighted losses over `rows`.

        Without rows the gradient is zero and the optimizer still steps, as it would had rows
        of zero advantage been run. Raises TrainingError after three updates in a row that are
        not finite.
        """
        gradient, totals = self._team.accumulate("train", rows, objective)
        norm = float(torch.linalg.vector_norm(gradient))
        rate = learning_rate_at(step, self._total, self._peak, self._config)
        if not (math.isfinite(norm) and math.isfinite(totals.get("loss", 0.0))):
            self.skipped += 1
            if self.skipped >= MAX_SKIPPED:
                raise TrainingError(
                    f"step {step}: loss {totals.get('loss')}, gradient norm {norm}; "
                    f"{MAX_SKIPPED} updates in a row were not finite",
                    hint="lower the learning rate; the last checkpoint is kept",
                )
            return Update(norm, rate, False, totals)
        self.skipped = 0
        if norm > self._config.grad_clip:
            gradient.mul_(self._config.grad_clip / (norm + 1e-6))
        self._parameter.grad = gradient
        group = self._optimizer.param_groups[0]
        if isinstance(group["lr"], torch.Tensor):  # torchao compiles its step for one tensor
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
        self._optimizer.step()
        return Update(norm, rate, True, totals)

    def save(self, file: Path) -> None:
        """Write moments and step count."""
        torch.save(self._optimizer.state_dict(), file)

    def load(self, file: Path) -> None:
        """Read what `save` wrote; parameters of the same shape, any stage of the family."""
        try:
            state: dict[str, Any] = torch.load(
                file, weights_only=True, map_location=self._parameter.device
            )
        except (OSError, RuntimeError, EOFError) as error:
            raise CheckpointError(f"{file} is missing or torn: {error}") from None
        for moments in state["state"].values():
            found = moments["exp_avg"].numel()
            if found != self._parameter.numel():
                raise CheckpointError(
                    f"{file} holds moments of {found} parameters; the model has "
                    f"{self._parameter.numel()}"
                )
        groups = self._optimizer.state_dict()["param_groups"]  # this stage's settings, not theirs
        self._optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
