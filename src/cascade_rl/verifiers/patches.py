"""Reading and applying edits: SEARCH/REPLACE blocks and unified diffs, several files at once.

Files are a mapping from path to text; applying returns the files that an edit touches, a
deleted file as empty text. Everything that cannot be applied without guessing is `Unparsable`:
a search text that is absent or occurs twice, a hunk whose lines are not there, two solutions,
a path that is absolute, climbs out or touches `.git`. Line ends and a byte order mark are the
file's, whatever the edit's are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cascade_rl.verifiers.diffs import Hunk, Unparsable, parse_diff, safe_path

__all__ = ["Unparsable", "apply_blocks", "apply_diff", "apply_edit", "parse_blocks"]

Files = Mapping[str, str]

MAX_WORK = 100_000_000
"""Characters that may be searched for one edit: its parts times the size of their files."""
BOM = "\ufeff"


def apply_edit(files: Files, text: str, format: str) -> dict[str, str]:
    """The touched files after the edit in `text`; format is `search_replace`, `diff`, `either`.

    Where a `<solution>` is marked there is exactly one and only it is read. Under `either` an
    answer with blocks and a diff beside them is two solutions, and Unparsable.
    """
    text = _solution(_line_feeds(text))
    if format == "search_replace":
        return apply_blocks(files, text)
    if format == "either" and _SEARCH.search(text):
        if _has_hunk_outside_blocks(text):
            raise Unparsable("SEARCH/REPLACE blocks and a unified diff: two solutions")
        return apply_blocks(files, text)
    return apply_diff(files, text)


_SEARCH = re.compile(r"^<<<<<<< SEARCH[ \t]*$", re.M)
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")
_OPEN = re.compile(r"^[ \t]*<solution>", re.M)
_CLOSE = re.compile(r"</solution>[ \t]*$", re.M)


def _has_hunk_outside_blocks(text: str) -> bool:
    inside = False
    for line in text.split("\n"):
        if line.startswith(("<<<<<<< SEARCH", ">>>>>>> REPLACE")):
            inside = line.startswith("<")
        elif not inside and _HUNK.match(line):
            return True
    return False


def _solution(text: str) -> str:
    """What `<solution>` and `</solution>` hold; all of the text where there is neither."""
    opened, closed = list(_OPEN.finditer(text)), list(_CLOSE.finditer(text))
    if not opened and not closed:
        return text
    if len(opened) != 1 or len(closed) != 1 or opened[0].end() > closed[0].start():
        raise Unparsable(f"{len(opened)} <solution>, {len(closed)} </solution>; expected one each")
    return text[opened[0].end() : closed[0].start()]


def _line_feeds(text: str) -> str:
    return text.removeprefix(BOM).replace("\r\n", "\n")


# --- a file while it is edited ----------------------------------------------------------------


class _Text:
    """A file's whole lines, each ended by a line feed; `text()` gives its own line ends back.

    A file with mixed line ends gets the commoner ones where it is touched.
    """

    def __init__(self, before: str) -> None:
        self.bom = BOM if before.startswith(BOM) else ""
        crlf = before.count("\r\n")
        self.newline = "\r\n" if 2 * crlf > before.count("\n") else "\n"
        self.body = _line_feeds(before)
        self.ended = self.body.endswith("\n") or not self.body
        if not self.ended:
            self.body += "\n"

    def text(self) -> str:
        body = self.body if self.ended else self.body.removesuffix("\n")
        return self.bom + (body if self.newline == "\n" else body.replace("\n", self.newline))

    def places(self, part: str, start: int = 0) -> list[int]:
        """The first two offsets, from `start` on, at which the lines `part` stand."""
        first = self._find(part, start)
        return [] if first < 0 else [p for p in (first, self._find(part, first + 1)) if p >= 0]

    def _find(self, part: str, start: int) -> int:
        if start == 0 and self.body.startswith(part):
            return 0
        return self.body.find("\n" + part, max(start - 1, 0)) + 1 or -1


class _Work:
    """Stops an edit that would take seconds to apply."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def spend(self, text: _Text) -> None:
        self._left -= len(text.body)
        if self._left < 0:
            raise Unparsable("too many edits of too large files")


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
        elif mark == "<<<<<<< SEARCH":
            raise Unparsable("a block that begins within another one")
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
    changed: dict[str, _Text] = {}
    work = _Work()
    for block in parse_blocks(text):
        known = block.path in changed or block.path in files
        file = changed.setdefault(block.path, _Text(files.get(block.path, "")))
        work.spend(file)
        if block.search:
            if not known:
                raise Unparsable(f"{block.path} does not exist")
            _replace_once(file, block)
        elif file.body:
            raise Unparsable(f"empty SEARCH in {block.path}, which exists")
        else:
            file.body = block.replace
    return {path: file.text() for path, file in changed.items()}


def _replace_once(file: _Text, block: Block) -> None:
    """Whole lines, exactly one place."""
    places = file.places(block.search)
    if len(places) != 1:
        times = "more than once" if places else "nowhere"
        raise Unparsable(f"SEARCH occurs {times} in {block.path}; expected once")
    start, stop = places[0], places[0] + len(block.search)
    file.body = file.body[:start] + block.replace + file.body[stop:]


# --- unified diffs ----------------------------------------------------------------------------


def apply_diff(files: Files, text: str) -> dict[str, str]:
    """Apply a unified diff. A hunk may have moved when its lines occur exactly once."""
    changed: dict[str, str] = {}
    work = _Work()
    for diff in parse_diff(_line_feeds(text)):
        path = diff.new or diff.old
        if path is None:
            raise Unparsable("a diff between nothing and nothing")
        before = "" if diff.old is None else changed.get(diff.old, files.get(diff.old))
        if before is None:
            raise Unparsable(f"{diff.old} does not exist")
        if diff.old != path and changed.get(path, files.get(path)):
            raise Unparsable(f"{path} exists already")
        after = _apply_hunks(before, diff.hunks, path, work)
        if diff.new is None and after:
            raise Unparsable(f"{path} is deleted, but not all of its lines are")
        if diff.renames and diff.old is not None:
            changed[diff.old] = ""
        changed[path] = after
    return changed


def _apply_hunks(before: str, hunks: list[Hunk], path: str, work: _Work) -> str:
    file = _Text(before)
    lines = re.findall(r"[^\n]*\n", file.body)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    result: list[str] = []
    done = 0  # characters of the body
    for hunk in hunks:
        work.spend(file)
        old = _join(line.removesuffix("\n") for line in hunk.before)
        start = _locate(file, old, offsets[min(hunk.start, len(lines))], done, path)
        result += [file.body[done:start], *hunk.after]
        done = start + len(old)
        if done == len(file.body):
            file.ended = _is_ended(hunk, file.ended)
    file.body = "".join([*result, file.body[done:]])
    if file.body and not file.body.endswith("\n"):
        file.body += "\n"
    return file.text()


def _is_ended(hunk: Hunk, before: bool) -> bool:
    """Whether the last line has a newline after a hunk at the end of the file.

    A hunk that marks neither side says nothing of it, and the file keeps what it had.
    """
    if not hunk.after:
        return True  # what is now the last line was not the last before
    marked = [side for side in (hunk.before, hunk.after) if side and not side[-1].endswith("\n")]
    return hunk.after[-1].endswith("\n") if marked else before


def _locate(file: _Text, old: str, start: int, done: int, path: str) -> int:
    if start >= done and file.body.startswith(old, start):
        return start
    if old and len(places := file.places(old, done)) == 1:
        return places[0]
    raise Unparsable(f"a hunk does not apply to {path}")
