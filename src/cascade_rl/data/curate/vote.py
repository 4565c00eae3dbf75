"""Majority vote: recorded attempts against the reference (arXiv 2505.16400, math data; 2512.13607
section 4.5: keep a problem when the answer that most attempts give is verified correct).

One rule: answers are one class when the math verifier takes one for the other, so `1/2` and
`0.5` vote together. The largest class wins; where two are as large there is no majority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cascade_rl.chat import has_open_thought
from cascade_rl.data.curate.rule import NOT_RECORDED, recorded_texts
from cascade_rl.types import Answer, Problem, Row
from cascade_rl.verifiers import verify_math
from cascade_rl.verifiers.math import final_answer

ATTEMPTS = ("attempts", "responses", "outputs")
"""Keys of extra_info under which attempts are recorded: whole responses, or answers alone."""
BARE_ANSWER = 100
"""Characters up to which one line without a box is itself an answer."""


def majority_vote(row: Row) -> str | None:
    """No attempt with an answer, a tie, or a majority that is not the reference."""
    if not isinstance(row, Problem) or not isinstance(row.reference, Answer):
        return None
    attempts = recorded_texts(row, ATTEMPTS)
    if attempts is None:
        return f"{NOT_RECORDED}: attempts"
    answers = [answer for text in attempts if (answer := answer_of(text))]
    if not answers:
        return f"majority vote, no answer: {len(attempts)} attempts"
    ranked = sorted(classes(row, answers), key=len, reverse=True)
    if len(ranked) > 1 and len(ranked[0]) == len(ranked[1]):
        return f"majority vote, tie: {ranked[0][0][:40]} and {ranked[1][0][:40]}"
    winner = ranked[0][0]
    if same(row, winner, row.reference.text):
        return None
    shown = f"{winner[:40]} by {len(ranked[0])} of {len(answers)}"
    return f"majority vote, not the reference: {shown}, reference {row.reference.text[:40]}"


def answer_of(attempt: str) -> str | None:
    """The boxed answer of a response; a short line without a box is the answer itself."""
    if has_open_thought(attempt):
        return None
    found = final_answer(attempt)
    if found is not None:
        return found
    bare = attempt.strip()
    return bare if 0 < len(bare) <= BARE_ANSWER and "\n" not in bare else None


def classes(row: Problem, answers: Sequence[str]) -> list[list[str]]:
    """The answers in classes of equal ones, in the order of their first members."""
    found: list[list[str]] = []
    for answer in answers:
        home = next((each for each in found if same(row, answer, each[0])), None)
        found.append([answer]) if home is None else home.append(answer)
    return found


def same(row: Problem, answer: str, reference: str) -> bool:
    """Whether the math verifier takes the answer for the reference, or the other way round."""
    if answer.strip() == reference.strip():
        return True
    return any(
        verify_math(replace(row, reference=Answer(wanted)), f"\\boxed{{{found}}}").outcome is True
        for found, wanted in ((answer, reference), (reference, answer))
        if wanted.strip()
    )
