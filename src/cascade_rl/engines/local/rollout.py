"""One batch of rollouts: draw, sample, verify while sampling goes on, reward, advantage.

The rule: no decision depends on which verdict arrives first. Verdicts are collected in problem
order at the end of a generation round, and groups are admitted in that order.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cascade_rl import curriculum
from cascade_rl.config import StageConfig
from cascade_rl.curriculum import CurriculumState, Draw
from cascade_rl.engines.local.judging import Judging
from cascade_rl.engines.local.objectives import group_advantages
from cascade_rl.engines.local.sampler import Request, SamplingParams, row_key
from cascade_rl.engines.local.session import Session
from cascade_rl.types import Completion, Group, Problem, ScoredGroup, Signals

MIN_MIXED_SHARE = 0.25
"""A refill round never draws more than four times what is missing."""


@dataclass(frozen=True, slots=True)
class LearningGroup:
    """A scored group with what the learner needs of it, per completion [G]."""

    scored: ScoredGroup
    prompt_ids: tuple[int, ...]
    advantages_G: tuple[float, ...]
    learns_G: tuple[bool, ...]

    @property
    def mixed(self) -> bool:
        """Whether judged outcomes differ; where the domain has none (chat), always."""
        outcomes = {s.outcome for s in self.scored.signals_G} - {None}
        if all(s.verdict is None for s in self.scored.signals_G):
            return True
        return len(outcomes) > 1


@dataclass
class Batch:
    """The groups admitted to the update, and all that were sampled on the way."""

    admitted: list[LearningGroup] = field(default_factory=list)
    sampled: list[LearningGroup] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    seconds_sample: float = 0.0
    seconds_score: float = 0.0
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class _Round:
    groups: list[Group]
    prompts: list[tuple[int, ...]]
    signals_PG: list[list[Signals]]


class Roller:
    """Makes the batches of one RL stage."""

    def __init__(
        self, session: Session, config: StageConfig, problems: Sequence[Problem], judging: Judging
    ) -> None:
        self._session, self._config, self._judging = session, config, judging
        self._problems = {problem.id: problem for problem in problems}
        self._params = SamplingParams(
            config.temperature, config.top_p, config.top_k, config.max_new_tokens
        )
        self._prompts: dict[Draw, tuple[int, ...]] = {}

    def prompt_ids(self, draw: Draw) -> tuple[int, ...]:
        """Ids of a problem's prompt in a mode."""
        if draw not in self._prompts:
            messages = self._problems[draw[0]].prompt
            self._prompts[draw] = self._session.encoder.prompt(messages, draw[1])
        return self._prompts[draw]

    def collect(self, step: int, state: CurriculumState) -> tuple[CurriculumState, Batch]:
        """The step's batch, and the curriculum after it has seen the outcomes.

        With `batch` filtering rounds go on until the batch holds `train_batch_size` groups of
        mixed outcome, or `max_rounds` are over (DAPO's dynamic sampling).
        """
        config, batch = self._config, Batch()
        wanted = config.train_batch_size
        refill = config.filter.kind == "batch"
        seen: Counter[str] = Counter()
        while len(batch.admitted) < wanted and batch.rounds < (
            config.filter.max_rounds if refill else 1
        ):
            state, draws = curriculum.next_batch(state, self._round_size(batch))
            found = self._score(self._sample(step, draws, seen, batch), batch)
            state = curriculum.observe(state, outcomes_of(found))
            batch.rounds += 1
            batch.sampled += found
            fitting = [group for group in found if group.mixed or not refill]
            batch.admitted += fitting[: wanted - len(batch.admitted)]
        return state, batch

    def _round_size(self, batch: Batch) -> int:
        """Problems to draw: what is missing over the share seen to be mixed so far."""
        missing = self._config.train_batch_size - len(batch.admitted)
        if not batch.sampled:
            return missing
        mixed = sum(group.mixed for group in batch.sampled) / len(batch.sampled)
        return min(self._config.train_batch_size, math.ceil(missing / max(mixed, MIN_MIXED_SHARE)))

    def _sample(self, step: int, draws: Sequence[Draw], seen: Counter[str], batch: Batch) -> _Round:
        began = time.perf_counter()
        session, count = self._session, self._config.rollout_n
        requests = []
        for problem_id, mode in draws:
            occurrence = seen[problem_id]
            seen[problem_id] += 1
            stem = (session.job.seed, session.job.key, step, problem_id, occurrence)
            keys = tuple(row_key(*stem, sample) for sample in range(count))
            requests.append(Request(self.prompt_ids((problem_id, mode)), keys))
        problems = [self._problems[problem_id] for problem_id, _ in draws]
        completions: dict[tuple[int, int], Completion] = {}
        stops = session.encoder.stop_ids
        for found in session.team.sample("train", requests, self._params, stops):
            completion = Completion(
                session.encoder.text(found.ids),
                found.ids,
                found.logprobs,
                found.sampled_logprobs,
                found.finish,
            )
            completions[found.request, found.sample] = completion
            batch.entropies.append(found.entropy)
            self._judging.submit((found.request, found.sample), problems[found.request], completion)
        batch.seconds_sample += time.perf_counter() - began
        began = time.perf_counter()
        groups = [
            Group(problem, mode, tuple(completions[i, j] for j in range(count)))
            for i, (problem, (_, mode)) in enumerate(zip(problems, draws, strict=True))
        ]
        signals_PG = self._judging.signals(groups)
        batch.seconds_score += time.perf_counter() - began
        return _Round(groups, [request.prompt_ids for request in requests], signals_PG)

    def _score(self, round_: _Round, batch: Batch) -> list[LearningGroup]:
        began = time.perf_counter()
        rewards_PG = self._judging.rewards(round_.groups, round_.signals_PG)
        found = [
            learning_group(self._config, group, prompt, signals, rewards)
            for group, prompt, signals, rewards in zip(
                round_.groups, round_.prompts, round_.signals_PG, rewards_PG, strict=True
            )
        ]
        batch.seconds_score += time.perf_counter() - began
        return found


def learning_group(
    config: StageConfig,
    group: Group,
    prompt_ids: tuple[int, ...],
    signals_G: Sequence[Signals],
    rewards_G: Sequence[float | None],
) -> LearningGroup:
    """Apply the overlong policy, then normalise within the group.

    `exclude` takes a truncated completion out of statistics and loss, `mask_loss` out of
    the loss alone; `zero` is part of the reward.
    """
    kept_G = [
        None if signals.truncated and config.overlong == "exclude" else reward
        for signals, reward in zip(signals_G, rewards_G, strict=True)
    ]
    learns_G = [
        reward is not None and not (signals.truncated and config.overlong == "mask_loss")
        for signals, reward in zip(signals_G, kept_G, strict=True)
    ]
    advantages_G = group_advantages(kept_G, config.norm_adv_by_std)
    scored = ScoredGroup(group, tuple(signals_G), tuple(kept_G))
    return LearningGroup(scored, prompt_ids, tuple(advantages_G), tuple(learns_G))


def outcomes_of(groups: Sequence[LearningGroup]) -> dict[str, list[bool | None]]:
    """Outcomes by problem, over all its groups where a small epoch drew it twice."""
    found: dict[str, list[bool | None]] = {}
    for group in groups:
        outcomes_G = [signals.outcome for signals in group.scored.signals_G]
        found.setdefault(group.scored.group.problem.id, []).extend(outcomes_G)
    return found
