from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.engines.generate import Response
from cascade_rl.evaluation.swe.edits import Candidate, diff_of, read_candidate, vote_of
from cascade_rl.evaluation.swe.repository import after_patch, read_files
from cascade_rl.verifiers.patches import apply_diff
from tests.evaluation.swe.answering import edits
from tests.evaluation.swe.repositories import SPECS, Spec, block, commit, git
from tests.verifiers.swe_data import files_under, swebench_patches

FILES = {
    "a.py": "def f(x):\n    # doubles\n    return x * 2\n",
    "b.txt": "one\ntwo\n",
    "c/d.py": "y = 1",
}


def candidate(text: str, finish: str = "stop") -> Candidate:
    response = Response(0, 3, text, "length" if finish == "length" else "stop", 17)
    return read_candidate(FILES, "it is broken", response)


def edited(path: str, search: str, replace: str) -> Candidate:
    return candidate(block(path, search, replace))


# --- answers that are no patch --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I would change f.", "no SEARCH/REPLACE block"),
        (block("a.py", "no such line", "x"), "SEARCH occurs nowhere in a.py; expected once"),
        (block("../a.py", "", "x"), "path '../a.py' leaves the repository"),
        (block("/etc/passwd", "", "x"), "path '/etc/passwd' is not a relative path"),
        (block("c/.git/hooks/pre-commit", "", "x"), "leaves the repository"),
        (block("gone.py", "x", "y"), "gone.py does not exist"),
        (block("a.py", "", "x"), "empty SEARCH in a.py, which exists"),
        ("<think>\n" + block("b.txt", "one", "ONE"), "the thought never ends"),
        (block("b.txt", "one", "one"), "every file is unchanged"),
        (block("a.py", "    return x * 2", "    return x*2  # twice"), "every file is unchanged"),
        (block("a.py/x.py", "", "x = 1"), "a file where a directory is"),
        (block("c", "", "x = 1"), "a file where a directory is"),
        (block("n" * 300, "", "x = 1"), "a name that no file can have"),
        (block("n/x.py", "", "x = 1") + "\n" + block("n", "", "x = 1"), "a file where a directory"),
    ],
)
def test_an_answer_that_is_no_patch_is_data_with_its_reason(text: str, why: str) -> None:
    found = candidate(text)
    assert why in found.error
    assert (found.sample, found.tokens) == (3, 17)
    assert (dict(found.changed), found.patch, found.vote) == ({}, "", "")


def test_an_answer_that_was_cut_off_is_none_even_where_its_edit_is_whole() -> None:
    text = block("b.txt", "one", "ONE")
    assert not candidate(text).error
    assert candidate(text, "length").error == "cut off"


@pytest.mark.parametrize("seed", range(20))
def test_no_answer_of_any_shape_raises(seed: int) -> None:
    rng = random.Random(seed)
    parts = ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "### a.py", "### ../x", "one", "two",
             "### b.txt", "```diff", "```", "<solution>", "</solution>", "\ud800", "\0", "</think>",
             "### c/d.py", "y = 1", "", "### n/é.py"]  # fmt: skip
    for _ in range(300):
        found = candidate("\n".join(rng.choices(parts, k=rng.randint(1, 14))))
        assert bool(found.error) == (not found.patch)
        assert all(not path.startswith(("/", "..")) for path in found.changed)


# --- votes ----------------------------------------------------------------------------------------


def test_python_that_differs_in_comments_blanks_and_quotes_only_is_one_vote() -> None:
    plain = edited("a.py", "    return x * 2", "    return x + x")
    noted = edited("a.py", "    # doubles\n    return x * 2", "\n    return (x+x)  # why not")
    other = edited("a.py", "    return x * 2", "    return x + x + 0")
    assert plain.vote == noted.vote != other.vote
    assert plain.content != noted.content


def test_where_an_edit_stands_and_in_how_many_files_makes_another_vote() -> None:
    one = vote_of(FILES, {"b.txt": "one\nTWO\n"})
    assert one == vote_of(FILES, {"b.txt": "one\n\nTWO  \n", "a.py": FILES["a.py"] + "\n"})
    assert one != vote_of(FILES, {"b.txt": "ONE\ntwo\n"})
    assert one != vote_of(FILES, {"b.txt": "one\nTWO\n", "new.txt": "x\n"})
    assert vote_of(FILES, {"a.py": FILES["a.py"] + "# end\n"}) == ""
    assert vote_of(FILES, {"empty/__init__.py": ""}) != ""  # a new file is a change, empty or not


