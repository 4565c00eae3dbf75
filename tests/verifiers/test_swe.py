"""Edits against the golden patch, in the paper's order, and against hidden tests."""

from __future__ import annotations

import difflib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.types import Patch, Problem
from cascade_rl.verifiers.patches import Unparsable, apply_diff, apply_edit, parse_diff, safe_path
from cascade_rl.verifiers.swe import swe_rl_similarity, verify_swe, verify_swe_resolved

FILES = {
    "calc.py": "def add(a, b):\n    return a - b\n\n\ndef twice(a):\n    return add(a, a)\n",
    "pkg/use.py": "from calc import add\n\n\ndef three():\n    return add(1, 2)\n",
}
GOLD = "--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n"
GOLD += "-    return a - b\n+    return a + b\n"
TESTS = ["assert add(1, 2) == 3", "import pkg.use\nassert pkg.use.three() == 3"]
TESTS += ["from calc import twice\nassert twice(4) == 8"]
PROBLEM = Problem(
    "swe",
    "swe",
    (),
    Patch(FILES, GOLD, ("calc.py",), "either", "add subtracts"),
    "test",
    {"tests": TESTS, "entry_file": "calc.py"},
)


def block(search: str, replace: str, path: str = "calc.py") -> str:
    between = "\n" if replace else ""
    head = search + "\n" if search else ""
    body = f"<<<<<<< SEARCH\n{head}=======\n{replace}{between}>>>>>>> REPLACE"
    return f"```diff\n### {path}\n{body}\n```\n"


RIGHT = block("    return a - b", "    return a + b")
PARSE = [
    (RIGHT, 1.0),
    (RIGHT.replace("```diff\n", "").replace("```\n", ""), 1.0),
    (f"<think>{block('x', 'y')}</think>{RIGHT}", 1.0),
    (RIGHT.replace("\n", "\r\n"), 1.0),
    (GOLD, 1.0),
    (f"```diff\n{GOLD}```", 1.0),
    (block("    return a - b", "    return a - b"), 0.0),
    (RIGHT + block("    return a + b", "    return a - b"), 0.0),
    ("no edit at all", -1.0),
    ("", -1.0),
    (f"<think>{RIGHT}", -1.0),
    (f"<think>{RIGHT}</think>done", -1.0),
    (block("    return a * b", "    return a + b"), -1.0),
    (block("    return", "    pass"), -1.0),  # whole lines only
    (block("", "x = 1"), -1.0),  # an empty SEARCH in a file that exists
    (block("x", "y", "missing.py"), -1.0),
    (block("x", "y", "../calc.py"), -1.0),
    (block("x", "y", "/etc/passwd"), -1.0),
    (block("", "y", ".git/hooks/pre-commit"), -1.0),
    (RIGHT.replace("### calc.py\n", ""), -1.0),
    (RIGHT.replace(">>>>>>> REPLACE", ""), -1.0),
    (GOLD.replace("@@ -1,2", "@@ -1,3"), -1.0),
    (GOLD.replace("a - b", "a / b"), -1.0),
    ("\ud800\0" * 1000, -1.0),
    ("x" * 10**7, -1.0),
]


@pytest.mark.parametrize(("text", "score"), PARSE)
def test_the_decided_cases(text: str, score: float) -> None:
    verdict = verify_swe(PROBLEM, text)
    assert verdict.score == score, verdict
    assert verdict.status == ("right" if score == 1 else "wrong")


@pytest.mark.parametrize(
    "text",
    [
        block("    return a - b", "    return b + a"),
        block("    return a - b", "    return a  +  b"),
        RIGHT + block("", "pass", "new.py"),
        RIGHT + block("    return add(a, a)", "    return 2 * a"),
        block("    return a - b", ""),
    ],
)
def test_anything_else_is_partial_with_its_similarity(text: str) -> None:
    verdict = verify_swe(PROBLEM, text)
    assert verdict.status == "partial"
    assert verdict.score is not None and 0 < verdict.score < 1


