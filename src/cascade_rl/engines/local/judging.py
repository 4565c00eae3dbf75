"""Signals of completions and rewards of a batch: verifier pool, journal, scorers, combination.

The rule: a verdict once journaled is never decided again, so a stage that is killed and
continued learns from the same verdicts, however slow the machine was.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial

from cascade_rl.config import StageConfig, VerifierConfig
from cascade_rl.engines.base import Workspace
from cascade_rl.errors import ConfigError, TrainingError
from cascade_rl.rewards import RewardSpec, VerifierPool, rewards_of
from cascade_rl.rewards.judge_endpoint import JudgeEndpoint
from cascade_rl.rewards.pool import Ticket
from cascade_rl.rewards.remote import RemoteScorer
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
        self._options = config.verifier_options
        self._verifiers = stage_verifiers(config)
        self._keys: dict[Place, str] = {}
        self._asked: dict[str, Ticket | Verdict] = {}

    @property
    def by_verdict_alone(self) -> bool:
        """Whether a group's rewards wait for nothing but its own verdicts."""
        return not self._scorers

    def submit(self, place: Place, problem: Problem, completion: Completion) -> None:
        """Begin to verify a completion that has just finished; chat has no verifier."""
        if problem.domain == "chat":
            return
        key = journal_key(problem, completion.text, self._options)
        known = self._workspace.verdict(key) or self._asked.get(key)
        verify = self._verifiers["swe" if problem.domain == "swe" else "auto"]
        # The same answer twice in a round is judged once; groups are needed in their order.
        found = known or self.pool.submit(verify, problem, completion.text, place[0])
        self._asked[key] = found
        self._keys[place] = key

    def signals(self, groups: Sequence[Group], first: int = 0) -> list[list[Signals]]:
        """Signals [P][G] of a round's groups from `first` on, whose completions were submitted."""
        verdicts = self._gather(first, first + len(groups))
        mixed = {
            (i, j): mixed_language(group.problem.prompt, completion.text)
            for i, group in enumerate(groups)
            for j, completion in enumerate(group.completions_G)
        }
        return signals_of(self._spec, self._scorers, groups, verdicts, mixed)

    def rewards(
        self, groups: Sequence[Group], signals_PG: Sequence[Sequence[Signals]]
    ) -> list[list[float | None]]:
        """Rewards [P][G]; None where not judged."""
        return rewards_of(self._spec, groups, signals_PG)

    def _gather(self, first: int, end: int) -> dict[Place, Verdict]:
        """Verdicts of groups `first` to `end`, by place among them; the new ones journaled."""
        places = sorted(place for place in self._keys if first <= place[0] < end)
        keys = [self._keys.pop(place) for place in places]
        tickets = {k: item for k in keys if isinstance(item := self._asked[k], Ticket)}
        verdicts = self.pool.gather(list(tickets.values()))
        for key, verdict in zip(tickets, verdicts, strict=True):
            self._workspace.record(key, verdict)
            self._asked[key] = verdict
        known = [self._asked[key] for key in keys]
        if not self._keys:
            self._asked.clear()
        return {
            (i - first, j): verdict
            for (i, j), verdict in zip(places, known, strict=True)
            if isinstance(verdict, Verdict)
        }


def signals_of(
    spec: RewardSpec,
    scorers: Mapping[str, Scorer],
    groups: Sequence[Group],
    verdicts: Mapping[Place, Verdict],
    mixed: Mapping[Place, bool],
) -> list[list[Signals]]:
    """Signals [P][G]: what is known of each place, and what the scorers say of it."""
    places = [(i, j) for i, g in enumerate(groups) for j in range(len(g.completions_G))]
    chosen = [p for p in places if _preferred(spec, groups[p[0]])]
    preferences = _ask(scorers, "reward_model", groups, chosen)
    unclear = [p for p in places if p in verdicts and verdicts[p].status == "partial"]
    if spec.swe_similarity == "lexical":
        unclear = []  # nobody would read what a judge says
    unclear = [p for p in unclear if groups[p[0]].problem.domain == "swe"]
    judged = _ask(scorers, "judge", groups, unclear)

    def signal(i: int, j: int) -> Signals:
        return Signals(
            verdict=verdicts.get((i, j)),
            preference=preferences.get((i, j)),
            judge=judged.get((i, j)),
            mixed_language=mixed[i, j],
            truncated=groups[i].completions_G[j].finish == "length",
        )

    return [[signal(i, j) for j in range(len(g.completions_G))] for i, g in enumerate(groups)]


def _preferred(spec: RewardSpec, group: Group) -> bool:
    return spec.kind in ("preference", "gated_if") or (
        spec.kind == "auto" and group.problem.domain == "chat"
    )


def _ask(
    scorers: Mapping[str, Scorer], role: str, groups: Sequence[Group], places: Sequence[Place]
) -> dict[Place, float]:
    if role not in scorers or not places:
        return {}
    items = [(groups[i].problem, groups[i].completions_G[j].text) for i, j in places]
    scores = scorers[role](items)
    if len(scores) >= FEW and not any(map(math.isfinite, scores)):
        raise TrainingError(
            f"the {role} scored none of {len(scores)} answers",
            hint="is its server up, and does its context hold the answers?",
        )
    return dict(zip(places, scores, strict=True))


def stage_verifiers(config: StageConfig) -> Mapping[str, Verifier]:
    """The verifier of SWE rows, with the stage's similarity, and that of all others."""
    swe = partial(
        verify_swe, similarity=config.reward.swe_lexical, identical=config.reward.swe_identical
    )
    return {"swe": swe, "auto": verifier_for("auto", config.verifier_options)}


def served_scorers(config: StageConfig) -> dict[str, Scorer]:
    """The scorers that the stage names by a server's address, by role."""
    found: dict[str, Scorer] = {}
    if (url := config.reward.judge_url) is not None:
        key = os.environ.get("CASCADE_JUDGE_API_KEY", "")
        found["judge"] = JudgeEndpoint(url, config.reward.judge_model, api_key=key)
    if config.reward.model_url is not None:
        found["reward_model"] = RemoteScorer(config.reward.model_url)
    return found


def check_reward_model(config: StageConfig, problems: Sequence[Problem], there: bool) -> None:
    """Refuse a stage that a reward model rewards and that has none."""
    preferred = config.reward_kind in ("preference", "gated_if") or (
        config.reward_kind == "auto" and any(p.domain == "chat" for p in problems)
    )
    if preferred and not there:
        raise ConfigError(
            f"stage {config.name} is rewarded by a reward model and has none",
            hint="name a reward_model stage:  inputs: {reward_model: NAME}",
        )


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
