"""Supervised fine-tuning: conversations in, the loss on every assistant turn."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from cascade_rl.config import SFTStageConfig
from cascade_rl.engines.base import StageJob, Workspace
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.replica import SFTObjective
from cascade_rl.engines.local.session import Session, epoch_rows
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import DataError
from cascade_rl.types import Checkpoint, Conversation
from cascade_rl.types import Row as DataRow

Encoded = tuple[tuple[int, ...], np.ndarray]


def train_sft(team: Team, job: StageJob, workspace: Workspace) -> Checkpoint:
    """Train to the end of the stage. One step is one optimizer step on `train_batch_size` rows."""
    config = job.config
    assert isinstance(config, SFTStageConfig)
    session = Session(team, job, workspace, "language")
    encoded = encode_conversations(config, job.rows, session.encoder, session.model.context)
    for step in session.steps():
        began = time.perf_counter()
        chosen = epoch_rows(len(encoded), config.train_batch_size, step, job.seed)
        rows = rows_of([encoded[i] for i in chosen])
        update = session.learner.update(step, rows, SFTObjective())
        seconds = time.perf_counter() - began
        tokens = sum(row.length for row in rows)
        session.end_step(
            {
                "loss": update.totals["loss"],
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


def encode_conversations(
    config: SFTStageConfig, conversations: Sequence[DataRow], encoder: Encoder, context: int
) -> list[Encoded]:
    """Ids and loss mask of every row. Raises DataError for one that is too long or has no loss."""
    limit = min(config.max_tokens, context)
    found = []
    for row in conversations:
        assert isinstance(row, Conversation)
        ids, mask = encoder.conversation(row)
        if len(ids) > limit:
            raise DataError(
                f"stage {config.name}: row {row.id} is {len(ids)} tokens; the limit is {limit}",
                hint="drop it, or raise max_tokens",
            )
        if not any(mask):
            raise DataError(f"stage {config.name}: row {row.id} has no assistant turn to learn")
        found.append((ids, np.array(mask)))
    if not found:
        raise DataError(f"stage {config.name} has no rows; expected at least one conversation")
    return found


def rows_of(batch: Sequence[Encoded]) -> list[Row]:
    """Rows whose weights are the mean over all loss tokens of the update batch."""
    total = sum(int(mask.sum()) for _, mask in batch)
    return [
        Row(ids[:1], ids[1:], mask[1:].astype(np.float32) / np.float32(total), group)
        for group, (ids, mask) in enumerate(batch)
    ]
