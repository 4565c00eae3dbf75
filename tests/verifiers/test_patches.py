"""Edits read and applied: what applies gives the very file, what needs a guess is unparsable."""

from __future__ import annotations

import contextlib
import difflib
import random

import pytest

from cascade_rl.types import Patch
from cascade_rl.verifiers.diffs import Unparsable, parse_diff, safe_path
from cascade_rl.verifiers.patches import apply_diff, apply_edit
from tests.verifiers.swe_data import Data, gym_problems, swebench_patches


def test_real_golden_patches_parse_as_unidiff_reads_them(shared_data: Data) -> None:
    unidiff = pytest.importorskip("unidiff")
    for patch in swebench_patches(shared_data):
        theirs = unidiff.PatchSet(patch)
        ours = parse_diff(patch)
        assert [d.new or d.old for d in ours] == [f.path for f in theirs]
        for mine, file in zip(ours, theirs, strict=True):
            added = sum(len(h.after) for h in mine.hunks) - sum(len(h.before) for h in mine.hunks)
            assert added == file.added - file.removed
            assert len(mine.hunks) == len(file)


def test_real_golden_patches_apply_to_their_files_as_git_counts_lines(shared_data: Data) -> None:
    for problem in gym_problems(shared_data):
        reference = problem.reference
        assert isinstance(reference, Patch)
        after = apply_diff(reference.files, reference.patch)
        removed = sum(
            line[:1] == "-" and line[:4] != "--- " for line in reference.patch.split("\n")
        )
        added = sum(line[:1] == "+" and line[:4] != "+++ " for line in reference.patch.split("\n"))
        grown = sum(
            text.count("\n") - reference.files.get(path, "").count("\n")
            for path, text in after.items()
        )
        assert grown == added - removed


def unified(before: str, after: str) -> str:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines = []
    for line in difflib.unified_diff(old, new, "a/f", "b/f"):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(lines)


def test_applying_a_diff_gives_the_file_it_was_made_from() -> None:
    rng = random.Random(1)
    for _ in range(600):
        before, after = (
            "".join(rng.choice(["a\n", "b\n", "c\n", "\n"]) for _ in range(rng.randint(0, 30)))
            + rng.choice(["", "", "end"])
            for _ in range(2)
        )
        if before == after:
            continue
        diff = unified(before, after)
        assert apply_diff({"f": before}, diff) == {"f": after}, diff


HEAD = "--- a/f.py\n+++ b/f.py\n"
EDIT = "### f.py\n<<<<<<< SEARCH\nb\n=======\nc\n>>>>>>> REPLACE"
DIFF = HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"


@pytest.mark.parametrize("edit", [EDIT, DIFF, EDIT.replace("\n", "\r\n"), "\ufeff" + DIFF])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\n", "a\nc\n"),
        ("a\nb", "a\nc"),
        ("a\r\nb\r\n", "a\r\nc\r\n"),
        ("a\r\nb", "a\r\nc"),
        ("\ufeffa\nb\n", "\ufeffa\nc\n"),
        ("\ufeffa\r\nb\r\n", "\ufeffa\r\nc\r\n"),
        ("a\r\nb\r\nd\n", "a\r\nc\r\nd\r\n"),  # mixed: the commoner ones
    ],
)
def test_line_ends_byte_order_mark_and_last_newline_are_the_files(
    edit: str, before: str, after: str
) -> None:
    assert apply_edit({"f.py": before}, edit, "either") == {"f.py": after}


def test_a_byte_order_mark_does_not_hide_the_first_line() -> None:
    edit = "### f.py\n<<<<<<< SEARCH\na\n=======\nz\n>>>>>>> REPLACE"
    assert apply_edit({"f.py": "\ufeffa\nb\n"}, edit, "either") == {"f.py": "\ufeffz\nb\n"}


GIT = "diff --git a/old.py b/{}\n"


@pytest.mark.parametrize(
    ("files", "diff", "after"),
    [
        ({}, "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,2 @@\n+a\n+b\n", {"new.py": "a\nb\n"}),
        ({"old.py": "a\n"}, "--- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", {"old.py": ""}),
        (
            {"old.py": "a\n"},
            "--- a/old.py\n+++ b/new.py\n@@ -1 +1 @@\n-a\n+b\n",
            {"old.py": "", "new.py": "b\n"},
        ),
        (
            {"old.py": "a\n"},
            GIT.format("d/new.py")
            + "similarity index 100%\nrename from old.py\nrename to d/new.py\n",
            {"old.py": "", "d/new.py": "a\n"},
        ),
        (
            {"old.py": "a\nb\n"},
            GIT.format("new.py")
            + "similarity index 50%\nrename from old.py\nrename to new.py\nindex 1..2 100644\n"
            + "--- a/old.py\n+++ b/new.py\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n",
            {"old.py": "", "new.py": "a\nc\n"},
        ),
        ({}, GIT.format("old.py") + "new file mode 100644\nindex 0..e69de29\n", {"old.py": ""}),
        ({"old.py": ""}, GIT.format("old.py") + "deleted file mode 100644\n", {"old.py": ""}),
        (
            {"old.py": "a\n"},
            GIT.format("old.py") + "old mode 100644\nnew mode 100755\n"
            "--- a/old.py\n+++ b/old.py\n@@ -1 +1 @@\n-a\n+b\n",
            {"old.py": "b\n"},
        ),
        (
            {"x y.py": "a\n"},
            "--- a/x y.py\t2024-01-01\n+++ b/x y.py\t2024-01-02\n@@ -1 +1 @@\n-a\n+b\n",
            {"x y.py": "b\n"},
        ),
        (
            {"é.py": "a\n"},
            '--- "a/\\303\\251.py"\n+++ "b/\\303\\251.py"\n@@ -1 +1 @@\n-a\n+b\n',
            {"é.py": "b\n"},
        ),
        (
            {"f.py": "x\na\n"},
            HEAD + "@@ -1 +1 @@ def f():\n-a\n\\ No newline at end of file\n+b\n",
            {"f.py": "x\nb\n"},
        ),
        # a hunk that has moved, and whose lines occur once
        ({"f.py": "x\n" * 50 + "a\nb\n"}, DIFF, {"f.py": "x\n" * 50 + "a\nc\n"}),
        # removed and added lines that look like headers
        ({"f.py": "-- a\n"}, HEAD + "@@ -1 +1 @@\n--- a\n+++ b\n", {"f.py": "++ b\n"}),
        # an editor took the blank of an empty line
        ({"f.py": "a\n\nb\n"}, HEAD + "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n", {"f.py": "a\n\nc\n"}),
    ],
)
def test_git_diffs_give_the_files_git_gives(
    files: dict[str, str], diff: str, after: dict[str, str]
) -> None:
    assert apply_diff(files, diff) == after
    assert apply_edit(files, f"Here:\n```diff\n{diff}```\n", "either") == after


