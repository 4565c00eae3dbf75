"""The two lexical similarities, against the published definition and against real patches."""

from __future__ import annotations

import difflib
import random
import time
from statistics import mean

import pytest

from cascade_rl.types import Patch, Problem
from cascade_rl.verifiers import similarity
from cascade_rl.verifiers.patches import apply_diff
from cascade_rl.verifiers.similarity import (
    changed_lines_similarity,
    swe_rl_similarity,
    unified_diff,
)
from tests.verifiers.swe_data import Data, at_changes, real_problems


def published(files: dict[str, str], found: dict[str, str], golden: dict[str, str]) -> float:
    """The definition of SWE-RL, written out apart from ours."""

    def diffs(after: dict[str, str]) -> dict[str, str]:
        result = {}
        for path, text in after.items():
            old, new = files.get(path, "").splitlines(), text.splitlines()
            lines = list(difflib.unified_diff(old, new, "a", "b", lineterm="", n=3))
            if lines:
                result[path] = "\n".join(lines[2:])
        return result

    a, b = diffs(found), diffs(golden)
    scores = [
        difflib.SequenceMatcher(None, a[p], b[p], autojunk=False).ratio()
        if p in a and p in b
        else 0
        for p in {*a, *b}
    ]
    return sum(scores) / len(scores) if scores else 1.0


def test_the_similarity_is_the_published_one() -> None:
    rng = random.Random(0)

    def text() -> str:
        lines = ["a = 1\n", "b = 2\n", "pass\n", "x\n", "c = 3\r\n", "\n"]
        return "".join(rng.choice(lines) for _ in range(12)) + rng.choice(["", "end"])

    for _ in range(200):
        files = {f"f{n}.py": text() for n in range(3)}
        found = {f"f{n}.py": text() for n in range(4) if rng.random() < 0.6}
        golden = {f"f{n}.py": text() for n in range(3) if rng.random() < 0.6}
        assert swe_rl_similarity(files, found, golden) == pytest.approx(
            published(files, found, golden), abs=1e-9
        )


def edits_of(problem: Problem) -> tuple[dict[str, str], dict[str, str], list[dict[str, str]]]:
    """Files, files after the golden patch, and after a few other edits of the same places."""
    reference = problem.reference
    assert isinstance(reference, Patch)
    files = dict(reference.files)
    golden = apply_diff(files, reference.patch)
    others = [
        golden,
        {**golden, "extra.py": "import os\n"},
        at_changes(problem, lambda line: ""),
        at_changes(problem, lambda line: line + "    return None\n"),
        at_changes(problem, str.upper),
    ]
    return files, golden, others


def test_it_is_the_published_one_on_real_patches(shared_data: Data) -> None:
    compared = 0
    for problem in list(real_problems(shared_data))[:30]:
        files, golden, others = edits_of(problem)
        if sum(map(len, golden.values())) > 60_000 or len(unified_diffs(files, golden)) > 3_000:
            continue  # difflib would take minutes
        for found in others:
            wanted = published(files, found, golden)
            assert swe_rl_similarity(files, found, golden) == pytest.approx(wanted, abs=1e-9)
            assert swe_rl_similarity(files, found, golden, exact=True) == pytest.approx(
                wanted, abs=1e-9
            )
            compared += 1
    assert compared >= 80


def unified_diffs(files: dict[str, str], after: dict[str, str]) -> str:
    return "".join(unified_diff(files.get(path, ""), text) for path, text in after.items())


def test_our_unified_diff_is_difflibs() -> None:
    rng = random.Random(3)
    for n in range(100):
        old, new = (
            [rng.choice("abcdefg") + "x" * rng.randint(0, 3) for _ in range(rng.randint(0, 60))]
            for _ in range(2)
        )
        new = old[:10] + new if n % 2 else new
        theirs = list(difflib.unified_diff(old, new, lineterm=""))[2:]
        assert unified_diff("\n".join(old), "\n".join(new)) == "\n".join(theirs)


# --- what changes nothing, or the wrong thing, at the right place ------------------------------

