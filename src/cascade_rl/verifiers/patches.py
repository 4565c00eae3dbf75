"""Reading and applying edits: SEARCH/REPLACE blocks and unified diffs, several files at once.

Files are a mapping from path to text; applying returns the files that an edit touches, a
deleted file as empty text. Everything that cannot be applied without guessing is `Unparsable`:
a search text that is absent or occurs twice, a hunk whose context is not there, a path that is
absolute, climbs out or touches `.git`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Files = Mapping[str, str]


class Unparsable(ValueError):
    """The answer holds no edit, or one that does not apply."""


def safe_path(path: str) -> str:
    """A relative path inside the repository, normalised; Unparsable for any other."""
    path = path.strip().strip("`").removeprefix("./")
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or "\0" in path:
        raise Unparsable(f"path {path[:80]!r} is not a relative path")
    if any(part in ("", ".", "..", ".git") for part in parts):
        raise Unparsable(f"path {path[:80]!r} leaves the repository")
    return path


def apply_edit(files: Files, text: str, format: str) -> dict[str, str]:
    """The touched files after the edit in `text`; format is `search_replace`, `diff`, `either`."""
    text = text.replace("\r\n", "\n")
    if format == "diff" or (format == "either" and "<<<<<<< SEARCH" not in text):
        return apply_diff(files, text)
    return apply_blocks(files, text)


# --- SEARCH/REPLACE ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Replace the lines `search` of `path` by `replace`; both end in a newline or are empty."""

    path: str
    search: str
    replace: str


def parse_blocks(text: str) -> list[Block]:
    """Blocks in order. A `### path` line names the file of the blocks that follow it."""
    blocks: list[Block] = []
    path: str | None = None
    search: list[str] = []
    lines: list[str] | None = None  # where lines go; None outside a block
    replacing = False
    for line in text.split("\n"):
        mark = line.rstrip()
        if lines is None:
            if mark.startswith("### "):
                path = safe_path(mark[4:])
            elif mark == "<<<<<<< SEARCH":
                lines, search, replacing = [], [], False
        elif mark == "=======" and not replacing:
            search, lines, replacing = lines, [], True
        elif mark == ">>>>>>> REPLACE" and replacing:
            if path is None:
                raise Unparsable("a block without a `### path` line before it")
            blocks.append(Block(path, _join(search), _join(lines)))
            lines = None
        else:
            lines.append(line)
    if lines is not None:
        raise Unparsable("a block that does not end")
    if not blocks:
        raise Unparsable("no SEARCH/REPLACE block")
    return blocks


def _join(lines: Iterable[str]) -> str:
    return "".join(line + "\n" for line in lines)


def apply_blocks(files: Files, text: str) -> dict[str, str]:
    """Apply every block in order, later ones to what earlier ones left."""
    changed: dict[str, str] = {}
    for block in parse_blocks(text):
        before = changed.get(block.path, files.get(block.path))
        if block.search:
            if before is None:
                raise Unparsable(f"{block.path} does not exist")
            changed[block.path] = _replace_once(before, block)
        elif before:
            raise Unparsable(f"empty SEARCH in {block.path}, which exists")
        else:
            changed[block.path] = block.replace
    return changed


def _replace_once(before: str, block: Block) -> str:
    """Whole lines, exactly one place."""
    search, replace = block.search, block.replace
    if "\r\n" in before:
        search, replace = search.replace("\n", "\r\n"), replace.replace("\n", "\r\n")
    ended = before.endswith("\n")
    whole = "\n" + (before if ended else before + "\n")
    found = whole.count("\n" + search)
    if found != 1 or whole.find("\n" + search, whole.find("\n" + search) + 1) >= 0:
        raise Unparsable(f"SEARCH occurs {found} times in {block.path}; expected once")
    after = whole.replace("\n" + search, "\n" + replace, 1)[1:]
    return after if ended else after.removesuffix("\n")


# --- unified diffs ----------------------------------------------------------------------------


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
    hunks: list[Hunk]


_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def parse_diff(text: str) -> list[FileDiff]:
    """The files of a unified diff, prose and fences around it ignored."""
    lines = text.split("\n")
    diffs: list[FileDiff] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        following = lines[position + 1] if position + 1 < len(lines) else ""
        if line.startswith("--- ") and following.startswith("+++ "):
            diffs.append(FileDiff(_diff_path(line), _diff_path(following), []))
            position += 2
        elif diffs and (match := _HUNK.match(line)):
            hunk, position = _parse_hunk(lines, position + 1, match)
            diffs[-1].hunks.append(hunk)
        else:
            position += 1
    if not any(diff.hunks for diff in diffs):
        raise Unparsable("no unified diff")
    return diffs


def _diff_path(line: str) -> str | None:
    path = line[4:].split("\t")[0].strip()
    if path == "/dev/null":
        return None
    return safe_path(path[2:] if path.startswith(("a/", "b/")) else path)


def _parse_hunk(lines: list[str], position: int, header: re.Match[str]) -> tuple[Hunk, int]:
    start, old, _, new = (int(group or 1) for group in header.groups())
    old_left = old if header[2] is None else int(header[2])
    new_left = new if header[4] is None else int(header[4])
    hunk = Hunk(max(int(header[1]) - 1, 0) if old_left else start, [], [])
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


def apply_diff(files: Files, text: str) -> dict[str, str]:
    """Apply a unified diff. A hunk may have moved when its lines occur exactly once."""
    changed: dict[str, str] = {}
    for diff in parse_diff(text):
        path = diff.new or diff.old
        if path is None:
            raise Unparsable("a diff between nothing and nothing")
        before = "" if diff.old is None else changed.get(diff.old, files.get(diff.old))
        if before is None:
            raise Unparsable(f"{diff.old} does not exist")
        if diff.old is None and files.get(path):
            raise Unparsable(f"{path} exists already")
        if diff.old is not None and diff.new is not None and diff.old != diff.new:
            changed[diff.old] = ""
        changed[path] = _apply_hunks(before, diff.hunks, path)
    return changed


def _apply_hunks(before: str, hunks: list[Hunk], path: str) -> str:
    lines = re.findall(r"[^\n]*\n|[^\n]+", before)
    crlf = "\r\n" in before
    result: list[str] = []
    done = 0
    for hunk in hunks:
        old = [_with_crlf(line) for line in hunk.before] if crlf else hunk.before
        new = [_with_crlf(line) for line in hunk.after] if crlf else hunk.after
        start = _locate(lines, old, hunk.start, done, path)
        result += lines[done:start] + new
        done = start + len(old)
    return "".join(result + lines[done:])


def _with_crlf(line: str) -> str:
    return line[:-1] + "\r\n" if line.endswith("\n") and not line.endswith("\r\n") else line


def _locate(lines: list[str], old: list[str], start: int, done: int, path: str) -> int:
    if start >= done and lines[start : start + len(old)] == old:
        return start
    if old:
        last = len(lines) - len(old) + 1
        found = [i for i in range(done, last) if lines[i : i + len(old)] == old]
        if len(found) == 1:
            return found[0]
    raise Unparsable(f"a hunk does not apply to {path}")
