"""Reward models and judges: (problem, completion text) to a number, batched and cached.

The rule: a scorer is a Hugging Face directory and nothing else, so any engine can ask it. It
sees the question without mode flag and the answer after `</think>`; without `</think>` the
whole text (2512.13607, section 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cascade_rl.chat import answer_part
from cascade_rl.config import LocalConfig
from cascade_rl.engines.local.batches import Row, micro_batches
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.model import Head, Model, load_model, trained_chat
from cascade_rl.engines.local.replica import logprobs_of, score_rows
from cascade_rl.types import Checkpoint, Problem, Scorer
from cascade_rl.verifiers.judge_prompt import NO, YES, judge_messages

Item = tuple[Problem, str]
DEFAULT_LOCAL = LocalConfig()


class _Scorer:
    """Loads a model with the chat template it was trained with; caches by content."""

    head: Head

    def __init__(self, path: Path, local: LocalConfig = DEFAULT_LOCAL) -> None:
        self._local = local
        self.model: Model = load_model(path, trained_chat(path), local, self.head)
        self.encoder = Encoder(self.model.tokenizer, trained_chat(path))
        self._cache: dict[tuple[str, str], float] = {}

    def __call__(self, items: Sequence[Item]) -> list[float]:
        """One number per item, in order; nan where the sequence does not fit the context."""
        keys = [(problem.id, answer_part(text)) for problem, text in items]
        missing = {
            key: item for key, item in zip(keys, items, strict=True) if key not in self._cache
        }
        self._cache.update(zip(missing, self._score(list(missing.values())), strict=True))
        return [self._cache[key] for key in keys]

    def _score(self, items: Sequence[Item]) -> list[float]:
        raise NotImplementedError

    def _fits(self, length: int) -> bool:
        return length <= self.model.context


class RewardModelScorer(_Scorer):
    """The scalar head at the last token of (question, answer) in the model's own template."""

    head: Head = "scalar"

    def _score(self, items: Sequence[Item]) -> list[float]:
        groups = {problem.id: group for group, (problem, _) in enumerate(items)}
        rows: dict[int, Row] = {}
        for i, (problem, text) in enumerate(items):
            question, answer = self.encoder.judged(problem.prompt, text)
            row = Row(question, answer, np.ones(len(answer), np.float32), groups[problem.id])
            if self._fits(row.length):
                rows[i] = row
        place = {id(row): i for i, row in rows.items()}
        scores = [math.nan] * len(items)
        for batch in micro_batches(list(rows.values()), self._local.micro_batch_tokens, True):
            with torch.inference_mode():
                found = score_rows(self.model, batch, shared=True)
            for row, score in zip(batch, found.tolist(), strict=True):
                scores[place[id(row)]] = score
        return scores


class JudgeScorer(_Scorer):
    """P(YES) of a causal model: the likelihood of its YES over that of YES and of NO."""

    head: Head = "language"

    def _score(self, items: Sequence[Item]) -> list[float]:
        rows: list[Row] = []
        for group, (problem, text) in enumerate(items):
            prompt = self.encoder.prompt(judge_messages(problem, answer_part(text)), None)
            for answer in (YES, NO):
                ids = self.encoder.answer(answer)
                if self._fits(len(prompt) + len(ids)):
                    rows.append(Row(prompt, ids, np.ones(len(ids), np.float32), group))
        budget = self._local.micro_batch_tokens
        found = logprobs_of(self.model, rows, 1.0, budget, shared=True)
        totals: dict[int, list[float]] = {}
        for row, logprobs_T in zip(rows, found, strict=True):
            totals.setdefault(row.group, []).append(float(logprobs_T.sum(dtype=np.float64)))
        return [_odds(totals.get(group, [])) for group in range(len(items))]


def _odds(logprobs: Sequence[float]) -> float:
    if len(logprobs) < 2:
        return math.nan
    yes, no = logprobs
    return 1.0 / (1.0 + math.exp(min(no - yes, 700.0)))


def load_scorers(inputs: Mapping[str, Checkpoint], local: LocalConfig) -> dict[str, Scorer]:
    """A stage's inputs by role, ready to score."""
    kinds = {"reward_model": RewardModelScorer, "judge": JudgeScorer}
    return {role: kinds[role](checkpoint.path, local) for role, checkpoint in inputs.items()}
