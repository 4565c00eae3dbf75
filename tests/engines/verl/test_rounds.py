"""Generation rounds in verl's trainer: what is admitted, what is dropped, and when they end."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transfer_queue import KVBatchMeta

    from cascade_rl.engines.verl import trainer as trainer_module
    from cascade_rl.engines.verl.trainer import CascadeTrainer

from cascade_rl.engines.local.rollout import Batch, LearningGroup
from cascade_rl.types import Group, ScoredGroup, Signals, right, wrong
from tests.engines.helpers import comma_problems
from tests.engines.verl.helpers import verl_job


def group(place: int, mixed: bool) -> LearningGroup:
    signals = (Signals(right()), Signals(wrong("no") if mixed else right()))
    scored = ScoredGroup(Group(comma_problems(8)[place], None, ()), signals, (1.0, 0.0))
    advantages = (0.7, -0.7) if mixed else (0.0, 0.0)
    return LearningGroup(scored, (1,), advantages, (True, True))


def collected(
    rounds: list[list[bool]], folder: Path, monkeypatch: pytest.MonkeyPatch, **values: Any
) -> tuple[CascadeTrainer, list[str], list[str]]:
    """The trainer after rounds whose groups are mixed or not, the batch's keys, and the dropped."""
    trainer = object.__new__(CascadeTrainer)
    trainer.job = verl_job(folder, train_batch_size=3, rollout_n=2, **values)
    trainer._batch, trainer._uids, trainer._drawn = Batch(), [], 3
    dropped: list[str] = []
    monkeypatch.setattr(
        trainer_module.tq, "kv_clear", lambda keys, partition_id: dropped.extend(keys)
    )
    left = list(enumerate(rounds))
    asked: list[int] = []

    def sample_round(prompts: int) -> Any:
        asked.append(prompts)
        number, kinds = left.pop(0)
        keys = [f"r{number}p{i}_{s}_0" for i in range(len(kinds)) for s in range(2)]
        tags = [{"seq_len": 1} for _ in keys]
        return KVBatchMeta(partition_id="train", keys=keys[::-1], tags=tags), {}

    def score(batch: Any) -> Any:
        number = int(batch.keys[0][1])
        kinds = rounds[number]
        return [group(i, mixed) for i, mixed in enumerate(kinds)], [
            f"r{number}p{i}" for i in range(len(kinds))
        ]

    trainer._score = score  # type: ignore[method-assign]
    trainer._add_batch_to_generate = lambda: None
    batch, _ = trainer._collect(sample_round)
    assert not set(batch.keys) & set(dropped)
    return trainer, sorted({key.split("_")[0] for key in batch.keys}), dropped


BATCH = {"filter": {"kind": "batch", "max_rounds": 2}}


def test_without_a_filter_a_step_is_one_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, kept, dropped = collected([[True, False, False]], tmp_path, monkeypatch)
    assert kept == trainer._uids == ["r0p0", "r0p1", "r0p2"] and dropped == []


def test_mixed_groups_are_admitted_in_order_until_the_batch_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = [[False, True, False], [False, True, True, True]]
    trainer, kept, dropped = collected(rounds, tmp_path, monkeypatch, **BATCH)
    assert kept == trainer._uids == ["r0p1", "r1p1", "r1p2"]
    assert len(dropped) == 8 and len(trainer._batch.sampled) == 7


def test_after_the_last_round_the_batch_is_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = [[False, True, False], [False, False, False]]
    trainer, kept, _ = collected(rounds, tmp_path, monkeypatch, **BATCH)
    assert kept == trainer._uids == ["r0p1"] and trainer._batch.rounds == 2


def test_where_nothing_is_mixed_one_group_stays_and_is_not_admitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, kept, _ = collected([[False] * 3, [False] * 3], tmp_path, monkeypatch, **BATCH)
    assert kept == ["r1p0"] and trainer._uids == [] and trainer._batch.admitted == []