def test_python_that_does_not_parse_votes_by_its_lines() -> None:
    one, same = (
        vote_of(FILES, {"a.py": "def f(:\n  x"}),
        vote_of(FILES, {"a.py": "def f( :\n  x\n"}),
    )
    assert one == same != vote_of(FILES, {"a.py": "def f(:\n x"})


# --- the diff that is written ---------------------------------------------------------------------


def applied(repo: Path, patch: str) -> dict[str, str]:
    """The files after `git apply` of a patch as JSON would hold it."""
    text = json.loads(json.dumps({"model_patch": patch}))["model_patch"]
    git(repo, "apply", "--whitespace=nowarn", "-", given=text)
    return read_files(repo, commit(repo, {}))


STRANGE = {
    "plain.py": "a\nb\nc\n",
    "no end.py": "a\nb",
    "crlf.txt": "a\r\nb\r\nc\r\n",
    "form.py": "a\x0cb\nc\u2028d\ne\x1df\n",
    "é/ü.py": "x\n",
    "emptied.py": "a\n",
    "ended.py": "a\nb",
    "dashes.sql": "-- a\n++ b\n",
}
AFTER = {
    "plain.py": "a\nB\nc\n",
    "no end.py": "A\nb",
    "crlf.txt": "a\r\nB\r\nc\r\n",
    "form.py": "a\x0cb\nC\u2028d\ne\x1df\n",
    "é/ü.py": "y\n",
    "emptied.py": "",
    "ended.py": "a\nb\n",
    "dashes.sql": "-- A\n++ B\n",
    "new/file.py": "x\ny",
    "new/empty.py": "",
    "new name.py": "z\n",
}


def test_git_apply_makes_the_very_files(tmp_path: Path) -> None:
    commit(tmp_path / "r", STRANGE)
    assert applied(tmp_path / "r", diff_of(STRANGE, AFTER)) == AFTER


def test_random_edits_go_through_git_apply_and_our_own_reader(tmp_path: Path) -> None:
    rng = random.Random(5)
    before, after = {}, {}
    for n in range(40):
        rows = [rng.choice("ab \t\x0c") * rng.randint(0, 2) for _ in range(rng.randint(0, 30))]
        other = [row for row in rows if rng.random() > 0.2]
        other = [part for row in other for part in ([row, "new"] if rng.random() < 0.1 else [row])]
        end = rng.choice(["", "\n"])
        before[f"f{n}"] = "\n".join(rows) + end
        after[f"f{n}"] = "\n".join(other) + rng.choice(["", end])
    commit(tmp_path / "r", before)
    changed = {path: text for path, text in after.items() if text != before[path]}
    patch = diff_of(before, changed)
    assert applied(tmp_path / "r", patch) == after
    assert apply_diff(before, patch) == changed


def test_real_golden_patches_written_by_us_make_the_files_they_made(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for n, patch in enumerate(swebench_patches(shared_data)):
        files = files_under(patch)
        changed = {**after_patch(files, patch)}
        before |= {f"p{n}/{path}": text for path, text in files.items() if path in changed}
        after |= {f"p{n}/{path}": text for path, text in changed.items()}
    assert len(before) >= 58
    commit(tmp_path / "r", before)
    assert applied(tmp_path / "r", diff_of(before, after)) == after


@pytest.mark.parametrize("spec", SPECS[::4], ids=lambda spec: spec.name)
@pytest.mark.parametrize("kind", ["good", "worse", "aside"])
def test_patches_of_the_small_repositories_apply(repos: Path, spec: Spec, kind: str) -> None:
    repo = repos / f"small__{spec.name}"
    files = read_files(repo, "HEAD")
    made = read_candidate(files, spec.issue, Response(0, 0, edits(spec, kind), "stop", 1))
    git(repo, "apply", "--check", "-", given=made.patch)
    assert apply_diff(files, made.patch) == made.changed
