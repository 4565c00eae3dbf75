"""Published rows as they were published: all of them become rows of the right ability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.files import raw_rows
from cascade_rl.data.prepare import Choices, prepare_file
from cascade_rl.data.references import ground_truth
from cascade_rl.data.rows import rejects_path
from cascade_rl.data.schema import parse_row, row_dict
from cascade_rl.data.sources import convert, recognised
from cascade_rl.data.sources.common import Unfit
from cascade_rl.data.sources.instruct import instructed
from cascade_rl.types import Constraints, Problem, Tests
from cascade_rl.verifiers import verify

Find = Callable[[str], Path]

FILES = {
    "math/deepscaler_math500.json": (500, "math-500", "math"),
    "math/deepscaler_aime.json": (30, "aime", "math"),
    "math/deepscaler_train_aime.json": (975, "aime", "math"),
    "math/aime25.jsonl": (30, "math", "math"),
    "math/gsm8k_test.jsonl": (1319, "gsm8k", "math"),
    "if/ifeval_input_data.jsonl": (541, "instructions", "instruction_following"),
    "if/ifbench_test.jsonl": (300, "instructions", "instruction_following"),
    "code/HumanEval.jsonl.gz": (164, "humaneval", "code"),
    "code/mbpp_sanitized.json": (399, "mbpp", "code"),
    "code/sf_code_contests.jsonl": (20, "sandbox-fusion", "code"),
    "code/apps_coderl_solutions.jsonl": (85, "apps", "code"),
    "code/nemogym_code_gen_example.jsonl": (5, "nemo-gym-code", "code"),
    "code/openinstruct_acecode_sample.jsonl": (1, "acecode", "code"),
}
"""Rows, the source they are recognised as, and their ability. No row of these is a reject."""


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_a_published_file_is_converted(
    name: str, shared_data: Find, tmp_path: Path
) -> None:
    count, source, ability = FILES[name]
    path = shared_data(name)
    assert {recognised(raw) for raw in raw_rows(path)} == {source}
    out = tmp_path / "out.jsonl"
    step = prepare_file([str(path)], out, Choices(), lambda step: None)
    assert (step.read, step.kept, step.dropped) == (count, count, Counter())
    assert rejects_path(out).read_text() == ""
    rows = list(raw_rows(out))
    assert {row["ability"] for row in rows} == {ability}
    assert {row["data_source"] for row in rows} == {source}
    for row in rows:
        assert row_dict(parse_row(row, "problem"), 0) == row, "what is written reads back equal"


def problems(path: Path) -> list[Problem]:
    found = [convert(raw) for raw in raw_rows(path)]
    return [row for row in found if isinstance(row, Problem)]


@pytest.mark.parametrize("name", [n for n, kind in FILES.items() if kind[2] == "math"])
def test_every_math_reference_satisfies_its_own_verifier(name: str, shared_data: Find) -> None:
    for row in problems(shared_data(name)):
        answer = ground_truth(row.reference)
        assert verify(row, f"so \\boxed{{{answer}}}").outcome, (row.id, answer)


def test_every_label_of_ifeval_and_ifbench_names_known_instructions(shared_data: Find) -> None:
    for name in ("if/ifeval_input_data.jsonl", "if/ifbench_test.jsonl"):
        for row in problems(shared_data(name)):
            assert isinstance(row.reference, Constraints)
            assert verify(row, "An answer.").status != "invalid", row.id


def test_repairs_convert_and_other_tasks_are_rejects_that_say_so(
    shared_data: Find, tmp_path: Path
) -> None:
    path, out = shared_data("swe/nemogym_swerl_gen_example.jsonl"), tmp_path / "out.jsonl"
    step = prepare_file([str(path)], out, Choices(), lambda step: None)
    assert (step.kept, dict(step.dropped)) == (3, {"another task": 2})
    for row in problems_of(out):
        patch = row["extra_info"]
        assert patch["repo"] and patch["base_commit"] and row["ability"] == "swe"
        found = parse_row(row, "problem")
        assert isinstance(found, Problem) and not found.prompt[-1].content.endswith("<think>")
        assert verify(found, found.reference.patch).outcome is not None  # type: ignore[union-attr]


def problems_of(path: Path) -> list[dict[str, Any]]:
    return list(raw_rows(path))


def test_golden_patches_without_files_are_rejects(shared_data: Find) -> None:
    for raw in raw_rows(shared_data("swe/swebench_gold_check_harness.jsonl")):
        row = {
            "instance_id": raw["instance_id"],
            "repo": "a/b",
            "base_commit": "0" * 40,
            "problem_statement": "It is broken.",
            "patch": raw["model_patch"],
        }
        with pytest.raises(Unfit, match="no file contents"):
            convert(row)


@pytest.mark.parametrize("name", ["code/HumanEval.jsonl.gz", "code/mbpp_sanitized.json"])
def test_the_known_solutions_are_kept_and_pass(name: str, shared_data: Find) -> None:
    rows = problems(shared_data(name))
    assert all(row.extra["solution"] for row in rows)
    for row in rows[::20]:
        assert verify(row, f"```python\n{row.extra['solution']}\n```").outcome, row.id


def test_what_a_program_must_know_is_in_its_prompt(shared_data: Find) -> None:
    for row in problems(shared_data("code/mbpp_sanitized.json")):
        assert isinstance(row.reference, Tests)
        assert all(case.code in row.prompt[0].content for case in row.reference.cases[:1])  # type: ignore[union-attr]
    for row in problems(shared_data("code/apps_coderl_solutions.jsonl")):
        assert isinstance(row.reference, Tests)
        assert (row.reference.entry_point or "") in row.prompt[0].content


def test_an_instruction_is_appended_only_where_there_is_none(shared_data: Find) -> None:
    (row,) = problems(shared_data("math/aime25.jsonl"))[:1]
    once = instructed(row)
    assert once.prompt[0].content.endswith("within \\boxed{}.") and instructed(once) == once
    for told in problems(shared_data("code/nemogym_code_gen_example.jsonl")):
        assert instructed(told) == told
    for name in ("apps_coderl_solutions.jsonl", "openinstruct_acecode_sample.jsonl"):
        for row in problems(shared_data(f"code/{name}")):
            once = instructed(row)
            assert once.prompt[0].content.endswith("```") and once != row
            assert instructed(once) == once
    for row in problems(shared_data("if/ifeval_input_data.jsonl"))[:5]:
        assert instructed(row) == row
