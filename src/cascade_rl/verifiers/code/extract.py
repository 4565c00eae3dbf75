"""Which part of an answer is its program: the last complete fenced block of the right language.

A block labelled with the language wins over one without a label, which is often sample output.
Fences are Markdown's: three or more backticks or tildes alone on a line but for the label,
closed by as many or more of the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cascade_rl.sandbox.base import Language

LABELS: dict[Language, frozenset[str]] = {
    "python": frozenset(("python", "py", "python3", "py3")),
    "cpp": frozenset(("cpp", "c++", "cc", "cxx", "c++17", "c++20", "c++14", "c++11", "cpp17")),
}
_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)


def extract_program(answer: str, language: Language = "python") -> str | None:
    """The last complete block of the language, else the last complete one without a label.

    All of an answer without fences; None where no block is complete or none is of the language.
    """
    fences = list(_FENCE.finditer(answer))
    if not fences:
        return answer if answer.strip() else None
    found: dict[bool, str] = {}
    for label, block in _blocks(answer, fences):
        if not label or label in LABELS[language]:
            found[bool(label)] = block
    return found.get(True, found.get(False))


def _blocks(answer: str, fences: list[re.Match[str]]) -> Iterator[tuple[str, str]]:
    """(label, text) of every complete block, in order."""
    opened: re.Match[str] | None = None
    for fence in fences:
        if opened is None:
            opened = fence
        elif not fence[3].strip() and fence[2].startswith(opened[2]):
            block = answer[opened.end() + 1 : fence.start()]
            words = opened[3].split()
            yield words[0].strip("{}.").lower() if words else "", _dedent(block, opened[1])
            opened = None


def _dedent(block: str, indent: str) -> str:
    """The lines of a block inside a list, without the blanks its fence stands behind."""
    if not indent:
        return block
    return re.sub(rf"^[ \t]{{1,{len(indent)}}}", "", block, flags=re.MULTILINE)
