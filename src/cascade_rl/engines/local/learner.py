"""One optimizer for all three objectives: AdamW on fp32 masters, schedule, clipping.

The rule: an update whose loss or gradient is not finite is skipped and counted; three in a row
end the stage with its last checkpoint kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cascade_rl.config import OptimizerConfig
from cascade_rl.engines.local.batches import Part, Row
from cascade_rl.engines.local.replica import Objective, Totals
from cascade_rl.engines.local.training import Training
from cascade_rl.errors import TrainingError

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


class Learner:
    """Updates what `training` holds."""

    def __init__(
        self, training: Training, config: OptimizerConfig, peak: float, total: int
    ) -> None:
        self._training, self._config = training, config
        self._peak, self._total = peak, total
        self.skipped = 0

    def update(self, step: int, rows: Sequence[Row], objective: Objective) -> Update:
        """One optimizer step on the sum of weighted losses over `rows`."""
        return self.update_by_parts(step, [Part(list(rows))], objective)

    def update_by_parts(self, step: int, parts: Iterable[Part], objective: Objective) -> Update:
        """The same on a batch that comes in parts; its weights are divided by those of the parts.

        Without rows the gradient is zero and the optimizer still steps, as it would had rows
        of zero advantage been run. Raises TrainingError after three updates in a row that are
        not finite.
        """
        weight = 0.0

        def rows() -> Iterator[Sequence[Row]]:
            nonlocal weight
            for part in parts:
                weight += part.weight
                yield part.rows

        norm, totals = self._training.accumulate(rows(), objective)
        weight = weight or 1.0  # of a batch that is masked altogether nothing was added up
        norm /= weight
        totals |= {name: totals[name] / weight for name in ("loss", "kl") if name in totals}
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
        over = norm > self._config.grad_clip
        clip = self._config.grad_clip / (norm + 1e-6) if over else 1.0
        self._training.step(rate, clip / weight)
        return Update(norm, rate, True, totals)