ATTACKS = {
    "blank at the end": lambda line: line.rstrip("\n") + " \n",
    "blanks between words": lambda line: "    ".join(line.rstrip("\n").split(" ")) + "\n",
    "indentation": lambda line: " " + line,
    "empty line": lambda line: line + "\n",
    "deleted": lambda line: "",
    "comment": lambda line: line.rstrip("\n") + "  # fixed\n",
    "junk": lambda line: line + "fixed = True\n",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_edit_of_the_right_place_alone_is_near_nothing_in_changed_lines(
    name: str, shared_data: Data
) -> None:
    swe_rl, changed_lines = [], []
    for problem in real_problems(shared_data):
        files, golden, _ = edits_of(problem)
        found = at_changes(problem, ATTACKS[name])
        swe_rl.append(swe_rl_similarity(files, found, golden))
        changed_lines.append(changed_lines_similarity(files, found, golden))
    assert mean(swe_rl) > 0.6, "the published similarity pays for the place"
    assert mean(changed_lines) < 0.05
    if "blank" in name or name in ("indentation", "empty line"):
        assert max(changed_lines) == 0.0


def test_junk_beside_the_golden_edit_only_lowers_both(shared_data: Data) -> None:
    for problem in list(real_problems(shared_data))[:30]:
        files, golden, _ = edits_of(problem)
        path = sorted(golden)[0]
        for count in (1, 20):
            junk = {
                **golden,
                path: golden[path] + "".join(f"junk_{n} = {n}\n" for n in range(count)),
            }
            extra = {**golden, **{f"extra_{n}.py": "x = 1\n" for n in range(count)}}
            for found in (junk, extra):
                assert swe_rl_similarity(files, found, golden) < 1
                assert changed_lines_similarity(files, found, golden) < 1


GOLDEN = {"a.py": "def f(x):\n    if x:\n        return 1\n    return 0\n"}
BEFORE = {"a.py": "def f(x):\n    return 1\n    return 0\n", "b.py": "y = 1\n"}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (GOLDEN, 1.0),
        ({"a.py": GOLDEN["a.py"].replace("\n", " \r\n")}, 1.0),
        ({}, 0.0),
        (BEFORE, 0.0),
        ({"a.py": BEFORE["a.py"].replace("    return 0", "  return  0")}, 0.0),
        ({**GOLDEN, "b.py": "y = 2\n"}, 0.5),
        ({**GOLDEN, "b.py": "y  = 1\n"}, 0.5),  # another file, though only its blanks
        ({"b.py": "if x:\n"}, 0.0),
        # the golden line in the wrong place, or without the indentation that it needs
        ({"a.py": BEFORE["a.py"] + "    if x:\n"}, 0.9),
        ({"a.py": "def f(x):\n    if x:\n    return 1\n    return 0\n"}, 0.9),
        # one line too much: 2 * 1 / (1 + 2)
        ({"a.py": GOLDEN["a.py"] + "junk\n"}, 2 / 3),
    ],
)
def test_changed_lines_by_hand(found: dict[str, str], expected: float) -> None:
    assert changed_lines_similarity(BEFORE, found, GOLDEN) == pytest.approx(expected)


def test_thresholds_are_of_the_similarities_there_are() -> None:
    assert set(similarity.THRESHOLDS) == set(similarity.SIMILARITIES)


# --- bounded time -----------------------------------------------------------------------------


def hostile_files() -> dict[str, tuple[str, str, str]]:
    """Before, the answer's after, the golden after."""
    rng = random.Random(4)
    lines = [f"line_{n} = {n}\n" for n in range(2_000)]
    repeated = [line for line in lines for _ in range(10)]
    rng.shuffle(repeated)
    text = "".join(lines)
    golden = text + "x = 1\n"
    return {
        "every line ten times": (text, "".join(repeated), golden),
        "one line for ever": ("a\n" * 100_000, "a\n" * 99_000 + "b\n", "a\n" * 100_000 + "c\n"),
        "one long line": ("a", "b" * 390_000, "c" * 100_000),
        "all new": (text, "".join(f"y{n}\n" for n in range(40_000)), golden),
        "blanks": ("x\n" + " \n" * 1000, " " * 390_000, "x\n" + "  \n" * 50_000 + "y"),
        "many short lines": ("", "".join(f"{n}\n" for n in range(60_000)), "1\n2\n" * 20_000),
    }


@pytest.mark.parametrize("name", hostile_files())
@pytest.mark.parametrize("measure", [swe_rl_similarity, changed_lines_similarity])
def test_no_edit_takes_long(name: str, measure: similarity.Similarity) -> None:
    before, found, golden = hostile_files()[name]
    started = time.process_time()
    score = measure({"a.py": before}, {"a.py": found}, {"a.py": golden})
    assert time.process_time() - started < 4.0
    assert 0 <= score < 1


def test_two_edits_that_are_too_long_to_compare_are_not_equal() -> None:
    before, found, _ = hostile_files()["every line ten times"]
    other = "\n".join(reversed(found.split("\n")))
    assert swe_rl_similarity({"a": before}, {"a": found}, {"a": other}) < 0.5
    assert swe_rl_similarity({"a": before}, {"a": found}, {"a": found}) == 1.0
