"""From the answers of a round to the one program that is submitted, or to none.

Programs are tried on the samples in the selector's order until one passes: the choice is the
same as if all had been tried, at a fraction of the compiling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.engines.generate import Response
from cascade_rl.evaluation.ioi.strategy import (
    Candidate,
    Options,
    Selector,
    State,
    ranked,
    same_program,
)
from cascade_rl.sandbox.base import Language
from cascade_rl.verifiers.code import extract_program

MAX_SOURCE = 100_000
"""Characters of a submission; the IOI takes 100 KB."""
NO_CODE, TOO_LONG, REPEATED, FAILS_SAMPLES = "no code", "too long", "repeated", "fails a sample"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a round submits, by which selector, and why others were passed over (counts)."""

    candidate: Candidate | None
    selector: Selector
    rejected: Mapping[str, int]


def choose(
    answers: Iterable[Response],
    language: Language,
    state: State,
    options: Options,
    passes: Callable[[str], bool],
) -> Choice:
    """The first candidate, in the selector's order, that passes the samples.

    Answers without a program and programs that were submitted before, or are in the round twice,
    are rejected first.
    """
    rejected: Counter[str] = Counter()
    seen = {same_program(one.source) for one in state.submissions}
    found: list[Candidate] = []
    for answer in sorted(answers, key=lambda one: one.sample):
        source = program_of(answer.text, language)
        if source is None:
            rejected[NO_CODE] += 1
        elif len(source) > MAX_SOURCE:
            rejected[TOO_LONG] += 1
        elif same_program(source) in seen:
            rejected[REPEATED] += 1
        else:
            found.append(Candidate(answer.sample, source, answer.tokens, answer.tail_confidence))
    selector, order = ranked(found, options)
    for candidate in order:
        same = same_program(candidate.source)
        if same in seen:
            rejected[REPEATED] += 1
            continue
        seen.add(same)
        if passes(candidate.source):
            return Choice(candidate, selector, dict(sorted(rejected.items())))
        rejected[FAILS_SAMPLES] += 1
    return Choice(None, selector, dict(sorted(rejected.items())))


def program_of(text: str, language: Language) -> str | None:
    """The last complete fenced block of the language after the thought; None without one."""
    if has_open_thought(text):
        return None
    answer = answer_part(text)
    found = extract_program(answer, language)
    # An answer without any fence comes back whole: prose, not a program.
    return None if found is None or found == answer or not found.strip() else found
