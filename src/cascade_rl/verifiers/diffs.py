"""Parsing unified diffs, git's headers included: renames, new and deleted files, empty ones.

Prose and fences around a diff are ignored; what git says in words and not in lines (a binary
patch, a copy) is `Unparsable`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


class Unparsable(ValueError):
    """The answer holds no edit, or one that does not apply."""


def safe_path(path: str) -> str:
    """A relative path inside the repository, normalised; Unparsable for any other."""
    path = path.strip().strip("`*").strip().removeprefix("./")
    parts = path.split("/")
    if not path or path[0] in "/~" or "\\" in path or re.search(r"[\0-\x1f\x7f]", path):
        raise Unparsable(f"path {path[:80]!r} is not a relative path")
    if re.match(r"[A-Za-z]:", path) or len(path) > 1000:
        raise Unparsable(f"path {path[:80]!r} is not a relative path")
    if any(part in ("", ".", "..") or _is_git(part) for part in parts):
        raise Unparsable(f"path {path[:80]!r} leaves the repository")
    return path


def _is_git(part: str) -> bool:
    """`.git`, also as file systems that ignore case, trailing dots and blanks read it."""
    return part.rstrip(". ").casefold() in (".git", "git~1")


@dataclass(slots=True)
class Hunk:
    """Lines before and after, with their newlines; `start` is the first line, from 0."""

    start: int
    before: list[str]
    after: list[str]


@dataclass(slots=True)
class FileDiff:
    """One file's hunks; None for a side that does not exist."""

    old: str | None
    new: str | None
    hunks: list[Hunk] = field(default_factory=list)

    @property
    def renames(self) -> bool:
        """Whether the old path is gone and the new one takes its place."""
        return self.old is not None and self.new is not None and self.old != self.new


_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_GIT = re.compile(r'diff --git (?:a/(.*) b/(.*)|"a/(.*)" "b/(.*)")$')
_BINARY = ("GIT binary patch", "Binary files ", "copy from ", "copy to ")


def parse_diff(text: str) -> list[FileDiff]:
    """The files of a unified diff, prose and fences around it ignored. Raises Unparsable."""
    lines = text.split("\n")
    diffs: list[FileDiff] = []
    header: FileDiff | None = None  # what `diff --git` and the lines after it say
    position = 0
    while position < len(lines):
        line = lines[position]
        following = lines[position + 1] if position + 1 < len(lines) else ""
        if line.startswith("--- ") and following.startswith("+++ "):
            if header is None or header.hunks:
                diffs.append(FileDiff(None, None))
            diffs[-1].old, diffs[-1].new = _diff_path(line), _diff_path(following)
            header, position = None, position + 2
        elif match := _GIT.match(line):
            header = _git_header(match)
            diffs.append(header)
            position += 1
        elif diffs and (match := _HUNK.match(line)):
            hunk, position = _parse_hunk(lines, position + 1, match)
            diffs[-1].hunks.append(hunk)
            header = None
        else:
            if header is not None:
                _read_header(header, line)
            position += 1
    found = [diff for diff in diffs if diff.hunks or diff.old != diff.new]
    if not found:
        raise Unparsable("no unified diff")
    return found


def _git_header(match: re.Match[str]) -> FileDiff:
    """The paths of `diff --git`; the lines that follow it say what happens to them."""
    old, new = (match[1], match[2]) if match[1] is not None else (match[3], match[4])
    return FileDiff(safe_path(old), safe_path(new))


def _read_header(diff: FileDiff, line: str) -> None:
    """One line between `diff --git` and the hunks."""
    if line.startswith("new file mode"):
        diff.old = None
    elif line.startswith("deleted file mode"):
        diff.new = None
    elif line.startswith("rename from "):
        diff.old = safe_path(_unquoted(line.removeprefix("rename from ")))
    elif line.startswith("rename to "):
        diff.new = safe_path(_unquoted(line.removeprefix("rename to ")))
    elif line.startswith(_BINARY):
        raise Unparsable(f"{line[:40]!r}: only lines of text are read")


def _diff_path(line: str) -> str | None:
    path = _unquoted(line[4:].split("\t")[0].strip())
    if path == "/dev/null":
        return None
    return safe_path(path[2:] if path.startswith(("a/", "b/")) else path)


def _unquoted(path: str) -> str:
    """Git quotes paths with other than ASCII characters: "a/caf\\303\\251.py"."""
    path = path.strip()
    if len(path) < 2 or path[0] != '"' or path[-1] != '"':
        return path
    octal = re.sub(r"\\([0-3][0-7]{2})", lambda m: chr(int(m[1], 8)), path[1:-1])
    try:
        return octal.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Unparsable(f"path {path[:80]} is not UTF-8") from None


def _parse_hunk(lines: list[str], position: int, header: re.Match[str]) -> tuple[Hunk, int]:
    old_left = 1 if header[2] is None else int(header[2])
    new_left = 1 if header[4] is None else int(header[4])
    # Nothing before: the header names the line after which the new ones stand.
    start = int(header[1])
    hunk = Hunk(max(start - 1, 0) if old_left else start, [], [])
    while (old_left > 0 or new_left > 0) and position < len(lines):
        mark, rest = lines[position][:1] or " ", lines[position][1:] + "\n"
        if mark not in " +-":
            break
        if mark in " -":
            hunk.before.append(rest)
            old_left -= 1
        if mark in " +":
            hunk.after.append(rest)
            new_left -= 1
        position = _no_newline(lines, position + 1, mark, hunk)
    if old_left or new_left:
        raise Unparsable("a hunk that is shorter or longer than its header says")
    return hunk, position


def _no_newline(lines: list[str], position: int, mark: str, hunk: Hunk) -> int:
    """Honour the marker line that says the last line has no newline."""
    if position >= len(lines) or not lines[position].startswith("\\"):
        return position
    for side, marks in ((hunk.before, " -"), (hunk.after, " +")):
        if mark in marks:
            side[-1] = side[-1].removesuffix("\n")
    return position + 1
