"""What a prompt says about the form of its answer, appended where the source says nothing.

The words for math are those of AceReason-Nemotron (2505.16400, section 2.5); the words for code
say the same as theirs. The starter code of a problem is no instruction: its header is part of
the task and always stands in the prompt, under `STARTER`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from cascade_rl.types import Domain, Message, Problem

MATH = "Please reason step by step, and put your final answer within \\boxed{}."
CODE = "Write the solution in Python and put it in one block:\n```python\n# your code here\n```"
CPP = "Write the solution in C++17 and put it in one code block:\n```cpp\n// your code here\n```"
STARTER = "Start from this code:\n```python\n"

INSTRUCTIONS: Mapping[Domain, tuple[str, re.Pattern[str]]] = {
    "math": (
        MATH,
        re.compile(r"\\boxed\b|final answer (?:with)?in a box|The answer is \(X\)"),
    ),
    "code": (
        CODE,
        re.compile(
            r"```\w*\s*\n?\s*#+ *your\b|\bcode blocks?\b|\bbackticks\b|\bmarkdown\b"
            r"|\bdelimiters\b|(?:use|with|within|in|inside) ?(?:a |the )?```",
            re.IGNORECASE,
        ),
    ),
}
"""By ability: what is appended, and how a prompt is known to say it already."""


def starter_block(code: str) -> str:
    """The header a program starts from, as it stands in a prompt."""
    return f"\n\n{STARTER}{code.strip(chr(10))}\n```"


def instructed(problem: Problem) -> Problem:
    """The problem with its ability's instruction at the end of the last user turn.

    Unchanged where a turn has one of its own, or the ability needs none.
    """
    if problem.domain not in INSTRUCTIONS:
        return problem
    text, known = INSTRUCTIONS[problem.domain]
    if any(known.search(turn.content) for turn in problem.prompt):
        return problem
    place = max(n for n, turn in enumerate(problem.prompt) if turn.role == "user")
    turns = list(problem.prompt)
    turns[place] = _with(turns[place], text)
    return replace(problem, prompt=tuple(turns))


def _with(turn: Message, text: str) -> Message:
    return replace(turn, content=f"{turn.content.rstrip()}\n\n{text}")
