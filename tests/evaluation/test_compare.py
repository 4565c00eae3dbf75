"""The parent's best setting is chosen where it is not measured."""

from __future__ import annotations

from cascade_rl.evaluation.compare import Model, Settings, best_setting, compare
from tests.evaluation.helpers import samples


def _model(t1: float, greedy: float, problems: int = 30) -> Settings:
    rows = [[t1] * 4 for _ in range(problems)]
    return {"T1": samples(rows, [greedy] * problems)}


def test_greedy_is_a_setting_of_its_own() -> None:
    assert best_setting(_model(0.5, 0.7)) == "greedy"
    assert best_setting(_model(0.7, 0.5)) == "T1"


def test_a_child_that_is_only_sharper_than_its_parent_is_not_better() -> None:
    parent = Model(val=_model(0.5, 0.8), test=_model(0.5, 0.8))
    child = Model(val=_model(0.8, 0.8), test=_model(0.8, 0.8))
    found = compare([(child, parent)])
    assert found.parent_settings == ("greedy",)
    assert found.interval.change == 0.0
    assert not found.better


def test_the_setting_comes_from_val_and_the_interval_from_test() -> None:
    parent = Model(val=_model(0.6, 0.2), test=_model(0.25, 0.9))
    child = Model(val=_model(0.7, 0.1), test=_model(0.5, 0.1))
    found = compare([(child, parent), (child, parent)])
    assert found.child_settings == ("T1", "T1")
    assert (found.parent, found.child) == (0.25, 0.5)
    assert found.better
