"""Reward model: Bradley-Terry on a scalar head over preference pairs (2512.13607, section 4.2)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from cascade_rl.config import RewardModelStageConfig
from cascade_rl.engines.base import StageJob, Workspace
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.encoder import Encoder, Ids
from cascade_rl.engines.local.replica import PairObjective
from cascade_rl.engines.local.session import Session, epoch_rows
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import DataError
from cascade_rl.types import Checkpoint, Pair
from cascade_rl.types import Row as DataRow

EncodedPair = tuple[tuple[Ids, Ids], tuple[Ids, Ids]]


def train_reward_model(team: Team, job: StageJob, workspace: Workspace) -> Checkpoint:
    """Train to the end of the stage. One step is one optimizer step on `train_batch_size` pairs."""
    config = job.config
    assert isinstance(config, RewardModelStageConfig)
    session = Session(team, job, workspace, "scalar")
    encoded = encode_pairs(config, job.rows, session.encoder, session.model.context)
    for step in session.steps():
        began = time.perf_counter()
        chosen = epoch_rows(len(encoded), config.train_batch_size, step, job.seed)
        rows = [row for group, i in enumerate(chosen) for row in pair_rows(encoded[i], group)]
        update = session.learner.update(step, rows, PairObjective(len(chosen)))
        seconds = time.perf_counter() - began
        tokens = sum(row.length for row in rows)
        session.end_step(
            {
                "loss": update.totals["loss"],
                "accuracy": update.totals["right"] / len(chosen),
                "grad_norm": update.grad_norm,
                "learning_rate": update.learning_rate,
                "skipped_updates": session.learner.skipped,
                "epoch": step * config.train_batch_size / len(encoded),
                "tokens": tokens,
                "tokens_per_second": tokens / seconds,
                "seconds/update": seconds,
            }
        )
    return session.finish()


def encode_pairs(
    config: RewardModelStageConfig, pairs: Sequence[DataRow], encoder: Encoder, context: int
) -> list[EncodedPair]:
    """(chosen, rejected) ids of every pair. Raises DataError for one that is too long."""
    limit = min(config.max_tokens, context)
    found = []
    for row in pairs:
        assert isinstance(row, Pair)
        pair = encoder.judged(row.prompt, row.chosen), encoder.judged(row.prompt, row.rejected)
        longest = max(len(question) + len(answer) for question, answer in pair)
        if longest > limit:
            raise DataError(
                f"stage {config.name}: pair {row.id} is {longest} tokens; the limit is {limit}",
                hint="drop it, or raise max_tokens",
            )
        found.append(pair)
    if not found:
        raise DataError(f"stage {config.name} has no rows; expected at least one pair")
    return found


def pair_rows(pair: EncodedPair, group: int) -> list[Row]:
    """A pair as two rows of one group, chosen first."""
    return [
        Row(question, answer, np.ones(len(answer), np.float32), group) for question, answer in pair
    ]
