"""Verdicts that others recorded, and every row of both benchmarks, under both policies.

`docs/verifiers.md` explains each disagreement that is listed here, by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.types import Constraints, Problem
from cascade_rl.verifiers.instructions import check_instructions, verify_instructions

Find = Callable[[str], Path]
IFEVAL = "if/mifeval_en_model_verdicts.jsonl"
IFBENCH = "if/ifbench_sample_verdicts.jsonl"
EXPLAINED = {
    IFEVAL: {
        (282, "keywords:letter_frequency"),
        (553, "keywords:letter_frequency"),
        (555, "keywords:letter_frequency"),
        (1074, "keywords:letter_frequency"),
        (780, "change_case:english_capital"),
        (792, "change_case:english_capital"),
    },
    IFBENCH: {(122, "words:odd_even_syllables"), (138, "words:start_verb")},
}
"""(row from 0, instruction) where a recorded verdict, strict or loose, is not reproduced."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


def constraints(row: dict[str, Any]) -> Constraints:
    return Constraints(tuple(row["instruction_id_list"]), tuple(row["kwargs"]))


def with_kwargs(row: dict[str, Any], by_prompt: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Four recorded rows lost their arguments: they are those of the same prompt, or none."""
    if row["kwargs"] is None:
        row["kwargs"] = by_prompt.get(row["prompt"].strip(), {"kwargs": [{}]})["kwargs"]
    return row


def disagreements(
    recorded: list[dict[str, Any]], loose: bool
) -> tuple[float, set[tuple[int, str]]]:
    """(share of instructions decided as recorded, where they are not)."""
    total, found = 0, []
    for index, row in enumerate(recorded):
        held = check_instructions(constraints(row), row["response"], policy="official", loose=loose)
        expected = row["loose" if loose else "strict"]
        total += len(held)
        found += [
            (index, name)
            for name, ours, theirs in zip(row["instruction_id_list"], held, expected, strict=True)
            if ours != theirs
        ]
    return 1 - len(found) / total, set(found)


@pytest.fixture(scope="module")
def ifbench(shared_data: Find) -> list[dict[str, Any]]:
    by_prompt = {row["prompt"].strip(): row for row in rows(shared_data("if/ifbench_test.jsonl"))}
    return [with_kwargs(row, by_prompt) for row in rows(shared_data(IFBENCH))]


@pytest.mark.parametrize(("loose", "at_least"), [(False, 0.999), (True, 0.998)])
def test_ifeval_is_decided_as_its_official_checkers_did(
    loose: bool, at_least: float, shared_data: Find
) -> None:
    share, where = disagreements([*rows(shared_data(IFEVAL))], loose)
    assert share >= at_least
    assert where <= EXPLAINED[IFEVAL]


@pytest.mark.parametrize("loose", [False, True])
def test_each_recorded_models_prompt_level_accuracy_is_reproduced(
    loose: bool, shared_data: Find
) -> None:
    """Within 0.3 points, but for rows that the official checker decides by chance: of these a
    recorded verdict is one draw, and each is 0.4 points of a model's 250 to 290 rows."""
    drawn = {index for index, _ in EXPLAINED[IFEVAL]}
    recorded: dict[str, list[tuple[bool, bool]]] = {}
    for index, row in enumerate(rows(shared_data(IFEVAL))):
        held = check_instructions(constraints(row), row["response"], policy="official", loose=loose)
        theirs = all(row["loose" if loose else "strict"])
        if index not in drawn:
            recorded.setdefault(row["model"], []).append((all(held), theirs))
    assert len(recorded) == 6
    for model, pairs in recorded.items():
        ours, theirs = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
        assert abs(ours - theirs) <= 0.003, (model, ours, theirs)


def test_rows_left_out_are_such_as_no_function_of_the_text_decides(shared_data: Find) -> None:
    """Loose tries the answer itself too, so it holds where strict does: two rows say otherwise.

    With all rows three of the twelve figures are off by one row each: Claude 3.5's and Mistral's
    loose one by these two, and Qwen2.5-7B's strict one by row 780, a coin that langdetect throws
    (English in 45 of 100 tries, docs/verifiers.md).
    """
    recorded = list(rows(shared_data(IFEVAL)))
    for index, name in ((282, "keywords:letter_frequency"), (1074, "keywords:letter_frequency")):
        row = recorded[index]
        place = row["instruction_id_list"].index(name)
        assert row["strict"][place] and not row["loose"][place]
    off = {
        (index, loose)
        for loose in (False, True)
        for index, row in enumerate(recorded)
        if all(row["loose" if loose else "strict"])
        != all(
            check_instructions(constraints(row), row["response"], policy="official", loose=loose)
        )
    }
    assert off == {(780, False), (282, True), (553, True), (792, True), (1074, True)}


@pytest.mark.parametrize("loose", [False, True])
def test_ifbench_is_decided_as_its_checkers_did(loose: bool, ifbench: list[dict[str, Any]]) -> None:
    share, where = disagreements(ifbench, loose)
    assert share >= 0.98
    assert where <= EXPLAINED[IFBENCH]


@pytest.mark.parametrize("policy", ["official", "strict_reward"])
@pytest.mark.parametrize(
    ("name", "count"), [("if/ifeval_input_data.jsonl", 541), ("if/ifbench_test.jsonl", 300)]
)
def test_every_row_of_the_benchmark_can_be_checked(
    name: str, count: int, policy: Any, shared_data: Find
) -> None:
    checked = 0
    for row in rows(shared_data(name)):
        problem = Problem("p", "instruction_following", (), constraints(row), "test")
        for text in ("", "An answer.", row["prompt"]):
            assert verify_instructions(problem, text, policy=policy).outcome is not None
        checked += 1
    assert checked == count


def test_strict_reward_and_the_official_checkers_agree_on_most_real_answers(
    shared_data: Find,
) -> None:
    same = total = 0
    for row in rows(shared_data(IFEVAL)):
        held = check_instructions(constraints(row), row["response"])
        same += sum(a == b for a, b in zip(held, row["strict"], strict=True))
        total += len(held)
    assert same / total >= 0.95
