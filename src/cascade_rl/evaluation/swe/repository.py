"""A repository's files at one commit, as text, read from git's own store.

Two rules. Nothing of the repository is run here: files come from `git ls-tree` and `git cat-file`
and never from a checkout, so none of its hooks, filters and scripts gets a chance. And what is not
UTF-8, a link or another repository is left out: prompts, edits and programs see text files only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from cascade_rl.errors import DataError
from cascade_rl.verifiers.diffs import Unparsable, parse_diff, safe_path
from cascade_rl.verifiers.patches import apply_diff

Files = Mapping[str, str]
"""Path to text."""

REGULAR = (b"100644", b"100755")
MAX_FILE = 2 << 20
"""Bytes of a file that is read; generated tables and dumps are longer."""


def read_files(repo: Path, commit: str) -> dict[str, str]:
    """The text files of a commit, by path, in git's order.

    Raises DataError where the directory is no git repository or has no such commit.
    """
    tree = _git(repo, ["rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}"])
    listed = _git(repo, ["ls-tree", "-r", "-z", "-l", "--full-tree", tree.decode().strip()])
    found: dict[str, bytes] = {}
    for entry in listed.split(b"\0")[:-1]:
        about, _, name = entry.partition(b"\t")
        mode, _, blob, size = about.split()
        path = _path(name)
        if mode in REGULAR and path is not None and int(size) <= MAX_FILE:
            found[path] = blob
    texts = _texts(repo, found.values())
    return {path: text for path, blob in found.items() if (text := texts[blob]) is not None}


def after_patch(files: Files, patch: str) -> dict[str, str]:
    """All files after a unified diff, without those that it deletes or moves away.

    Raises Unparsable where it does not apply.
    """
    after = {**files, **apply_diff(files, patch)}
    for diff in parse_diff(patch):
        if diff.old is not None and diff.old != diff.new:
            del after[diff.old]
    return after


def touched(patch: str) -> set[str]:
    """The paths that a unified diff names, on either side. Raises Unparsable."""
    return {path for diff in parse_diff(patch) for path in (diff.old, diff.new) if path is not None}


def is_test(path: str) -> bool:
    """Whether a file is for tests, by the names that Python's tools go by.

    A folder called `test` or `testing` is often what a library offers for the tests of others.
    """
    *folders, name = path.split("/")
    stem = name.partition(".")[0]
    return (
        "tests" in folders
        or stem.startswith("test_")
        or stem.endswith("_test")
        or stem in ("test", "tests", "conftest")
    )


def sources(files: Files, suffixes: tuple[str, ...] = (".py",)) -> dict[str, str]:
    """The files among which the fault is looked for: sources that are no tests, and not empty."""
    return {
        path: text
        for path, text in files.items()
        if path.endswith(suffixes) and not is_test(path) and text.strip()
    }


def _path(name: bytes) -> str | None:
    """The path of an entry; None for one that no edit could name."""
    try:
        path = name.decode("utf-8")
        return path if safe_path(path) == path else None
    except (UnicodeDecodeError, Unparsable):
        return None


def _texts(repo: Path, blobs: Iterable[bytes]) -> dict[bytes, str | None]:
    """The text of each blob; None where it is none."""
    wanted = list(dict.fromkeys(blobs))
    data = _git(repo, ["cat-file", "--batch"], b"\n".join([*wanted, b""]) if wanted else b"")
    found: dict[bytes, str | None] = {}
    position = 0
    for blob in wanted:
        line = data.index(b"\n", position)
        size = int(data[position:line].split()[-1])
        found[blob] = _decoded(data[line + 1 : line + 1 + size])
        position = line + 1 + size + 1
    return found


def _decoded(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _git(repo: Path, arguments: list[str], given: bytes = b"") -> bytes:
    """What git prints. Raises DataError in its words where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), *arguments], input=given, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise DataError("git is not installed; it reads the repositories of SWE issues") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise DataError(
            f"{repo}: git {arguments[0]} failed: {said}",
            hint="expected a git repository that has the issue's base_commit:  git clone",
        )
    return done.stdout
