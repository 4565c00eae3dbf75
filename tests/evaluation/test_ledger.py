"""The ledger: what it says of gains, forgetting, protocols and several runs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from cascade_rl.errors import DataError, EvaluationError
from cascade_rl.evaluation.ledger import (
    Evaluated,
    StageScores,
    build_ledger,
    drops,
    forgotten,
    pool,
    tabulate,
)
from cascade_rl.types import Sample, Signals, unjudged
from tests.evaluation.helpers import chain, evaluated, samples


def test_ledger_holds_mean_greedy_pass_and_change_of_every_stage() -> None:
    ledger = build_ledger(
        chain(
            {"math": evaluated([0, 2, 4, 0], greedy_P=[0, 1, 1, 0])},
            {"math": evaluated([4, 4, 4, 0], greedy_P=[1, 1, 1, 0])},
        )
    )
    start, child = (row["scores"]["math"] for row in ledger["stages"])
    assert (start["mean"], start["greedy"], start["pass"]) == (0.375, 0.5, 0.5)
    assert (start["n"], start["k"], start["change"]) == (4, 4, None)
    assert (child["mean"], child["greedy"], child["pass"]) == (0.75, 0.75, 0.75)
    assert child["change"] == 0.375
    assert child["low"] is not None and child["high"] is not None
    assert child["low"] < 0.375 < child["high"]


def test_ledger_is_json_and_names_the_start_model_first() -> None:
    ledger = build_ledger(chain({"math": evaluated([1])}, {"math": evaluated([2])}))
    assert json.loads(json.dumps(ledger)) == ledger
    assert [row["name"] for row in ledger["stages"]] == ["start", "s1"]


def test_scores_of_different_protocols_are_never_subtracted() -> None:
    ledger = build_ledger(
        chain({"math": evaluated([1, 2])}, {"math": evaluated([4, 4], protocol="b")})
    )
    child = ledger["stages"][1]["scores"]["math"]
    assert child["change"] is None and child["low"] is None and child["best_stage"] is None
    assert child["reason"] == "protocols differ: start a, s1 b"


def test_solved_problems_of_different_k_are_counted_at_the_smaller_one() -> None:
    few = {"math": Evaluated("a", samples([[1, 0]] * 4))}
    many = {"math": Evaluated("a", samples([[1, 0, 0, 0]] * 4))}
    child = build_ledger(chain(few, many))["stages"][1]["scores"]["math"]
    assert child["pass_change"] == pytest.approx(-0.5)  # pass@2: 1 before, 1/2 now


def test_a_stage_that_is_its_own_parent_ends() -> None:
    start, child = chain({"math": evaluated([1])}, {"math": evaluated([2])})
    itself = dataclasses.replace(child, parent_key=child.key)
    assert build_ledger([start, itself])["stages"][1]["scores"]["math"]["change"] == 0.0


def test_change_is_against_the_parent_and_not_the_stage_before() -> None:
    start, first, second = chain(
        {"math": evaluated([1] * 8)}, {"math": evaluated([2] * 8)}, {"math": evaluated([3] * 8)}
    )
    branch = dataclasses.replace(second, parent_key=start.key)
    score = build_ledger([start, first, branch])["stages"][2]["scores"]["math"]
    assert score["change"] == 0.5
    assert score["best_stage"] == "start"


def test_slow_forgetting_shows_against_the_best_stage() -> None:
    problems = 64
    fall = [evaluated([4] * problems), *(evaluated([4 - i] * problems) for i in (1, 2))]
    ledger = build_ledger(chain(*({"math": e} for e in fall)))
    [first, second] = forgotten(ledger, max_drop=0.1)
    assert (first.stage, second.stage, second.since) == ("s1", "s2", "start")
    assert second.change == -0.5
    assert forgotten(ledger, max_drop=0.6) == []


def test_a_fall_that_may_be_chance_is_not_called_forgetting() -> None:
    ledger = build_ledger(
        chain({"math": evaluated([4, 0, 4, 0])}, {"math": evaluated([0, 4, 0, 0])})
    )
    assert ledger["stages"][1]["scores"]["math"]["change"] == -0.25
    assert forgotten(ledger, max_drop=0.1) == []


def test_gate_sees_only_the_benchmarks_it_names() -> None:
    ledger = build_ledger(
        chain(
            {"math": evaluated([4] * 9), "code": evaluated([4] * 9)},
            {"math": evaluated([0] * 9), "code": evaluated([0] * 9)},
        )
    )
    assert [d.benchmark for d in drops(ledger, "s1", 0.1)] == ["math", "code"]
    assert [d.benchmark for d in drops(ledger, "s1", 0.1, ["code"])] == ["code"]


def test_pooled_ledger_averages_runs_and_gives_their_deviation() -> None:
    runs = [
        chain({"m": evaluated([0] * 8)}, {"m": evaluated([rights] * 8)}, run=str(rights))
        for rights in (1, 2, 3)
    ]
    score = pool(runs)["stages"][1]["scores"]["m"]
    assert score["mean"] == 0.5
    assert score["deviation"] == pytest.approx(0.25)
    assert score["stderr"] == pytest.approx(0.25 / 3**0.5)
    assert score["low"] is not None and score["high"] is not None
    assert score["low"] < 0.5 < score["high"]


def test_runs_of_different_protocols_are_not_pooled() -> None:
    runs = [chain({"m": evaluated([1], protocol=p)}) for p in ("a", "b")]
    with pytest.raises(DataError, match="different protocols"):
        pool(runs)


def test_runs_without_a_common_stage_are_not_pooled() -> None:
    one = [StageScores("a", "k", None, {})]
    other = [StageScores("b", "k", None, {})]
    with pytest.raises(DataError, match="no stage in common"):
        pool([one, other])


def test_greedy_only_protocol_has_no_pass_and_the_greedy_score_as_mean() -> None:
    only = Evaluated("a", samples([[], []], greedy_P=[1, 0]))
    score = build_ledger(chain({"m": only}))["stages"][0]["scores"]["m"]
    assert (score["mean"], score["greedy"], score["pass"], score["k"]) == (0.5, 0.5, None, 0)


def test_samples_of_an_incomplete_evaluation_are_refused() -> None:
    with pytest.raises(DataError, match="not complete"):
        tabulate(samples([[1.0, 0.0], [1.0]]))


def test_an_unjudged_sample_fails_the_evaluation_instead_of_counting_as_wrong() -> None:
    unknown = Sample("p0", 0, "", "stop", 1, Signals(unjudged("infra", "worker died")))
    with pytest.raises(EvaluationError, match="infra: worker died"):
        tabulate([unknown])
