"""Signals of completions and rewards of a batch: verifier pool, journal, scorers, combination.

The rule: a verdict once journaled is never decided again, so a stage that is killed and
continued learns from the same verdicts, however slow the machine was.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import partial

from cascade_rl.config import StageConfig, VerifierConfig
from cascade_rl.engines.base import Workspace
from cascade_rl.errors import TrainingError
from cascade_rl.rewards import RewardSpec, VerifierPool, rewards_of
from cascade_rl.rewards.pool import Ticket
from cascade_rl.types import Completion, Group, Problem, Scorer, Signals, Verdict, Verifier
from cascade_rl.verifiers import VERIFIER_VERSIONS, mixed_language, verifier_for, verify_swe

FEW = 8
"""Answers of which a reward model or judge must score at least one, or the stage stops."""

Place = tuple[int, int]
"""(index of the group, index of the completion) within a generation round."""


class Judging:
    """Judges the rollouts of one stage. `scorers` are loaded reward models and judges by role."""

    def __init__(
        self,
        config: StageConfig,
        workspace: Workspace,
        pool: VerifierPool,
        scorers: Mapping[str, Scorer],
    ) -> None:
        self.pool = pool
        self._workspace, self._scorers = workspace, scorers
        self._spec = reward_spec(config)
        self._verify_swe: Verifier = partial(
            verify_swe,
            similarity=config.reward.swe_lexical,
            identical=config.reward.swe_identical,
        )
        self._options = config.verifier_options
        self._verifier = verifier_for("auto", self._options)
        self._tickets: dict[Place, tuple[str, Ticket | Verdict]] = {}
        self._asked: dict[str, Ticket | Verdict] = {}

    def submit(self, place: Place, problem: Problem, completion: Completion) -> None:
        """Begin to verify a completion that has just finished; chat has no verifier."""
        if problem.domain == "chat":
            return
        key = journal_key(problem, completion.text, self._options)
        known = self._workspace.verdict(key) or self._asked.get(key)
        verifier = self._verify_swe if problem.domain == "swe" else self._verifier
        found = known or self.pool.submit(verifier, problem, completion.text)
        self._asked[key] = found  # the same answer twice in a round is judged once
        self._tickets[place] = (key, found)

    def signals(self, groups: Sequence[Group]) -> list[list[Signals]]:
        """Signals [P][G] of a round whose completions were all submitted."""
        verdicts = self._gather()
        places = [(i, j) for i, g in enumerate(groups) for j in range(len(g.completions_G))]
        preferences = self._ask(
            "reward_model", groups, [p for p in places if self._preferred(groups[p[0]])]
        )
        unclear = [p for p in places if p in verdicts and verdicts[p].status == "partial"]
        if self._spec.swe_similarity == "lexical":
            unclear = []  # nobody would read what a judge says
        judged = self._ask(
            "judge", groups, [p for p in unclear if groups[p[0]].problem.domain == "swe"]
        )

        def signal(i: int, j: int) -> Signals:
            completion = groups[i].completions_G[j]
            return Signals(
                verdict=verdicts.get((i, j)),
                preference=preferences.get((i, j)),
                judge=judged.get((i, j)),
                mixed_language=mixed_language(groups[i].problem.prompt, completion.text),
                truncated=completion.finish == "length",
            )

        return [[signal(i, j) for j in range(len(g.completions_G))] for i, g in enumerate(groups)]

    def rewards(
        self, groups: Sequence[Group], signals_PG: Sequence[Sequence[Signals]]
    ) -> list[list[float | None]]:
        """Rewards [P][G]; None where not judged."""
        return rewards_of(self._spec, groups, signals_PG)

    def _gather(self) -> dict[Place, Verdict]:
        """All verdicts of the round in place order, the new ones journaled."""
        waiting = {key: item for key, item in self._asked.items() if not isinstance(item, Verdict)}
        fresh = dict(zip(waiting, self.pool.gather(list(waiting.values())), strict=True))
        found: dict[Place, Verdict] = {}
        recorded: set[str] = set()
        for place, (key, item) in sorted(self._tickets.items()):
            if isinstance(item, Verdict):
                found[place] = item
                continue
            found[place] = fresh[key]
            if key not in recorded:
                self._workspace.record(key, fresh[key])
                recorded.add(key)
        self._tickets.clear()
        self._asked.clear()
        return found

    def _preferred(self, group: Group) -> bool:
        kind = self._spec.kind
        return kind in ("preference", "gated_if") or (
            kind == "auto" and group.problem.domain == "chat"
        )

    def _ask(
        self, role: str, groups: Sequence[Group], places: Sequence[Place]
    ) -> dict[Place, float]:
        if role not in self._scorers or not places:
            return {}
        items = [(groups[i].problem, groups[i].completions_G[j].text) for i, j in places]
        scores = self._scorers[role](items)
        if len(scores) >= FEW and not any(map(math.isfinite, scores)):
            raise TrainingError(
                f"the {role} scored none of {len(scores)} answers",
                hint="is its server up, and does its context hold the answers?",
            )
        return dict(zip(places, scores, strict=True))


def reward_spec(config: StageConfig) -> RewardSpec:
    """The reward of a stage as `rewards.combine` takes it."""
    return RewardSpec(
        kind=config.reward_kind,
        shaping=config.reward.shaping,
        swe_similarity=config.reward.swe_similarity,
        swe_hybrid_weight=config.reward.swe_hybrid_weight,
        swe_floor=config.reward.swe_floor,
        language_penalty=config.reward.language_penalty,
        overlong=config.overlong,
    )


def journal_key(problem: Problem, text: str, options: VerifierConfig) -> str:
    """SHA-256 of (verifier version and options, problem, completion)."""
    version = VERIFIER_VERSIONS.get(problem.domain, "")
    parts = "\0".join((version, options.model_dump_json(), problem.id, text))
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()