def test_a_golden_patch_that_does_not_apply_is_the_rows_fault() -> None:
    broken = Patch(FILES, GOLD.replace("a - b", "a / b"), (), "either", "")
    assert verify_swe(Problem("p", "swe", (), broken, "t"), RIGHT).status == "invalid"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (RIGHT, "right"),
        (block("    return a - b", "    return b + a"), "right"),
        (block("    return a - b", "    return a - b"), "wrong"),
        (block("    return a - b", "    return a + b + 0.5"), "wrong"),
        ("nothing", "wrong"),
        (block("    return a - b", "    import os; os._exit(0)"), "runtime"),
        (block("    return a - b", "    return ("), "runtime"),
    ],
)
def test_hidden_tests_say_whether_an_edit_resolves(text: str, status: str) -> None:
    assert verify_swe_resolved(PROBLEM, text).status == status


def test_an_edit_of_the_tests_changes_nothing() -> None:
    cheat = block("", "assert True", "tests.py")
    assert verify_swe_resolved(PROBLEM, cheat).outcome is False


# --- similarity -------------------------------------------------------------------------------


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
        return "".join(rng.choice(["a = 1\n", "b = 2\n", "pass\n", "x\n"]) for _ in range(12))

    for _ in range(200):
        files = {f"f{n}.py": text() for n in range(3)}
        found = {f"f{n}.py": text() for n in range(4) if rng.random() < 0.6}
        golden = {f"f{n}.py": text() for n in range(3) if rng.random() < 0.6}
        assert swe_rl_similarity(files, found, golden) == pytest.approx(
            published(files, found, golden), abs=1e-9
        )


def test_a_huge_edit_is_scored_in_bounded_time() -> None:
    files = {"a.py": "x = 1\n" * 10}
    found = {"a.py": "".join(f"y{n} = {n}\n" for n in range(20_000))}
    golden = {"a.py": "".join(f"z{n} = {n}\n" for n in range(5_000))}
    assert 0 < swe_rl_similarity(files, found, golden) < 1


# --- patches ----------------------------------------------------------------------------------


def test_real_golden_patches_parse_as_unidiff_reads_them(
    shared_data: Callable[[str], Path],
) -> None:
    unidiff = pytest.importorskip("unidiff")
    lines = shared_data("swe/swebench_gold_check_harness.jsonl").read_text().splitlines()
    assert lines
    for row in map(json.loads, lines):
        theirs = unidiff.PatchSet(row["model_patch"])
        ours = parse_diff(row["model_patch"])
        assert [d.new or d.old for d in ours] == [f.path for f in theirs]
        for mine, file in zip(ours, theirs, strict=True):
            added = sum(len(h.after) for h in mine.hunks) - sum(len(h.before) for h in mine.hunks)
            assert added == file.added - file.removed
            assert len(mine.hunks) == len(file)


def test_applying_a_diff_gives_the_file_it_was_made_from() -> None:
    rng = random.Random(1)
    for _ in range(300):
        before, after = (
            "".join(rng.choice(["a\n", "b\n", "c\n", "\n"]) for _ in range(rng.randint(0, 30)))
            for _ in range(2)
        )
        if rng.random() < 0.3:
            before = before.removesuffix("\n") if before.strip() else before
        if before == after:
            continue
        diff = unified(before, after)
        assert apply_diff({"f": before}, diff) == {"f": after}, diff


def unified(before: str, after: str) -> str:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines = []
    for line in difflib.unified_diff(old, new, "a/f", "b/f"):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(lines)


def test_files_are_created_deleted_and_renamed() -> None:
    created = "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,2 @@\n+a\n+b\n"
    assert apply_diff({}, created) == {"new.py": "a\nb\n"}
    deleted = "--- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
    assert apply_diff({"old.py": "a\n"}, deleted) == {"old.py": ""}
    renamed = "--- a/old.py\n+++ b/new.py\n@@ -1 +1 @@\n-a\n+b\n"
    assert apply_diff({"old.py": "a\n"}, renamed) == {"old.py": "", "new.py": "b\n"}


def test_line_endings_of_the_file_are_kept() -> None:
    files = {"f.py": "a\r\nb\r\n"}
    edit = "### f.py\n<<<<<<< SEARCH\nb\n=======\nc\n>>>>>>> REPLACE"
    assert apply_edit(files, edit, "search_replace") == {"f.py": "a\r\nc\r\n"}
    diff = "--- a/f.py\n+++ b/f.py\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert apply_edit(files, diff, "diff") == {"f.py": "a\r\nc\r\n"}


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../b", "a//b", ".git/x", "a\\b", "a\0", "."])
def test_unsafe_paths_are_unparsable(path: str) -> None:
    with pytest.raises(Unparsable):
        safe_path(path)
