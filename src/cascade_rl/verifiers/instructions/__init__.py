"""Instruction following: IFEval's instructions by their own ids and arguments, all or nothing.

The reward is 1 only when every instruction holds; `check_instructions` lists them one by one for
evaluation. The answer after the thinking is what counts. An unknown instruction is never
satisfied: the row is `invalid`. Where IFEval's official checkers can be fooled (full-width
commas, look-alike letters, `{}` as JSON) these are stricter; see `checks`.
"""

from __future__ import annotations

from collections.abc import Sequence

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.types import Constraints, Problem, Verdict, right, unjudged, wrong
from cascade_rl.verifiers.instructions.checks import CHECKS, BadArguments

VERSION = "instructions-1"


def verify_instructions(
    problem: Problem, text: str, *, policy: str = "strict_reward", loose: bool = False
) -> Verdict:
    """Score 1 when every instruction holds, else 0; `answer` lists those that do not."""
    constraints = problem.reference
    if not isinstance(constraints, Constraints) or not constraints.instruction_ids:
        return unjudged("invalid", "an instruction-following problem needs instructions")
    if has_open_thought(text):
        return wrong("the thought never ends")
    try:
        held = check_instructions(constraints, answer_part(text), loose=loose)
    except BadArguments as error:
        return unjudged("invalid", str(error))
    broken = [i for i, ok in zip(constraints.instruction_ids, held, strict=True) if not ok]
    if not broken:
        return right()
    return wrong(f"{len(broken)} of {len(held)} not followed", answer=", ".join(broken))


def check_instructions(constraints: Constraints, answer: str, *, loose: bool = False) -> list[bool]:
    """Whether each instruction holds in `answer`, in order; an empty answer follows none.

    `loose` is IFEval's second metric: an instruction holds when it does in any variant of the
    answer without its first line, its last line, its asterisks. Raises BadArguments for an
    unknown instruction, or arguments it cannot be checked with.
    """
    if len(constraints.instruction_ids) != len(constraints.kwargs):
        raise BadArguments("as many kwargs as instruction ids expected")
    variants = loose_variants(answer) if loose else [answer]
    held = []
    for name, kwargs in zip(constraints.instruction_ids, constraints.kwargs, strict=True):
        if name not in CHECKS:
            raise BadArguments(f"unknown instruction {name!r}")
        given = {key: value for key, value in (kwargs or {}).items() if value is not None}
        try:
            held.append(any(v.strip() != "" and CHECKS[name](v, given) for v in variants))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadArguments(f"{name}: {type(error).__name__}: {error}") from error
    return held


def loose_variants(answer: str) -> Sequence[str]:
    """IFEval's eight: with and without the first line, the last line, and asterisks."""
    lines = answer.split("\n")
    cuts = [answer] + ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return cuts + [cut.replace("*", "") for cut in cuts]
