"""The SWE verdicts on real golden patches: the four cases, in order, on one file and on several.

The recorded rows hold golden patches and files only: none has a model's patch with a reward, so
there are no recorded rewards to compare with.
"""

from __future__ import annotations

import json
from statistics import mean

import pytest

from cascade_rl.types import Patch, Problem
from cascade_rl.verifiers import verify
from cascade_rl.verifiers.patches import apply_diff
from cascade_rl.verifiers.swe import verify_swe
from tests.verifiers.swe_data import (
    Data,
    at_changes,
    blocks,
    gym_problems,
    problem_of,
    real_problems,
)


def patch_of(problem: Problem) -> Patch:
    assert isinstance(problem.reference, Patch)
    return problem.reference


def test_every_golden_patch_scores_one_against_itself(shared_data: Data) -> None:
    problems = list(real_problems(shared_data))
    assert len(problems) == 63
    for problem in problems:
        reference = patch_of(problem)
        for text in (reference.patch, f"<think>hm</think>Fixed:\n```diff\n{reference.patch}\n```"):
            assert verify(problem, text).status == "right"
        as_blocks = blocks(dict(reference.files), apply_diff(reference.files, reference.patch))
        assert verify(problem, as_blocks).status == "right"


def test_no_golden_patch_passes_for_another(shared_data: Data) -> None:
    problems = list(real_problems(shared_data))
    for problem, other in zip(problems, problems[1:] + problems[:1], strict=True):
        verdict = verify(problem, patch_of(other).patch)
        assert verdict.score is not None and verdict.score < 0.5


def test_an_edit_of_blanks_alone_is_decided_as_asked(shared_data: Data) -> None:
    published = []
    for problem in real_problems(shared_data):
        files = dict(patch_of(problem).files)
        text = blocks(files, at_changes(problem, lambda line: line.rstrip("\n") + " \n"))
        verdict = verify_swe(problem, text)
        assert verdict.status == "partial" and verdict.score is not None
        published.append(verdict.score)
        assert verify_swe(problem, text, similarity="changed_lines").score == 0.0
        for identical in ("whitespace", "syntax"):
            decided = verify_swe(problem, text, identical=identical)  # type: ignore[arg-type]
            assert (decided.status, decided.score) == ("wrong", 0.0)
    assert mean(published) > 0.7, "the published similarity pays for the place"


# --- the four cases on edits of several files --------------------------------------------------


@pytest.fixture(params=range(3))
def several(request: pytest.FixtureRequest, shared_data: Data) -> Problem:
    """A real issue whose golden patch edits at least two files."""
    found = [p for p in real_problems(shared_data) if patch_of(p).patch.count("\n+++ ") >= 2]
    return found[request.param]


def test_an_edit_that_misses_once_is_unparsable_whatever_else_is_right(several: Problem) -> None:
    reference = patch_of(several)
    path = sorted(reference.files)[0]
    right = blocks(dict(reference.files), apply_diff(reference.files, reference.patch))
    miss = f"\n### {path}\n<<<<<<< SEARCH\nnot there\n=======\n>>>>>>> REPLACE\n"
    escape = "\n### ../x\n<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE\n"
    for more in (miss, escape):
        assert verify(several, right + more).score == -1.0
    nothing = blocks(dict(reference.files), dict(reference.files))
    assert verify(several, nothing + miss).score == -1.0


def test_every_file_unchanged_is_zero_and_not_unparsable(several: Problem) -> None:
    files = dict(patch_of(several).files)
    verdict = verify(several, blocks(files, files))
    assert (verdict.status, verdict.score) == ("wrong", 0.0)


def test_one_file_of_several_is_partial(several: Problem) -> None:
    reference = patch_of(several)
    golden = apply_diff(reference.files, reference.patch)
    path = sorted(golden)[0]
    verdict = verify(several, blocks(dict(reference.files), {path: golden[path]}))
    assert verdict.status == "partial"
    assert verdict.score == pytest.approx(1 / len(golden))


def test_there_and_back_again_is_unchanged(several: Problem) -> None:
    reference = patch_of(several)
    files = dict(reference.files)
    golden = apply_diff(files, reference.patch)
    there_and_back = blocks(files, golden) + "\n" + blocks(golden, files)
    assert verify(several, there_and_back).score == 0.0


# --- the recorded rows ------------------------------------------------------------------------


def test_the_recorded_rows_hold_no_rollouts(shared_data: Data) -> None:
    text = shared_data("swe/nemogym_swerl_gen_example.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert not [row for row in rows if {"model_patch", "reward", "rollouts"} & row.keys()]


def test_a_shown_file_with_other_line_ends_takes_the_same_patch(shared_data: Data) -> None:
    for problem in gym_problems(shared_data):
        reference = patch_of(problem)
        windows = {path: text.replace("\n", "\r\n") for path, text in reference.files.items()}
        marked = {path: "\ufeff" + text for path, text in reference.files.items()}
        for files in (windows, marked):
            other = problem_of(files, reference.patch)
            assert verify(other, reference.patch).status == "right"
            assert verify(other, reference.patch.replace("\n", "\r\n")).status == "right"
