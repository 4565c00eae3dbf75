"""What the metrics of a stage end, and what they warn of.

The rule: everything remembered is JSON in the loop's state, so a stage that is killed and
continued ends at the same step and warns once.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from cascade_rl.config import EntropyAlarmConfig, UntilConfig

State = dict[str, Any]


def is_over(state: State, until: UntilConfig, step: int, metrics: Mapping[str, Any]) -> bool:
    """Whether the stage ends after this step."""
    length = until.window if until.plateau is None else 2 * until.window
    seen = state["until"] = [*state.get("until", []), metrics[until.metric]][-length:]
    if step < until.min_steps or len(seen) < length:
        return False
    mean = fmean(seen[-until.window :])
    if until.plateau is not None:
        return mean - fmean(seen[: until.window]) < until.plateau
    if until.below is not None:
        return mean < until.below
    assert until.above is not None
    return mean > until.above


def entropy_alarm(state: State, alarm: EntropyAlarmConfig, entropy: float) -> str:
    """A sentence where the entropy has just left its bounds, else an empty string.

    It warns again only after the entropy has been back.
    """
    kept = state.setdefault("entropy", {"first": [], "last": [], "warned": ""})
    if len(kept["first"]) < alarm.window:
        kept["first"].append(entropy)
    kept["last"] = [*kept["last"], entropy][-alarm.window :]
    if len(kept["last"]) < alarm.window:
        return ""
    first, now = fmean(kept["first"]), fmean(kept["last"])
    found = "collapsed" if now < alarm.collapse * first else ""
    found = "exploded" if now > alarm.explosion * first else found
    before, kept["warned"] = kept["warned"], found
    if not found or found == before:
        return ""
    return (
        f"entropy has {found}: {now:.3g} nats a token over the last {alarm.window} steps, "
        f"{first:.3g} over the first {alarm.window}; a lower learning rate or fewer "
        "updates_per_batch keep it"
    )
