from __future__ import annotations

import json

import pytest

from cascade_rl.config import EntropyAlarmConfig, UntilConfig
from cascade_rl.engines.local.watch import State, entropy_alarm, is_over


def ends_at(until: UntilConfig, values: list[float]) -> int | None:
    """The step at which a stage with these values ends, its state going through JSON each step."""
    state: State = {}
    for step, value in enumerate(values, 1):
        if is_over(state, until, step, {until.metric: value}):
            return step
        state = json.loads(json.dumps(state))
    return None


@pytest.mark.parametrize(
    ("limits", "values", "step"),
    [
        ({"below": 0.1}, [0.5, 0.05, 0.05, 0.05], 3),
        ({"below": 0.1}, [0.0, 0.0, 0.5, 0.5], 2),
        ({"below": 0.1, "min_steps": 4}, [0.0, 0.0, 0.0, 0.0], 4),
        ({"above": 0.9}, [0.0, 1.0, 0.9, 0.95], 3),
        ({"above": 0.9}, [0.0, 0.5, 0.6], None),
        ({"plateau": 0.02}, [0.1, 0.2, 0.3, 0.4, 0.41, 0.405, 0.41], 7),
        ({"plateau": 0.02}, [0.1, 0.2, 0.3, 0.4, 0.5], None),
        ({"plateau": 0.0}, [0.5, 0.5, 0.4, 0.4], 4),
    ],
)
def test_a_stage_ends_when_its_condition_holds(
    limits: dict[str, float], values: list[float], step: int | None
) -> None:
    given = {"metric": "reward/mean", "min_steps": 1, "window": 2} | limits
    assert ends_at(UntilConfig(**given), values) == step  # type: ignore[arg-type]


def alarms(values: list[float]) -> list[tuple[int, str]]:
    state: State = {}
    found = []
    for step, value in enumerate(values, 1):
        message = entropy_alarm(state, EntropyAlarmConfig(window=2), value)
        if message:
            found.append((step, message.split(":")[0]))
        state = json.loads(json.dumps(state))
    return found


def test_a_collapse_and_an_explosion_are_said_once_each_time_they_begin() -> None:
    assert alarms([1.0, 1.0, 0.5, 0.2]) == []
    assert alarms([1.0, 1.0, 0.05, 0.05, 0.01]) == [(4, "entropy has collapsed")]
    assert alarms([1.0, 1.0, 4.0, 4.0, 9.0]) == [(4, "entropy has exploded")]
    back = [1.0, 1.0, 0.05, 0.05, 1.0, 1.0, 0.05, 0.05]
    assert [step for step, _ in alarms(back)] == [4, 8]
