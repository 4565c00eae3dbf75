"""Prompts: what a model needs of earlier rounds, and nothing of the tests that score."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl.evaluation.ioi.files import read_task
from cascade_rl.evaluation.ioi.judge import Judged, TestResult
from cascade_rl.evaluation.ioi.prompts import round_prompt
from cascade_rl.evaluation.ioi.strategy import Options, Round, State, Submission, history_of
from cascade_rl.evaluation.ioi.task import Task
from tests.evaluation.ioi.scripted import after, problem, write_problem


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return problem(tmp_path)


def text_of(task: Task, state: State, subtask: int) -> str:
    history = history_of(task, state, subtask, Options())
    (message,) = round_prompt(task, subtask, "cpp", state, history)
    assert message.role == "user"
    return message.content


def test_a_first_prompt_holds_the_problem_and_the_subtask(task: Task) -> None:
    text = text_of(task, State(), 1)
    assert "# Problem: Pairs\n\nCount the pairs." in text
    assert "1 s of processor time, 256 MB" in text
    assert "- Subtask 2 (30 points, best so far 0): N <= 1000  <- to be solved now" in text
    assert "Solve subtask 2" in text
    assert "C++17 program that reads standard input" in text
    assert "submissions that did not" not in text and "Verdict" not in text


def test_a_later_prompt_holds_failures_partial_scores_and_solutions(task: Task) -> None:
    state = after((0, (1, 0, 0)), (1, (0, 0, 0)), (2, (0, 0.5, 0.25)))
    text = text_of(task, state, 1)
    solved, best = text.index("# Subtasks that are solved"), text.index("# The best submissions")
    failed = text.index("# Recent submissions")
    assert solved < text.index("// program 0") < best < text.index("// program 2") < failed
    assert failed < text.index("// program 1") < text.index("# Now")
    assert "Subtask 1, under these constraints: N <= 10 was solved by:" in text
    assert "// program 0\n```\n\nOn subtask 2 it got 0 of 30, time limit exceeded" in text
    assert "- Subtask 1 (20 points, solved)" in text
    assert "- Subtask 3 (50 points, best so far 12.5)" in text
    assert (
        "Verdict on subtask 2: 15 of 30, partially correct\n"
        "Elsewhere: subtask 1 0 of 20, time limit exceeded; subtask 3 12.5 of 50, partially correct"
    ) in text


def test_no_prompt_holds_anything_of_the_hidden_tests(task: Task) -> None:
    state = after((0, (1, 0, 0)), *[(n % 3, (1, 0.5, 0)) for n in range(9)])
    for subtask in (1, 2):
        text = text_of(task, state, subtask)
        assert "hidden" not in text and "tests/" not in text and "sample output" not in text


def test_a_compiler_is_quoted(task: Task) -> None:
    complaint = TestResult(0, "compile", "compile error: program.cpp:1: 'x' was not declared")
    one = Submission(0, 0, "int main() { x; }\n", Judged((complaint,) * 3))
    text = text_of(task, State((Round(0, 20, {}, one, "first"),)), 0)
    assert "0 of 20, compilation failed\ncompile error: program.cpp:1: 'x' was not" in text


def test_a_program_cannot_end_its_fence(task: Task) -> None:
    source = "/*\n````\nnot the end\n*/\n"
    state = State(
        (
            Round(
                0,
                20,
                {},
                Submission(0, 0, source, after((0, (0, 0, 0))).submissions[0].verdict),
                "first",
            ),
        )
    )
    assert f"`````cpp\n{source.strip()}\n`````" in text_of(task, state, 0)


def test_with_a_grader_functions_are_asked_for(tmp_path: Path) -> None:
    files = {"a.h": "int f();", "b.cpp": "int main() {}"}
    task = read_task(write_problem(tmp_path, files, grader={"cpp": ["a.h", "b.cpp"]}))
    assert "functions that the statement asks for, and no main program" in text_of(task, State(), 0)
