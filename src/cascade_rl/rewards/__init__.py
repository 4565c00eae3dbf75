"""From completions to rewards: verify in worker processes, score remotely, combine over a batch."""

from __future__ import annotations

from cascade_rl.rewards.combine import RewardSpec, rewards_of
from cascade_rl.rewards.pool import PoolMetrics, VerifierPool

__all__ = ["PoolMetrics", "RewardSpec", "VerifierPool", "rewards_of"]
