from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl.engines.generate import Response
from cascade_rl.evaluation.swe.edits import Candidate, read_candidate
from cascade_rl.evaluation.swe.execute import Runner
from cascade_rl.evaluation.swe.repository import read_files
from cascade_rl.evaluation.swe.validate import (
    CUT_OFF,
    NO_PROGRAM,
    NOT_REPRODUCED,
    Evidence,
    Suite,
    fitting_prompt,
    gather,
    likeliest,
    make_suite,
    pick,
    reproduction_prompt,
    script_of,
)
from cascade_rl.verifiers.code.extract import extract_program
from tests.evaluation.swe.answering import CUT, edits, scripts
from tests.evaluation.swe.repositories import SPECS, Spec

SPANS = SPECS[0]


def files_of(repos: Path, spec: Spec = SPANS) -> dict[str, str]:
    return read_files(repos / f"small__{spec.name}", "HEAD")


def responses(texts: list[str]) -> list[Response]:
    return [
        Response(0, n, text, "length" if text.startswith(CUT) else "stop", 100 - n)
        for n, text in enumerate(texts)
    ]


def candidates(repos: Path, kinds: list[str], spec: Spec = SPANS) -> list[Candidate]:
    files = files_of(repos, spec)
    texts = [edits(spec, kind) for kind in kinds]
    return [read_candidate(files, spec.issue, each) for each in responses(texts)]


# --- generated tests ------------------------------------------------------------------------------


def test_generated_tests_that_do_not_reproduce_are_dropped_and_counted(
    repos: Path, runner: Runner
) -> None:
    kinds = ["right", "blind", "afraid", "broken", "none", "right", "always"]
    texts = [scripts(SPANS, kind) for kind in kinds]
    texts += [CUT + texts[0], "<think>\n" + texts[0], "```text\nhello\n```"]
    found = make_suite(runner, files_of(repos), responses(texts), ())
    kept = [extract_program(texts[n]) for n in (0, 5, 6)]
    assert list(found.scripts) == kept
    assert dict(found.dropped) == {NOT_REPRODUCED: 3, NO_PROGRAM: 2, CUT_OFF: 2}


def test_tests_that_fail_before_hold_no_patch_back(repos: Path, runner: Runner) -> None:
    tests = ["tests/test_spans.py::test_apart", "tests/test_spans.py::test_gone"]
    found = make_suite(runner, files_of(repos), [], tests)
    assert found.tests == (tests[0],)
    assert found.failing == (tests[1],)


def test_a_script_is_the_last_python_block_of_an_answer() -> None:
    text = "<think>\n```python\nwrong\n```\n</think>\nfirst\n```python\nright = 1\n```\nend"
    assert script_of(Response(0, 0, text, "stop", 1)) == ("right = 1\n", "")


def test_the_prompt_shows_the_issue_files_and_likeliest_patches(repos: Path) -> None:
    given = candidates(repos, ["worse", "good", "aside", "noted", "prose"])
    shown = likeliest(given, 2)
    assert shown[0] == given[1].patch  # two votes, and shorter than the noted one
    assert shown[1] in (given[0].patch, given[2].patch)
    files = {"spans/merge.py": files_of(repos)["spans/merge.py"]}
    prompt = reproduction_prompt(SPANS.issue, files, likeliest(given))
    assert SPANS.issue in prompt and "--- BEGIN FILE spans/merge.py\n" in prompt
    assert prompt.count("--- BEGIN CANDIDATE PATCH") == 3
    for line in ("Issue reproduced", "Issue resolved", "Other issues"):
        assert f"- {line}\n" in prompt


def test_a_prompt_that_is_too_long_loses_patches_then_files(repos: Path) -> None:
    given = candidates(repos, ["worse", "good", "aside"])
    files = {path: files_of(repos)[path] for path in ("spans/merge.py", "spans/log.py")}

    def parts(budget: int) -> tuple[int, int]:
        text = fitting_prompt(SPANS.issue, files, given, budget, len)
        assert len(text) <= budget
        return text.count("--- BEGIN CANDIDATE"), text.count("--- BEGIN FILE")

    whole = len(reproduction_prompt(SPANS.issue, files, likeliest(given)))
    bare = len(reproduction_prompt(SPANS.issue, files, []))
    assert [parts(n) for n in (whole, whole - 1, bare, bare - 1)] == [
        (3, 2),
        (2, 2),
        (0, 2),
        (0, 1),
    ]
    assert fitting_prompt(SPANS.issue, files, given, 100, len) == ""


# --- evidence and the pick ------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS[2::3], ids=lambda spec: spec.name)
def test_a_planted_good_patch_wins_over_planted_bad_ones(
    repos: Path, runner: Runner, spec: Spec
) -> None:
    given = candidates(repos, ["worse", "aside", "aside", "worse", "worse", "good"], spec)
    files = files_of(repos, spec)
    right = responses([scripts(spec, "right")])
    suite = make_suite(runner, files, right, spec.keep)
    found = gather(runner, files, suite, given)
    good, worse, aside = found[5], found[0], found[1]
    assert good is not None and worse is not None and aside is not None
    assert (good.broken, good.resolved) == (0, 1)
    assert (aside.broken, aside.resolved) == (0, 0)
    assert worse.broken >= 1
    assert pick(found, range(6)) == 5


def test_what_is_no_patch_has_no_evidence_and_equal_files_run_once(
    repos: Path, runner: Runner
) -> None:
    given = candidates(repos, ["good", "prose", "good", "noted", "escape", "cut", "open"])
    suite = Suite((), SPANS.keep)
    counted = Counting(runner.sandbox)
    found = gather(Runner(counted, runner.limits), files_of(repos), suite, given)
    assert [e is None for e in found] == [False, True, False, False, True, True, True]
    assert counted.runs == 2  # the noted patch is another text
    assert found[0] is not None and found[3] is not None
    assert found[0].vote == found[3].vote


class Counting:
    """A sandbox that counts its runs."""

    def __init__(self, inner: object) -> None:
        self.inner, self.runs = inner, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def run(self, *arguments: object) -> object:
        self.runs += 1
        return self.inner.run(*arguments)  # type: ignore[attr-defined]


ORDER = [
    # Each is picked over all that come after it.
    Evidence(0, 3, "a", 900, 900),
    Evidence(0, 2, "b", 900, 900),
    Evidence(0, 2, "b", 901, 1),
    Evidence(0, 2, "c", 10, 5),
    Evidence(0, 2, "d", 10, 6),
    Evidence(0, 2, "e", 11, 1),
    Evidence(1, 9, "f", 1, 1),
    Evidence(1, 9, "f", 1, 1),
    Evidence(2, 9, "f", 1, 1),
]


def test_patches_go_by_tests_kept_then_issue_resolved_then_votes_then_the_shortest() -> None:
    for first in range(len(ORDER)):
        among = list(range(first, len(ORDER)))
        if first == 2:  # alone, b has one vote like c
            assert pick(ORDER, among) == 3
        else:
            assert pick(ORDER, reversed(among)) == first


def test_without_a_runner_votes_and_lengths_decide(repos: Path) -> None:
    given = candidates(repos, ["worse", "good", "noted", "prose"])
    found = gather(None, files_of(repos), Suite(), given)
    assert pick(found, range(4)) == 1
