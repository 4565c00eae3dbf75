"""Signals of a whole update batch to rewards: the recipe's formulas, nothing stateful.

P problems, G completions of each. None is *not judged*: it stays None through every formula and
never becomes a zero. A truncated completion scores 0 under `overlong: zero`, whatever it says,
except where a reward model judges it (RLHF sees the unfinished text), and never more than its
verdict: an unparsable patch is -1 also when it has no end, or not ending would pay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev
from typing import Literal

from cascade_rl.chat import ANSWERED_AFTER_THOUGHT, THINK_CLOSE
from cascade_rl.types import Group, Signals

VERSION = "3"
"""Part of every RL stage's key. Raise it when the same signals would give other rewards."""

RewardKind = Literal["auto", "verifier", "preference", "gated_if", "swe"]
Rewards = list[float | None]

LARGEST_SCORE = 1e300
LANGUAGE_MARGIN = 10.0
"""How far below the batch's lowest unpenalised score RLHF puts a mixed-language answer."""
LANGUAGE_SCORE = {"math": -1.0, "code": 0.0, "instruction_following": 0.0, "swe": 0.0}
"""What a mixed-language completion gets elsewhere (Nemotron-Cascade, sections 4.2 to 4.7)."""


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """How a stage turns signals into rewards; `auto` follows each row's domain."""

    kind: RewardKind = "auto"
    shaping: Literal["none", "tanh"] = "none"
    swe_similarity: Literal["judge", "lexical", "hybrid"] = "judge"
    swe_hybrid_weight: float = 0.5
    """Share of the judge in `hybrid`; the rest is lexical similarity."""
    swe_floor: float = 0.0
    """Partial SWE scores below this become 0 (0.5 in the paper's ablation)."""
    language_penalty: bool = True
    overlong: Literal["zero", "mask_loss", "exclude"] = "zero"


def rewards_of(
    spec: RewardSpec, groups_P: Sequence[Group], signals_PG: Sequence[Sequence[Signals]]
) -> list[Rewards]:
    """Rewards [P][G] of one update batch; None where a completion is not judged."""
    kinds_P = [_kind(spec, group) for group in groups_P]
    rewards_PG = [
        _group_rewards(spec, kind, group, signals_G)
        for kind, group, signals_G in zip(kinds_P, groups_P, signals_PG, strict=True)
    ]
    if spec.language_penalty:
        rewards_PG = _language_penalty(kinds_P, groups_P, signals_PG, rewards_PG)
    if spec.shaping == "tanh":
        rewards_PG = [tanh_shaping(rewards_G) for rewards_G in rewards_PG]
    return rewards_PG


def _kind(spec: RewardSpec, group: Group) -> RewardKind:
    if spec.kind != "auto":
        return spec.kind
    if group.problem.domain == "chat":
        return "preference"
    return "swe" if group.problem.domain == "swe" else "verifier"


def _group_rewards(
    spec: RewardSpec, kind: RewardKind, group: Group, signals_G: Sequence[Signals]
) -> Rewards:
    if kind == "preference":
        return [preference_reward(signals) for signals in signals_G]
    if kind == "gated_if":
        rewards_G = gated_if_reward(signals_G)
    elif kind == "swe":
        rewards_G = [swe_reward(signals, spec) for signals in signals_G]
    else:
        rewards_G = [verifier_reward(signals) for signals in signals_G]
    return [
        min(reward, 0.0)  # never more than the verdict: 0 instead of -1 would pay for not ending
        if reward is not None and _no_answer(spec, group, signals, text.text)
        else reward
        for reward, signals, text in zip(rewards_G, signals_G, group.completions_G, strict=True)
    ]


def _no_answer(spec: RewardSpec, group: Group, signals: Signals, text: str) -> bool:
    """Truncated under `zero`, or a thinking completion whose thought never ends."""
    if signals.truncated and spec.overlong == "zero":
        return True
    thinks = group.mode == "think" and group.problem.domain in ANSWERED_AFTER_THOUGHT
    return thinks and THINK_CLOSE not in text


# --- one completion, or one group -------------------------------------------------------------


def finite(value: float | None) -> float | None:
    """The value, or None where it is missing, nan or infinite: a score nobody gave.

    So is a number that no sum over a batch could hold.
    """
    return value if value is not None and abs(value) <= LARGEST_SCORE else None