FILES = {"f.py": "a\nb\na\nb\n", "empty.py": "", "g.py": "a\n"}
UNPARSABLE = {
    "a search that occurs twice": EDIT,
    "a hunk that occurs twice elsewhere": DIFF.replace("-1,2", "-2,2"),
    "half a line": EDIT.replace("SEARCH\nb", "SEARCH\n"),
    "an empty search": EDIT.replace("SEARCH\nb\n", "SEARCH\n"),
    "a search in no file": EDIT.replace("### f.py\n", ""),
    "a search in a file that is not there": EDIT.replace("f.py", "h.py"),
    "a block within a block": EDIT.replace("=======", "<<<<<<< SEARCH\n======="),
    "no end": EDIT.replace(">>>>>>> REPLACE", ""),
    "no divider": EDIT.replace("=======", ""),
    "a hunk without its header": HEAD + "-a\n+b\n",
    "line numbers left out": HEAD + "@@ @@\n-a\n+b\n",
    "a new file over an old one": "--- /dev/null\n+++ b/g.py\n@@ -0,0 +1 @@\n+a\n",
    "a rename over a file": GIT.format("f.py") + "rename from g.py\nrename to f.py\n",
    "a rename of nothing": GIT.format("new.py") + "rename from old.py\nrename to new.py\n",
    "a deletion of half a file": "--- a/f.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
    "nothing to nothing": "--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n",
    "a binary patch": GIT.format("old.py") + "GIT binary patch\nliteral 5\nabc\n",
    "a mode alone": "diff --git a/g.py b/g.py\nold mode 100644\nnew mode 100755\n",
    "an absolute rename": GIT.format("x") + "rename from g.py\nrename to /etc/passwd\n",
    "a rename into .git": GIT.format("x") + "rename from g.py\nrename to .git/hooks/pre-push\n",
    "hunks out of order": HEAD + "@@ -4 +4 @@\n-b\n+c\n@@ -1 +1 @@\n-a\n+c\n",
}


@pytest.mark.parametrize("name", UNPARSABLE)
def test_what_needs_a_guess_is_unparsable(name: str) -> None:
    with pytest.raises(Unparsable):
        apply_edit(FILES, UNPARSABLE[name], "either")


def test_an_empty_search_fills_a_file_that_is_empty_or_new() -> None:
    edit = "### {}\n<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE"
    for path in ("empty.py", "new.py"):
        assert apply_edit(FILES, edit.format(path), "either") == {path: "x\n"}


PATHS = [
    "",
    "/a",
    "../a",
    "a/../b",
    "a//b",
    ".git/x",
    "a/.git/b",
    ".GIT/x",
    ".git./x",
    "a\\b",
    "a\0",
]
PATHS += [".", "..", "a/.", "C:/x", "~/x", "git~1/x", "a\x01b", "x" * 2000, "a/.git /b"]


@pytest.mark.parametrize("path", PATHS)
def test_unsafe_paths_are_unparsable(path: str) -> None:
    with pytest.raises(Unparsable):
        safe_path(path)
    with pytest.raises(Unparsable):
        apply_edit({}, f"### {path}\n<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE", "either")
    with pytest.raises(Unparsable):
        apply_edit({}, f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n", "either")


@pytest.mark.parametrize("path", ["a", "./a/b.py", "`a.py`", "**a.py**", ".gitignore", ".github/x"])
def test_plain_paths_are_not(path: str) -> None:
    assert safe_path(path) == path.strip("`*").removeprefix("./")


FORMATS = ["diff", "search_replace", "either"]


def test_no_garbage_raises_anything_else() -> None:
    rng = random.Random(5)
    words = [
        "--- a/f.py\n",
        "+++ b/f.py\n",
        "@@ -1 +1 @@\n",
        "-a\n",
        "+b\n",
        " a\n",
        "\\ No\n",
        "\0",
    ]
    words += [
        "### f.py\n",
        "<<<<<<< SEARCH\n",
        "=======\n",
        ">>>>>>> REPLACE\n",
        "a\n",
        "\r\n",
        "\ud800",
    ]
    words += [
        "diff --git a/f.py b/g.py\n",
        "rename to g.py\n",
        "<solution>",
        "</solution>\n",
        "\u2028",
    ]
    applied = 0
    for _ in range(5_000):
        text = "".join(rng.choices(words, k=rng.randint(1, 14)))
        with contextlib.suppress(Unparsable):
            applied += bool(apply_edit(FILES, text, rng.choice(FORMATS)))
    assert applied > 0
