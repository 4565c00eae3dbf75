"""A batch of the TransferQueue as groups, and their rewards as the local engine gives them.

The rule: rows come in verl's order, padded by verl; groups are ours, in the order they were drawn.

Axis suffixes: R rows, G completions of one problem, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from torch import Tensor

from cascade_rl.config import StageConfig
from cascade_rl.engines.local.judging import journal_key, reward_spec, signals_of
from cascade_rl.engines.local.rollout import LearningGroup, learning_group
from cascade_rl.engines.verl.advantages import Place
from cascade_rl.engines.verl.job import Rows
from cascade_rl.rewards import rewards_of
from cascade_rl.types import Completion, Group, Mode, Scorer, Verdict

SAMPLED = [
    "uid", "problem_id", "mode", "index", "session_id", "prompts", "responses",
    "rollout_log_probs", "extra_fields",
]  # fmt: skip
UPDATED = ["uid", "session_id", "response_mask", "old_log_probs", "rollout_log_probs"]


@dataclass(frozen=True, slots=True)
class Collected:
    """A round's groups, as drawn, with verl's name of each and what the reward workers found."""

    groups: list[Group]
    uids: list[str]
    prompts: list[tuple[int, ...]]
    verdicts: dict[Place, Verdict]
    mixed: dict[Place, bool]

    @property
    def count(self) -> int:
        """Completions that came back."""
        return sum(len(group.completions_G) for group in self.groups)


@dataclass(frozen=True, slots=True)
class UpdateRows:
    """The rows of an update: the place of each, None for those that no admitted group has."""

    places_R: list[Place | None]
    masks_RT: list[Tensor]
    old_RT: list[Tensor]
    sampled_RT: list[Tensor]


def collect(found: Any, rows: Rows) -> Collected:
    """Put the rows of a generation round together again. `found` has verl's `SAMPLED`."""
    columns: dict[str, list[Any]] = {name: _column(found[name]) for name in SAMPLED}
    count = len(columns["uid"])
    drawn = {(columns["index"][r], columns["uid"][r]) for r in range(count)}
    order = {uid: i for i, (_, uid) in enumerate(sorted(drawn))}
    members: list[list[int]] = [[] for _ in order]
    for r in sorted(range(count), key=lambda r: int(columns["session_id"][r])):
        members[order[columns["uid"][r]]].append(r)
    places = {r: (i, j) for i, rows_G in enumerate(members) for j, r in enumerate(rows_G)}
    groups = [_group(columns, rows_G, rows) for rows_G in members]
    prompts = [tuple(columns["prompts"][rows_G[0]].tolist()) for rows_G in members]
    signals = {p: columns["extra_fields"][r]["reward_extra_info"] for r, p in places.items()}
    return Collected(
        groups=groups,
        uids=list(order),
        prompts=prompts,
        verdicts={p: Verdict(**s["verdict"]) for p, s in signals.items() if s["verdict"]},
        mixed={p: bool(s["mixed_language"]) for p, s in signals.items()},
    )


def update_rows(batch: Any, found: Any, uids: Sequence[str]) -> UpdateRows:
    """The rows of a batch with its `UPDATED` fields; `uids` name the admitted groups in order."""
    columns: dict[str, list[Any]] = {name: _column(found[name]) for name in UPDATED}
    order = {uid: i for i, uid in enumerate(uids)}
    places: list[Place | None] = []
    for r, tag in enumerate(batch.tags):
        uid = columns["uid"][r]
        real = uid in order and not tag.get("is_padding", False)
        places.append((order[uid], int(columns["session_id"][r])) if real else None)
    return UpdateRows(
        places_R=places,
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
    """Rewards and advantages of a whole round."""
    spec, groups = reward_spec(config), collected.groups
    signals = signals_of(spec, scorers, groups, collected.verdicts, collected.mixed)
    rewards = rewards_of(spec, groups, signals)
    return [
        learning_group(config, group, prompt, signals_G, rewards_G)
        for group, prompt, signals_G, rewards_G in zip(
            groups, collected.prompts, signals, rewards, strict=True
        )
    ]


def journal_of(config: StageConfig, collected: Collected) -> dict[str, dict[str, Any]]:
    """The round's verdicts as they are journaled: fields by key."""
    found = {}
    for (i, j), verdict in collected.verdicts.items():
        group = collected.groups[i]
        text = group.completions_G[j].text
        key = journal_key(group.problem, text, config.verifier_options)
        found[key] = asdict(verdict)
    return found


def _column(values: Any) -> list[Any]:
    """One item a row, of a tensor dense or nested, or of what is no tensor."""
    if isinstance(values, Tensor):
        items = list(values.unbind())
        return [item.item() if item.dim() == 0 else item for item in items]
    return [getattr(item, "data", item) for item in values]