def verifier_reward(signals: Signals) -> float | None:
    """The verdict's score."""
    return None if signals.verdict is None else finite(signals.verdict.score)


def preference_reward(signals: Signals) -> float | None:
    """RLHF: the reward model's score (Nemotron-Cascade, section 4.3)."""
    return finite(signals.preference)


def gated_if_reward(signals_G: Sequence[Signals]) -> Rewards:
    """R_IF + sigmoid(z(RM)) where R_IF is 1, else 0 (section 4.4).

    z over all completions of the group that have a score, with the population deviation; no
    deviation gives 0.5. A followed instruction without a preference is not judged.
    """
    scores_G = [preference_reward(signals) for signals in signals_G]
    judged = [score for score in scores_G if score is not None]
    mean = fmean(judged) if judged else 0.0
    deviation = pstdev(judged) if judged else 0.0
    rewards_G: Rewards = []
    for signals, score in zip(signals_G, scores_G, strict=True):
        followed = signals.outcome
        if followed is None or (followed and score is None):
            rewards_G.append(None)
        elif not followed or score is None:
            rewards_G.append(0.0)
        else:
            z = (score - mean) / deviation if deviation > 0 else 0.0
            rewards_G.append(1.0 + _sigmoid(z))
    return rewards_G


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def swe_reward(signals: Signals, spec: RewardSpec) -> float | None:
    """-1, 1 and 0 as the verifier decided; `partial` is the judge's, the lexical, or a mix.

    Where there is no judge (`judge` is None) it is the lexical similarity; where the judge
    failed (nan, or what is no probability) the edit is not judged, whatever is lexical beside it
    (Nemotron-Cascade, equation 2).
    """
    verdict = signals.verdict
    if verdict is None or verdict.status != "partial" or verdict.score is None:
        return verifier_reward(signals)
    score = verdict.score
    if spec.swe_similarity != "lexical" and signals.judge is not None:
        if not 0.0 <= signals.judge <= 1.0:  # nor where it is nan
            return None
        weight = 1.0 if spec.swe_similarity == "judge" else spec.swe_hybrid_weight
        score = weight * signals.judge + (1 - weight) * score
    return 0.0 if score < spec.swe_floor else score


def tanh_shaping(rewards_G: Sequence[float | None]) -> Rewards:
    """tanh((r - mean) / std) over the judged completions of a group (section 6.3).

    The sample deviation, as in the advantage; an all-equal group gives 0.
    """
    judged = [reward for reward in rewards_G if reward is not None]
    if len(judged) < 2 or (deviation := stdev(judged)) == 0.0:
        return [None if reward is None else 0.0 for reward in rewards_G]
    mean = fmean(judged)
    return [None if r is None else math.tanh((r - mean) / deviation) for r in rewards_G]


# --- over the batch ---------------------------------------------------------------------------


def _language_penalty(
    kinds_P: Sequence[RewardKind],
    groups_P: Sequence[Group],
    signals_PG: Sequence[Sequence[Signals]],
    rewards_PG: Sequence[Rewards],
) -> list[Rewards]:
    """Mixed language: 10 under the batch's lowest unpenalised score (RLHF), or a fixed score."""
    unpenalised = [
        reward
        for kind, signals_G, rewards_G in zip(kinds_P, signals_PG, rewards_PG, strict=True)
        for signals, reward in zip(signals_G, rewards_G, strict=True)
        if kind == "preference" and reward is not None and not signals.mixed_language
    ]
    lowest = min(unpenalised, default=0.0) - LANGUAGE_MARGIN
    penalised_PG = []
    for kind, group, signals_G, rewards_G in zip(
        kinds_P, groups_P, signals_PG, rewards_PG, strict=True
    ):
        fixed = LANGUAGE_SCORE.get(group.problem.domain, 0.0)
        penalty = lowest if kind == "preference" else fixed
        penalised_PG.append(
            [
                _penalised(reward, penalty, signals.mixed_language)
                for signals, reward in zip(signals_G, rewards_G, strict=True)
            ]
        )
    return penalised_PG


def _penalised(reward: float | None, penalty: float, mixed: bool) -> float | None:
    """A penalty never raises a reward: an unparsable patch keeps its -1."""
    return min(reward, penalty) if mixed and reward is not None else reward
