"""Instruction following: IFEval's, IFBench's and its training families' instructions, by their ids.

The reward is 1 only when every instruction holds; `check_instructions` lists them one by one for
evaluation. The answer after the thinking is what counts. An unknown instruction, or arguments
that cannot be read, make the row `invalid`: it is never satisfied. Two policies: `strict_reward`
for training closes what fools the official checkers, `official` decides as they do, for
benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from cascade_rl.chat import answer_part, has_open_thought
from cascade_rl.types import Constraints, Problem, Verdict, right, unjudged, wrong
from cascade_rl.verifiers.instructions.arguments import Arguments, BadArguments, Check
from cascade_rl.verifiers.instructions.custom import CUSTOM
from cascade_rl.verifiers.instructions.guards import STRICT_OTHERS
from cascade_rl.verifiers.instructions.ifbench import IFBENCH
from cascade_rl.verifiers.instructions.ifeval import OFFICIAL
from cascade_rl.verifiers.instructions.layout import LAYOUT
from cascade_rl.verifiers.instructions.strict import STRICT
from cascade_rl.verifiers.instructions.training import TRAINING

__all__ = ["CHECKS", "BadArguments", "check_instructions", "verify_instructions"]

VERSION = "instructions-2"
LONGEST = 1_000_000
"""Characters; a longer answer follows nothing, so that every answer is judged in bounded time."""

Policy = Literal["strict_reward", "official"]

CHECKS: Mapping[Policy, Mapping[str, Check]] = {
    "official": {**OFFICIAL, **IFBENCH, **LAYOUT, **CUSTOM, **TRAINING},
    "strict_reward": {**STRICT, **IFBENCH, **LAYOUT, **CUSTOM, **TRAINING, **STRICT_OTHERS},
}
"""By policy and instruction id: 25 of IFEval, 58 of IFBench's test, 29 of its training families."""


def verify_instructions(
    problem: Problem, text: str, *, policy: Policy = "strict_reward", loose: bool = False
) -> Verdict:
    """Score 1 when every instruction holds, else 0; `answer` lists those that do not.

    `policy` and `loose` as for `check_instructions`; prompt-level accuracy is the mean score.
    """
    constraints = problem.reference
    if not isinstance(constraints, Constraints) or not constraints.instruction_ids:
        return unjudged("invalid", "an instruction-following problem needs instructions")
    try:
        held = check_instructions(constraints, answer_part(text), policy=policy, loose=loose)
    except BadArguments as error:
        return unjudged("invalid", str(error))
    if has_open_thought(text):
        return wrong("the thought never ends")
    broken = [i for i, ok in zip(constraints.instruction_ids, held, strict=True) if not ok]
    if not broken:
        return right()
    return wrong(f"{len(broken)} of {len(held)} not followed", answer=", ".join(broken))


def check_instructions(
    constraints: Constraints,
    answer: str,
    *,
    policy: Policy = "strict_reward",
    loose: bool = False,
) -> list[bool]:
    """Whether each instruction holds in `answer`, in order; an empty answer follows none.

    `loose` is IFEval's second metric: an instruction holds when it does in any variant of the
    answer without its first line, its last line, its asterisks. Raises BadArguments for an
    unknown instruction, or arguments it cannot be checked with, whatever the answer.
    """
    if len(constraints.instruction_ids) != len(constraints.kwargs):
        raise BadArguments(
            f"{len(constraints.instruction_ids)} instruction ids and {len(constraints.kwargs)} "
            "kwargs; expected one for one"
        )
    checks = CHECKS[policy]
    tests = []
    for name, kwargs in zip(constraints.instruction_ids, constraints.kwargs, strict=True):
        if name not in checks:
            raise BadArguments(f"unknown instruction {name!r}; expected one of IFEval or IFBench")
        given = {key: value for key, value in (kwargs or {}).items() if value is not None}
        tests.append(checks[name](Arguments(name, given)))
    if len(answer) > LONGEST:
        return [False] * len(tests)
    variants = [v for v in (loose_variants(answer) if loose else [answer]) if v.strip()]
    return [any(test(variant) for variant in variants) for test in tests]


def loose_variants(answer: str) -> list[str]:
    """IFEval's eight, equal ones once: without the first line, the last line, the asterisks."""
    lines = answer.split("\n")
    cuts = [answer] + ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return list(dict.fromkeys(cuts + [cut.replace("*", "") for cut in cuts]))
