"""What an answer does to a repository: the files it changes, its diff, and what it votes for.

Two rules. An answer that cannot be read is data, with its reason, and never an error. And a vote is
for what the code does, not for how it is written: Python that differs in comments, blanks or
quotes only is one patch.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cascade_rl.digests import digest_json
from cascade_rl.engines.generate import Response
from cascade_rl.evaluation.swe.repository import Files
from cascade_rl.types import Patch
from cascade_rl.verifiers.patches import Unparsable
from cascade_rl.verifiers.swe import blankless, edited_files, syntax_tree

CUT_OFF = "cut off"
NO_CHANGE = "every file is unchanged"
NO_PLACE = "a file where a directory is, or a name that no file can have"
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer to a repair prompt.

    `error` says why it is no patch, and is empty where it is one. `changed` are the whole files
    after it, `patch` is a unified diff that `git apply` takes, `vote` 16 hex digits that edits
    with the same effect share.
    """

    sample: int
    tokens: int
    error: str = ""
    changed: Mapping[str, str] = field(default_factory=dict)
    patch: str = ""
    vote: str = ""

    @property
    def content(self) -> str:
        """Digest of the changed files, to the letter: what need not be run twice."""
        return digest_json(sorted(self.changed.items()))


def read_candidate(files: Files, issue: str, response: Response) -> Candidate:
    """The candidate that an answer is. `files` are all of the repository."""
    if response.finish == "length":
        return Candidate(response.sample, response.tokens, CUT_OFF)
    try:
        edited = edited_files(Patch(files, "", (), "search_replace", issue), response.text)
    except Unparsable as error:
        return Candidate(response.sample, response.tokens, str(error))
    changed = {path: text for path, text in edited.items() if files.get(path) != text}
    if not all(_has_place(files, edited, path) for path in changed):
        return Candidate(response.sample, response.tokens, NO_PLACE)
    vote = vote_of(files, changed)
    if not vote:
        return Candidate(response.sample, response.tokens, NO_CHANGE)
    patch = diff_of(files, changed)
    return Candidate(response.sample, response.tokens, "", changed, patch, vote)


def _has_place(files: Files, edited: Files, path: str) -> bool:
    """Whether a file can be written there: no file above it, none below it, short names."""
    if path in files:
        return True
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts))]
    others = (*files, *edited)
    return (
        all(len(part.encode("utf-8", "replace")) <= LONGEST_NAME for part in parts)
        and not any(folder in files or folder in edited for folder in above)
        and not any(other.startswith(path + "/") for other in others)
    )


def vote_of(files: Files, changed: Files) -> str:
    """16 hex digits over what really changes; empty where nothing does."""
    effects = [
        (path, after)
        for path, text in sorted(changed.items())
        if (after := _effect(path, text)) != (_effect(path, files[path]) if path in files else None)
    ]
    return digest_json(effects)[:16] if effects else ""


def _effect(path: str, text: str) -> str:
    """Python's syntax tree; for another text, or Python that does not parse, its lines without
    blanks, but for Python's indentation."""
    python = path.endswith((".py", ".pyi"))
    tree = syntax_tree(text) if python else None
    return tree if tree is not None else "\n".join(blankless(text, python))


# --- the diff -------------------------------------------------------------------------------------


def diff_of(files: Files, changed: Files) -> str:
    """The changed files as one unified diff in git's form: `git apply` makes these very files.

    Lines end at line feeds only, so that form feeds and carriage returns stay where they are.
    """
    return "".join(_file_diff(path, files.get(path), changed[path]) for path in sorted(changed))


def _file_diff(path: str, before: str | None, after: str) -> str:
    tab = "\t" if " " in path else ""  # git's own way to say where such a name ends
    head = f"diff --git a/{path} b/{path}\n"
    if before is None:
        head += "new file mode 100644\n"
    lines = _diff_lines("" if before is None else before, after)
    if not lines:
        return head
    old = "/dev/null" if before is None else f"a/{path}{tab}"
    return f"{head}--- {old}\n+++ b/{path}{tab}\n{lines}"


def _diff_lines(before: str, after: str) -> str:
    hunks = list(difflib.unified_diff(_lines(before), _lines(after)))[2:]
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in hunks
    )


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)
