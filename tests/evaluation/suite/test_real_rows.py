"""The rows of the shared folder as they lie there: all are read, and references are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.evaluation.benchmarks import verifier_of
from cascade_rl.evaluation.suite import SUITE
from cascade_rl.types import Answer, Problem, Verdict

Find = Callable[[str], Path]
FILES = {
    "aime24": ("math/deepscaler_aime.json", 30),
    "aime25": ("math/aime25.jsonl", 30),
    "math500": ("math/deepscaler_math500.json", 500),
    "gsm8k": ("math/gsm8k_test.jsonl", 1319),
    "humaneval": ("code/HumanEval.jsonl.gz", 164),
    "mbpp": ("code/mbpp_sanitized.json", 399),
    "code_contests": ("code/sf_code_contests.jsonl", 20),
    "ifeval": ("if/ifeval_input_data.jsonl", 541),
    "ifbench": ("if/ifbench_test.jsonl", 300),
}


def read(name: str, find: Find) -> list[Problem]:
    return SUITE[name].read(str(find(FILES[name][0])))


def judged(name: str, problem: Problem, text: str) -> Verdict:
    return verifier_of(SUITE[name].benchmark("rows.jsonl"))(problem, text)


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_the_file_is_read_and_has_an_id_of_its_own(
    name: str, shared_data: Find
) -> None:
    found = read(name, shared_data)
    assert len(found) == FILES[name][1] == len({problem.id for problem in found})


@pytest.mark.parametrize(("name", "every"), [("aime24", 1), ("aime25", 1), ("math500", 5),
                                             ("gsm8k", 20)])  # fmt: skip
def test_a_math_reference_is_right_in_a_box_and_its_thought_alone_is_not(
    name: str, every: int, shared_data: Find
) -> None:
    for problem in read(name, shared_data)[::every]:
        assert isinstance(problem.reference, Answer)
        box = f"\\boxed{{{problem.reference.text}}}"
        assert judged(name, problem, f"<think>hm</think>So {box}").outcome, problem.id
        assert not judged(name, problem, f"<think>{box}</think>Sorry.").outcome


@pytest.mark.parametrize(("name", "every"), [("humaneval", 30), ("mbpp", 60)])
def test_a_known_program_is_right(name: str, every: int, shared_data: Find) -> None:
    for problem in read(name, shared_data)[::every]:
        text = f"```python\n{problem.extra['solution']}\n```"
        assert judged(name, problem, text).outcome, problem.id


@pytest.mark.parametrize("name", ["ifeval", "ifbench"])
def test_every_instruction_can_be_judged(name: str, shared_data: Find) -> None:
    statuses = {judged(name, p, "An answer.").status for p in read(name, shared_data)}
    assert statuses <= {"right", "wrong"}
