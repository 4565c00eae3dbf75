from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl.errors import DataError
from cascade_rl.evaluation.swe.repository import (
    after_patch,
    is_test,
    read_files,
    sources,
    touched,
)
from tests.evaluation.swe.repositories import commit, git


def test_files_are_those_of_the_commit_whatever_lies_in_the_folder(tmp_path: Path) -> None:
    repo = tmp_path / "r"
    first = commit(repo, {"a.py": "x = 1\r\n", "d/é.py": "y = 2"})
    commit(repo, {"a.py": "x = 2\n"})
    (repo / "a.py").write_text("x = 3\n")
    assert read_files(repo, first) == {"a.py": "x = 1\r\n", "d/é.py": "y = 2"}
    assert read_files(repo, first[:10])["a.py"] == "x = 1\r\n"
    assert read_files(repo, "HEAD")["a.py"] == "x = 2\n"


def test_links_and_binary_files_are_left_out(tmp_path: Path) -> None:
    repo = tmp_path / "r"
    commit(repo, {"a.py": ""})
    (repo / "link.py").symlink_to("/etc/hostname")
    (repo / "table.bin").write_bytes(b"\0\1")
    (repo / "old.txt").write_bytes(b"caf\xe9")
    assert read_files(repo, commit(repo, {})) == {"a.py": ""}


def test_no_script_of_the_repository_is_run(tmp_path: Path) -> None:
    repo, seen = tmp_path / "r", tmp_path / "seen"
    name = commit(repo, {"a.py": "x = 1\n", ".gitattributes": "*.py filter=bad diff=bad\n"})
    command = f"touch {seen}"
    for key in ("core.fsmonitor", "filter.bad.smudge", "diff.bad.textconv", "core.pager"):
        git(repo, "config", key, command)
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\n{command}\n")
    hook.chmod(0o755)
    assert read_files(repo, name)["a.py"] == "x = 1\n"
    assert not seen.exists()


@pytest.mark.parametrize("name", ["0" * 40, "no-such-branch", "--help"])
def test_a_commit_that_is_not_there_is_said_in_gits_words(tmp_path: Path, name: str) -> None:
    commit(tmp_path / "r", {"a.py": ""})
    with pytest.raises(DataError, match=r"git rev-parse failed.*\n.*base_commit"):
        read_files(tmp_path / "r", name)


def test_a_folder_that_is_no_repository_is_said(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with pytest.raises(DataError, match="not a git repository"):
        read_files(tmp_path / "r", "HEAD")


def test_a_patch_leaves_no_file_that_it_deletes_or_moves(tmp_path: Path) -> None:
    repo = tmp_path / "r"
    commit(repo, {"gone.py": "x = 1\n", "old.py": "y = 1\ny = 2\n", "stays.py": ""})
    before = read_files(repo, "HEAD")
    git(repo, "rm", "-q", "gone.py")
    git(repo, "mv", "old.py", "new.py")
    patch = git(repo, "diff", "--cached")
    assert after_patch(before, patch) == {"new.py": "y = 1\ny = 2\n", "stays.py": ""}
    assert touched(patch) == {"gone.py", "old.py", "new.py"}


def test_the_fault_is_looked_for_in_sources_that_are_no_tests() -> None:
    tests = ["tests/a.py", "a/tests/b.py", "test_a.py", "a/b_test.py", "conftest.py", "tests.py"]
    code = ["a.py", "a/contest.py", "a/testament.py", "latest_a.py", "django/test/client.py"]
    assert [is_test(path) for path in tests + code] == [True] * 6 + [False] * 5
    files = dict.fromkeys([*tests, *code, "readme.md"], "x = 1")
    assert list(sources({**files, "empty/__init__.py": " \n"})) == code
    assert list(sources(files, (".md",))) == ["readme.md"]
