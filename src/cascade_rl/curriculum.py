"""Which problems come next, and in which mode: a pure state machine every engine steps.

The rule: nothing here draws from a generator. Every order and every resampling is a hash of
(seed, epoch, problem), so a state restored from JSON goes on exactly as the one that was saved.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cascade_rl.config import FilterConfig, ModeShares
from cascade_rl.errors import DataError
from cascade_rl.types import Mode

VERSION = "1"
"""Part of every stage's key. Raise it when the same seed would give other batches."""

Difficulty = Literal["hard", "easy"]
Draw = tuple[str, Mode | None]


@dataclass(frozen=True, slots=True)
class CurriculumState:
    """Where an RL stage stands in its problems.

    `order` holds the ids of the running epoch and `position` how many were drawn; `dropped`
    the problems that taught nothing when last seen. `flagged` counts the prompts that got a
    mode from the shares, so that shares hold exactly over any run of batches.
    """

    problem_ids: tuple[str, ...]
    fixed_modes: Mapping[str, Mode]
    filter: FilterConfig
    shares: ModeShares
    seed: int
    epoch: int = 0
    order: tuple[str, ...] = ()
    position: int = 0
    batches: int = 0
    flagged: int = 0
    dropped: Mapping[str, Difficulty] = dataclasses.field(default_factory=dict)


def start(
    problem_ids: Sequence[str],
    filter_config: FilterConfig,
    shares: ModeShares,
    seed: int,
    fixed_modes: Mapping[str, Mode] | None = None,
) -> CurriculumState:
    """The state before the first batch. Problems in `fixed_modes` keep that mode."""
    if not problem_ids:
        raise DataError("the stage has no problems; expected at least one row")
    if len(set(problem_ids)) < len(problem_ids):
        twice = next(p for p in problem_ids if problem_ids.count(p) > 1)
        raise DataError(f"problem id {twice!r} occurs twice; ids must differ")
    state = CurriculumState(
        tuple(problem_ids), dict(fixed_modes or {}), filter_config, shares, seed
    )
    return replace(state, order=_epoch_order(state))


def next_batch(state: CurriculumState, count: int) -> tuple[CurriculumState, list[Draw]]:
    """The next `count` problems with their modes, and the state after them.

    No problem is twice in a batch unless an epoch has fewer problems than the batch.
    """
    ids: list[str] = []
    while len(ids) < count:
        if state.position == len(state.order):
            state = replace(state, epoch=state.epoch + 1, position=0)
            state = replace(state, order=_without_early_repeats(_epoch_order(state), ids))
        take = state.order[state.position : state.position + count - len(ids)]
        state = replace(state, position=state.position + len(take))
        ids += take
    free = [i for i, problem in enumerate(ids) if problem not in state.fixed_modes]
    think = _think_places(state, free)
    draws = [
        (problem, state.fixed_modes.get(problem) or _mode(state.shares, i in think))
        for i, problem in enumerate(ids)
    ]
    return replace(state, batches=state.batches + 1, flagged=state.flagged + len(free)), draws


def observe(
    state: CurriculumState, outcomes: Mapping[str, Sequence[bool | None]]
) -> CurriculumState:
    """The state after seeing outcomes of completions: [G] per problem, None where not judged.

    With `epoch` filtering a problem all right is easy, all wrong hard (Nemotron-Cascade,
    section 4.5); both are left out of coming epochs but for their share of resampling, until
    they are seen mixed again. Problems nobody judged keep their place.
    """
    if state.filter.kind != "epoch":
        return state
    dropped = dict(state.dropped)
    for problem, outcomes_G in outcomes.items():
        judged = [outcome for outcome in outcomes_G if outcome is not None]
        if not judged:
            continue
        dropped.pop(problem, None)
        if all(judged):
            dropped[problem] = "easy"
        elif not any(judged):
            dropped[problem] = "hard"
    return replace(state, dropped=dropped)


def _epoch_order(state: CurriculumState) -> tuple[str, ...]:
    """The epoch's problems in keyed order; all of them where filtering would leave none."""
    chance = {"hard": state.filter.hard_resample, "easy": state.filter.easy_resample}
    kept = [
        problem
        for problem in state.problem_ids
        if problem not in state.dropped
        or _uniform(state.seed, "keep", state.epoch, problem) < chance[state.dropped[problem]]
    ]
    return tuple(
        sorted(
            kept or state.problem_ids,
            key=lambda problem: _uniform(state.seed, "order", state.epoch, problem),
        )
    )


def _without_early_repeats(order: tuple[str, ...], seen: Sequence[str]) -> tuple[str, ...]:
    """Problems already in the batch that straddles two epochs go to the new epoch's end."""
    late = set(seen)
    return (*(p for p in order if p not in late), *(p for p in order if p in late))


def _think_places(state: CurriculumState, free: Sequence[int]) -> set[int]:
    """Which of the free places think: an exact share, the odd one alternating over batches."""
    before = math.floor(state.flagged * state.shares.think + 1e-9)
    after = math.floor((state.flagged + len(free)) * state.shares.think + 1e-9)
    shuffled = sorted(free, key=lambda i: _uniform(state.seed, "mode", state.batches, i))
    return set(shuffled[: after - before])


def _mode(shares: ModeShares, thinks: bool) -> Mode | None:
    if thinks:
        return "think"
    return "no_think" if shares.no_think else None


def _uniform(*parts: object) -> float:
    text = "|".join(map(str, parts))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


# --- in every checkpoint ----------------------------------------------------------------------


def to_json(state: CurriculumState) -> dict[str, Any]:
    """Plain JSON values; `from_json` gives back an equal state."""
    values = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return values | {
        "filter": state.filter.model_dump(mode="json"),
        "shares": state.shares.model_dump(mode="json"),
        "problem_ids": list(state.problem_ids),
        "order": list(state.order),
    }


def from_json(values: Mapping[str, Any]) -> CurriculumState:
    """The state that `to_json` wrote."""
    return CurriculumState(
        **{
            **values,
            "filter": FilterConfig(**values["filter"]),
            "shares": ModeShares(**values["shares"]),
            "problem_ids": tuple(values["problem_ids"]),
            "order": tuple(values["order"]),
        }
    )


def carried(old: CurriculumState, fresh: CurriculumState) -> CurriculumState:
    """What a later stage of one family goes on with.

    The same problems: the old place and what is known of each, under the new stage's filter,
    shares and seed. Other problems: the fresh state, without what was dropped and is still here.
    """
    known = {p: d for p, d in old.dropped.items() if p in set(fresh.problem_ids)}
    if set(old.problem_ids) == set(fresh.problem_ids):
        return replace(
            fresh, epoch=old.epoch, order=old.order, position=old.position, dropped=known
        )
    return replace(fresh, dropped=known)
