"""One batch of rollouts: draw, sample, verify while sampling and learning go on, reward, advantage.

The rule: no decision depends on which verdict arrives first. Verdicts are collected in problem
order after a generation round, groups are admitted in that order, and where the batch is cut into
parts to learn from depends on its size alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
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

    @property
    def teaches(self) -> bool:
        """Whether outcomes differ among completions that are learned from: a truncated one that is
        masked, or scored like a wrong one, makes a group mixed and its gradient nothing."""
        pulls = zip(self.advantages_G, self.learns_G, strict=True)
        return self.mixed and any(learned and advantage for advantage, learned in pulls)


@dataclass
class Batch:
    """The groups admitted to the update, and all that were sampled on the way.

    `seconds_score` is the time for which verdicts and rewards kept the step waiting.
    """

    admitted: list[LearningGroup] = field(default_factory=list)
    sampled: list[LearningGroup] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    seconds_sample: float = 0.0
    seconds_score: float = 0.0
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class _Round:
    """Groups whose verdicts may still be coming in."""

    groups: list[Group]
    prompts: list[tuple[int, ...]]


class Roller:
    """Makes the batches of one RL stage. `curriculum` is what comes next."""

    def __init__(
        self,
        session: Session,
        config: StageConfig,
        problems: Sequence[Problem],
        judging: Judging,
        state: CurriculumState,
    ) -> None:
        self.curriculum = state
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

    def collect(self, step: int, batch: Batch) -> Iterator[list[LearningGroup]]:
        """Fill the step's batch; its groups in parts, which together are all that it admits.

        The first parts can be learned from while verdicts of the later ones are coming in. With
        `batch` filtering rounds go on until the batch holds `train_batch_size` groups of mixed
        outcome, or `max_rounds` are over (DAPO's dynamic sampling), and there is one part.
        """
        config, seen = self._config, Counter[str]()
        refill = config.filter.kind == "batch"
        while not is_complete(config, batch):
            for found in self._round(step, batch, seen):
                taken = admit(config, batch, found)
                if not refill:
                    yield taken
            batch.rounds += 1
        if refill:
            yield batch.admitted

    def _round(self, step: int, batch: Batch, seen: Counter[str]) -> Iterator[list[LearningGroup]]:
        """Draw, sample and judge; the curriculum sees the outcomes after the last part."""
        count = round_size(self._config, batch)
        self.curriculum, draws = curriculum.next_batch(self.curriculum, count)
        round_ = self._sample(step, draws, seen, batch)
        all_of_it: list[LearningGroup] = []
        ends = part_ends(len(draws)) if self._judging.by_verdict_alone else [len(draws)]
        for first, end in itertools.pairwise([0, *ends]):
            part = self._score(round_, first, end, batch)
            all_of_it += part
            yield part
        self.curriculum = curriculum.observe(self.curriculum, outcomes_of(all_of_it))

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
        groups = [
            Group(problem, mode, tuple(completions[i, j] for j in range(count)))
            for i, (problem, (_, mode)) in enumerate(zip(problems, draws, strict=True))
        ]
        batch.seconds_sample += time.perf_counter() - began
        return _Round(groups, [request.prompt_ids for request in requests])

    def _score(self, round_: _Round, first: int, end: int, batch: Batch) -> list[LearningGroup]:
        """Groups `first` to `end`; waits for their verdicts."""
        began = time.perf_counter()
        groups, prompts = round_.groups[first:end], round_.prompts[first:end]
        signals_PG = self._judging.signals(groups, first)
        rewards_PG = self._judging.rewards(groups, signals_PG)
        found = [
            learning_group(self._config, group, prompt, signals, rewards)
            for group, prompt, signals, rewards in zip(
                groups, prompts, signals_PG, rewards_PG, strict=True
            )
        ]
        batch.seconds_score += time.perf_counter() - began
        return found


def part_ends(count: int) -> list[int]:
    """Where a batch of `count` groups is cut into parts, the first being soon judged."""
    return sorted({math.ceil(count * share / 24) for share in (1, 2, 4, 8, 12, 16, 20, 24)})


def round_size(config: StageConfig, batch: Batch) -> int:
    """Problems to draw: what is missing over the share seen to be of use so far."""
    missing = config.train_batch_size - len(batch.admitted)
    if not batch.sampled:
        return missing
    share = sum(group.teaches for group in batch.sampled) / len(batch.sampled)
    return min(config.train_batch_size, math.ceil(missing / max(share, MIN_MIXED_SHARE)))


def admit(config: StageConfig, batch: Batch, found: Sequence[LearningGroup]) -> list[LearningGroup]:
    """Take a round's groups into the batch, in order, while there is room; returns those taken.

    With `batch` filtering only groups of mixed outcome, with a gradient, are.
    """
    batch.sampled += found
    fitting = [g for g in found if g.teaches or config.filter.kind != "batch"]
    taken = fitting[: config.train_batch_size - len(batch.admitted)]
    batch.admitted += taken
    return taken


def is_complete(config: StageConfig, batch: Batch) -> bool:
    """Whether the batch is full, or no further round is allowed."""
    rounds = config.filter.max_rounds if config.filter.kind == "batch" else 1
    return len(batch.admitted) >= config.train_batch_size or batch.rounds >= rounds


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
