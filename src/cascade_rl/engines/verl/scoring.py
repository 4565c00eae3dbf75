"""A batch of the TransferQueue as groups, and their rewards as the local engine gives them.

The rule: rows come in verl's order, padded by verl; groups are ours, in the order they were drawn.

Axis suffixes: R rows, G completions of one problem, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from cascade_rl.config import StageConfig
from cascade_rl.engines.local.judging import reward_spec, signals_of
from cascade_rl.engines.local.rollout import LearningGroup, learning_group
from cascade_rl.engines.verl.advantages import Place
from cascade_rl.engines.verl.job import Rows
from cascade_rl.rewards import rewards_of
from cascade_rl.types import Completion, Group, Mode, Scorer, Verdict

FIELDS = [
    "uid", "problem_id", "mode", "index", "session_id", "prompts", "responses", "response_mask",
    "old_log_probs", "rollout_log_probs", "extra_fields",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Collected:
    """A batch's groups with what the reward workers found, and the place of each of its rows.

    `places_R` is None for the rows that verl pads a batch with.
    """

    groups: list[Group]
    prompts: list[tuple[int, ...]]
    verdicts: dict[Place, Verdict]
    mixed: dict[Place, bool]
    places_R: list[Place | None]
    masks_RT: list[Tensor]
    old_RT: list[Tensor]
    sampled_RT: list[Tensor]

    @property
    def count(self) -> int:
        """Completions that came back."""
        return sum(place is not None for place in self.places_R)


def collect(batch: Any, found: Any, rows: Rows) -> Collected:
    """Put the rows of a batch together again. `batch` has verl's tags, `found` its `FIELDS`."""
    real = [not tag.get("is_padding", False) for tag in batch.tags]
    columns: dict[str, list[Any]] = {name: _column(found[name]) for name in FIELDS}
    drawn = {
        (columns["index"][r], columns["uid"][r]): r for r in range(len(real)) if real[r]
    }  # one row of each prompt
    order = {uid: i for i, (_, uid) in enumerate(sorted(drawn))}
    members: list[list[int]] = [[] for _ in order]
    for r in sorted(range(len(real)), key=lambda r: int(columns["session_id"][r])):
        if real[r]:
            members[order[columns["uid"][r]]].append(r)
    places = {r: (i, j) for i, rows_G in enumerate(members) for j, r in enumerate(rows_G)}
    groups = [_group(columns, rows_G, rows) for rows_G in members]
    prompts = [tuple(columns["prompts"][rows_G[0]].tolist()) for rows_G in members]
    signals = {p: columns["extra_fields"][r]["reward_extra_info"] for r, p in places.items()}
    return Collected(
        groups=groups,
        prompts=prompts,
        verdicts={p: Verdict(**s["verdict"]) for p, s in signals.items() if s["verdict"]},
        mixed={p: bool(s["mixed_language"]) for p, s in signals.items()},
        places_R=[places.get(r) for r in range(len(real))],
        masks_RT=columns["response_mask"],
        old_RT=columns["old_log_probs"],
        sampled_RT=columns["rollout_log_probs"],
    )


def _group(columns: Mapping[str, Sequence[Any]], rows_G: Sequence[int], rows: Rows) -> Group:
    first = rows_G[0]
    mode = cast("Mode | None", columns["mode"][first] or None)
    completions = []
    for r in rows_G:
        logprobs = tuple(columns["rollout_log_probs"][r].tolist())
        extra = columns["extra_fields"][r]
        sampled = tuple(extra.get("sampled_logprobs", logprobs))
        ids = tuple(columns["responses"][r].tolist())
        completions.append(Completion(extra["text"], ids, logprobs, sampled, extra["finish"]))
    return Group(rows[columns["problem_id"][first]], mode, tuple(completions))


def score(
    config: StageConfig, scorers: Mapping[str, Scorer], collected: Collected
) -> list[LearningGroup]:
    """Rewards and advantages of the whole batch."""
    spec, groups = reward_spec(config), collected.groups
    signals = signals_of(spec, scorers, groups, collected.verdicts, collected.mixed)
    rewards = rewards_of(spec, groups, signals)
    return [
        learning_group(config, group, prompt, signals_G, rewards_G)
        for group, prompt, signals_G, rewards_G in zip(
            groups, collected.prompts, signals, rewards, strict=True
        )
    ]


def _column(values: Any) -> list[Any]:
    """One item a row, of a tensor dense or nested, or of what is no tensor."""
    if isinstance(values, Tensor):
        items = list(values.unbind())
        return [item.item() if item.dim() == 0 else item for item in items]
    return [getattr(item, "data", item) for item in values]
