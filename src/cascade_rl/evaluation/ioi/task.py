"""A problem of the IOI kind: subtasks with points, their tests, a checker, limits.

The olympiad's word for it is a task. One rule: what a test feeds and expects stays in its files
until it is judged, and no text made for a model ever holds any of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cascade_rl.sandbox.base import Language

_OWN_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"[^"\n]*"[^\n]*$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Test:
    """One input and the jury's answer to it, both UTF-8 files."""

    name: str
    input: Path
    answer: Path


@dataclass(frozen=True, slots=True)
class Comparison:
    """A built-in checker; it scores 0 or 1.

    `exact`: the output equals the answer but for blanks at the ends of lines and of the text.
    `tokens`: the same words, whatever separates them. `tolerance`: like `exact`, and numbers may
    be off by this much, absolutely or relatively.
    """

    kind: Literal["exact", "tokens", "tolerance"]
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class CheckerProgram:
    """The jury's own checker; it prints a score from 0 to 1 as its first word.

    It finds `input.txt`, `output.txt` (what the submission printed) and `answer.txt` where it is
    started.
    """

    name: str
    source: str
    language: Language


Checker = Comparison | CheckerProgram


@dataclass(frozen=True, slots=True)
class Grader:
    """What stands before and after a submission that implements functions and has no main."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Subtask:
    """Worth `points` times the lowest score of its tests; `constraints` is shown to the model."""

    name: str
    points: float
    constraints: str
    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """A whole problem. `digest` covers everything here and the bytes of every test."""

    name: str
    title: str
    statement: str
    languages: tuple[Language, ...]
    time_limits_s: Mapping[Language, float]
    memory_limit_mb: int
    output_limit_mb: int
    max_submissions: int
    samples: tuple[Test, ...]
    subtasks: tuple[Subtask, ...]
    checker: Checker
    graders: Mapping[Language, Grader]
    digest: str

    @property
    def points(self) -> float:
        """Of all subtasks together."""
        return sum(subtask.points for subtask in self.subtasks)

    def program(self, source: str, language: Language) -> str:
        """What is compiled: the submission, between the two parts of a grader where there is one.

        All is one file, so lines that include a file of the problem are taken out.
        """
        grader = self.graders.get(language)
        if grader is None:
            return source
        if language == "cpp":
            source = _OWN_INCLUDE.sub("", source)
        return f"{grader.before}\n{source}\n{grader.after}\n"
