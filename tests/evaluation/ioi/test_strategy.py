"""The state machine of the rounds: what is asked next, what is shown, what is submitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cascade_rl.engines.generate import Response
from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.ioi.candidates import choose, program_of
from cascade_rl.evaluation.ioi.strategy import (
    Candidate,
    Options,
    Round,
    State,
    history_of,
    next_subtask,
    ranked,
    score_of,
)
from cascade_rl.evaluation.ioi.task import Task
from tests.evaluation.ioi.scripted import after, problem

PAPER = Options()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Subtasks of 20, 30 and 50 points."""
    return problem(tmp_path)


def test_the_defaults_are_the_papers_numbers() -> None:
    numbers = (PAPER.rounds, PAPER.candidates, PAPER.failed, PAPER.best, PAPER.selector)
    assert numbers == (50, 20, 5, 3, "tail_confidence")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rounds": 0}, "--rounds is 0; expected at least 1"),
        ({"candidates": 0}, "--candidates is 0"),
        ({"failed": -1}, "--failed is -1"),
        ({"selector": "best"}, "selector is 'best'"),
        ({"fallback": "tail_confidence"}, "fallback 'tail_confidence'"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, int | str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(PAPER, **wrong)  # type: ignore[arg-type]


def test_a_problem_scores_the_best_of_each_subtask_over_all_submissions(task: Task) -> None:
    state = after((0, (1, 0, 0)), (1, (0, 0.5, 0)), (2, (0, 0.25, 0.333)))
    assert score_of(task, state) == 20 + 15 + 16.65
    assert score_of(task, State()) == 0


def test_rounds_go_to_the_unsolved_subtask_that_had_the_fewest(task: Task) -> None:
    zeros = (0.0, 0.0, 0.0)
    assert next_subtask(task, State(), PAPER) == 0
    assert next_subtask(task, after((0, zeros), (1, zeros)), PAPER) == 2
    assert next_subtask(task, after((0, zeros), (1, zeros), (2, zeros)), PAPER) == 0
    assert next_subtask(task, after((0, (1, 0, 0)), (1, zeros), (2, zeros)), PAPER) == 1
    assert next_subtask(task, after((0, (1, 0, 0)), (1, (0, 0, 1))), PAPER) == 1


def test_no_round_comes_when_all_is_solved_or_used_up(task: Task) -> None:
    solved = after((0, (1, 0, 1)), (1, (0, 1, 0)))
    assert next_subtask(task, solved, PAPER) is None
    fifty = after(*[(n % 3, (0.0, 0.0, 0.0)) for n in range(50)])
    assert next_subtask(task, fifty, replace(PAPER, rounds=1000)) is None
    assert next_subtask(task, State(fifty.rounds[:49]), replace(PAPER, rounds=1000)) is not None
    empty = State((Round(0, 20, {}, None, None),) * 50)
    assert next_subtask(task, empty, PAPER) is None
    assert next_subtask(task, empty, replace(PAPER, rounds=51)) == 1


# --- history ----------------------------------------------------------------------------------


def shown(
    task: Task, state: State, subtask: int, options: Options = PAPER
) -> tuple[list[int], ...]:
    """The rounds of what is shown: failed, best, insights."""
    found = history_of(task, state, subtask, options)
    insights = [one.submission.round for one in found.insights]
    return [one.round for one in found.failed], [one.round for one in found.best], insights


def test_the_five_most_recent_failures_on_the_subtask_are_shown(task: Task) -> None:
    state = after(*[(n % 2, (0.0, 0.0, 0.0)) for n in range(16)])
    assert shown(task, state, 0) == ([6, 8, 10, 12, 14], [], [])
    assert shown(task, state, 1) == ([7, 9, 11, 13, 15], [], [])
    assert shown(task, state, 2) == ([], [], [])
    assert shown(task, state, 0, Options(failed=0)) == ([], [], [])


def test_the_three_best_partial_scores_are_shown_whatever_they_were_made_for(task: Task) -> None:
    scores = (0.2, 0.9, 0.4, 0.4, 0.1)
    state = after(*[(n % 2, (0.0, score, 0.0)) for n, score in enumerate(scores)])
    assert shown(task, state, 1)[1] == [1, 3, 2]
    assert shown(task, state, 0)[1] == []


def test_no_submission_is_shown_twice_on_the_subtask(task: Task) -> None:
    state = after(*[(1, (0.0, score, 0.0)) for score in (0.2, 0.0, 0.9, 0.5, 0.3)])
    failed, best, _ = shown(task, state, 1)
    assert (failed, best) == ([0, 1], [2, 3, 4])


def test_what_solved_other_subtasks_first_is_an_insight_once(task: Task) -> None:
    state = after((0, (1, 0, 1)), (1, (1, 0, 1)), (1, (0, 0.5, 0)))
    found = history_of(task, state, 1, PAPER)
    assert [(one.subtasks, one.submission.round) for one in found.insights] == [((0, 2), 0)]


def test_programs_that_have_no_room_are_left_out_the_least_telling_first(task: Task) -> None:
    scores = [
        (0, (1.0, 0.0, 0.0)),
        (1, (0.0, 0.0, 0.0)),
        (1, (0.0, 0.5, 0.0)),
        (1, (0.0, 0.0, 0.0)),
    ]
    state, size = after(*scores), len("// program 0\n")
    for room, rounds in enumerate([((), (), ()), ((), (2,), ()), ((3,), (2,), ())]):
        options = Options(shown_chars=room * size)
        assert shown(task, state, 1, options) == tuple(map(list, rounds))
    assert shown(task, state, 1, Options(shown_chars=4 * size)) == ([1, 3], [2], [0])


# --- selection --------------------------------------------------------------------------------


def candidates(*given: tuple[int, float | None]) -> list[Candidate]:
    """(tokens, tail confidence) of each."""
    return [Candidate(n, f"// {n}", *one) for n, one in enumerate(given)]


def test_the_most_confident_tail_comes_first() -> None:
    selector, order = ranked(candidates((5, 1.5), (9, 3.0), (1, 2.0), (2, 3.0)), PAPER)
    assert selector == "tail_confidence"
    assert [one.sample for one in order] == [1, 3, 2, 0]


def test_without_a_confidence_the_fallback_decides_and_is_named() -> None:
    selector, order = ranked(candidates((5, 1.5), (9, None), (1, 2.0), (1, 9.0)), PAPER)
    assert selector == "shortest"
    assert [one.sample for one in order] == [2, 3, 0, 1]
    selector, order = ranked(candidates((5, 1.5), (1, 2.0)), Options(selector="first"))
    assert (selector, [one.sample for one in order]) == ("first", [0, 1])


def answer(sample: int, text: str, confidence: float) -> Response:
    return Response(0, sample, text, "stop", 10, confidence)


def block(text: str) -> str:
    return f"Some words\n```cpp\n{text}\n```\n"


def test_a_program_is_a_whole_fenced_block_after_the_thought() -> None:
    assert program_of(f"<think>{block('a')}</think>{block('b')}", "cpp") == "b\n"
    assert program_of(f"<think>{block('a')}", "cpp") is None
    assert program_of("int main() {}", "cpp") is None
    assert program_of("```cpp\nint main() {}", "cpp") is None
    assert program_of(block("a"), "python") is None
    assert program_of(block(""), "cpp") is None


def test_candidates_without_code_repeated_or_failing_a_sample_are_never_submitted() -> None:
    state = after((0, (0.0, 0.0, 0.0)))
    answers = [
        answer(0, "no code", 9.0),
        answer(1, block("// program 0   \n"), 8.0),  # submitted in round 0, but for blanks
        answer(2, block("// wrong"), 7.0),
        answer(3, block("// good"), 6.0),
        answer(4, block("// good too"), 5.0),
    ]
    choice = choose(answers, "cpp", state, PAPER, lambda source: "good" in source)
    assert choice.candidate is not None
    assert (choice.candidate.sample, choice.candidate.source) == (3, "// good\n")
    assert choice.rejected == {"no code": 1, "repeated": 1, "fails a sample": 1}
    none = choose(answers[:3], "cpp", state, PAPER, lambda source: "good" in source)
    assert none.candidate is None


def test_one_program_is_tried_on_the_samples_once() -> None:
    tried: list[str] = []

    def passes(source: str) -> bool:
        tried.append(source)
        return False

    answers = [answer(n, block("// a" if n < 3 else "// b"), float(n)) for n in range(5)]
    choice = choose(answers, "cpp", State(), PAPER, passes)
    assert tried == ["// b\n", "// a\n"]
    assert choice.rejected == {"fails a sample": 2, "repeated": 3}
