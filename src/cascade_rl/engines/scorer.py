"""Reward models and judges: (problem, completion text) to a number, batched and cached.

The rule: a scorer is a Hugging Face directory and nothing else, so any engine can ask it. It
sees the question without mode flag and the answer after `</think>`; without `</think>` the
whole text (2512.13607, section 4.3).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cascade_rl.chat import answer_part
from cascade_rl.config import ChatConfig, LocalConfig
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.encoder import Encoder, Ids
from cascade_rl.engines.local.model import Head, Model, trained_chat
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.workers import Team
from cascade_rl.types import Checkpoint, Message, Problem, Scorer
from cascade_rl.verifiers.judge_prompt import NO, YES, judge_messages

Item = tuple[Problem, str]


class _Scorer(ABC):
    """Loads a model with the chat template it was trained with; caches by content.

    It runs on `team`, where given, in `slot`; on one process of its own otherwise.
    """

    head: Head

    def __init__(
        self,
        path: Path,
        team: Team | None = None,
        slot: str = "scorer",
        chat: ChatConfig | None = None,
    ) -> None:
        self._team, self._slot = team or Team(LocalConfig()), slot
        chat = chat or trained_chat(path)
        self.model: Model = self._team.load(slot, Loading(path, chat, self.head))
        self.encoder = Encoder(self.model.tokenizer, chat)
        self._cache: dict[tuple[str, str], float] = {}

    def __call__(self, items: Sequence[Item]) -> list[float]:
        """One number per item, in order; nan where the sequence does not fit the context."""
        keys = [(problem.id, answer_part(text)) for problem, text in items]
        missing = {
            key: item for key, item in zip(keys, items, strict=True) if key not in self._cache
        }
        self._cache.update(zip(missing, self._score(list(missing.values())), strict=True))
        return [self._cache[key] for key in keys]

    @abstractmethod
    def _score(self, items: Sequence[Item]) -> list[float]:
        """One number per item, none of them cached."""

    def _fits(self, length: int) -> bool:
        return length <= self.model.context


class RewardModelScorer(_Scorer):
    """The scalar head at the last token of (question, answer) in the model's own template."""

    head: Head = "scalar"

    def _score(self, items: Sequence[Item]) -> list[float]:
        groups: dict[Ids, int] = {}
        rows: dict[int, Row] = {}
        for i, (problem, text) in enumerate(items):
            question, answer = self.encoder.judged(problem.prompt, text)
            group = groups.setdefault(question, len(groups))
            row = Row(question, answer, np.ones(len(answer), np.float32), group)
            if self._fits(row.length):
                rows[i] = row
        found = self._team.score(self._slot, list(rows.values()))
        scores = dict(zip(rows, found, strict=True))
        return [scores.get(i, math.nan) for i in range(len(items))]


class JudgeScorer(_Scorer):
    """P(YES) of a causal model: the likelihood of its YES over that of YES and of NO.

    Any directory of a causal model will do. One that the cascade did not train takes
    `messages=expert_messages`, and `chat=ChatConfig(template="own")` for its own template:
    what that template would read as a control token in a text is then broken by a blank.
    """

    head: Head = "language"

    def __init__(
        self,
        path: Path,
        team: Team | None = None,
        slot: str = "scorer",
        chat: ChatConfig | None = None,
        messages: Callable[[Problem, str], tuple[Message, ...]] = judge_messages,
    ) -> None:
        super().__init__(path, team, slot, chat)
        self._messages = messages
        special = self.model.tokenizer.all_special_tokens if chat and chat.template == "own" else ()
        self._control = {token: f"{token[0]} {token[1:]}" for token in special if token}

    def _score(self, items: Sequence[Item]) -> list[float]:
        rows: list[Row] = []
        for group, (problem, text) in enumerate(items):
            turns = [self._quoted(m) for m in self._messages(problem, answer_part(text))]
            prompt = self.encoder.prompt(turns, None)
            answers = [self.encoder.answer(answer) for answer in (YES, NO)]
            if self._fits(len(prompt) + max(map(len, answers))):
                rows += [Row(prompt, ids, np.ones(len(ids), np.float32), group) for ids in answers]
        found = self._team.logprobs(self._slot, rows, 1.0)
        totals: dict[int, list[float]] = {}
        for row, logprobs_T in zip(rows, found, strict=True):
            totals.setdefault(row.group, []).append(float(logprobs_T.sum(dtype=np.float64)))
        return [_odds(*totals.get(i, (math.nan, math.nan))) for i in range(len(items))]

    def _quoted(self, message: Message) -> Message:
        content = message.content
        for token, broken in self._control.items():
            content = content.replace(token, broken)
        return replace(message, content=content)


def _odds(yes: float, no: float) -> float:
    return 1.0 / (1.0 + math.exp(min(no - yes, 700.0)))


def load_scorers(inputs: Mapping[str, Checkpoint], team: Team) -> dict[str, Scorer]:
    """A stage's inputs by role, ready to score, each in the team's slot of its role."""
    kinds = {"reward_model": RewardModelScorer, "judge": JudgeScorer}
    return {role: kinds[role](checkpoint.path, team, role) for role, checkpoint in inputs.items()}
