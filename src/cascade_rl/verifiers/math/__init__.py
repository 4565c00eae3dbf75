"""Math: one final answer after the thinking against the reference; 1 when equal, else 0.

Policy, where graders differ:
- the last box counts; boxes joined by commas, "and" or "or" are one list;
- a chain of equalities (`1=5`, `x=1=2`) or a list ending in a comma is wrong; `x=5` is 5;
- a decimal must be exact: 0.333 is not 1/3 (ten printed digits and more are taken for it);
- a unit may be added or left out, another unit than the reference's is wrong, none is converted;
- `5\\%` equals `5\\%` and 0.05, never 5;
- `nan` equals nothing, nor does a division by zero;
- an integral, sum, product or limit is no answer unless the reference has one;
- (1,2) is not {1,2}; (1,2] is 1 < x <= 2; a list has no order, a pair has one;
- a letter A to J as reference is a choice: (B), B. and B) 5 are B;
- words that the reference does not have are wrong.
Most answers are decided here by exact arithmetic; the rest goes to Math-Verify behind a hard
deadline, in a process of its own.
"""

from __future__ import annotations

from cascade_rl.chat import has_open_thought
from cascade_rl.types import Answer, Problem, Verdict, failed, partial, right, unjudged, wrong
from cascade_rl.verifiers.math.equality import closeness, equal, is_number
from cascade_rl.verifiers.math.extract import PATTERNS, AnswerPattern, final_answer
from cascade_rl.verifiers.math.worker import MathWorkerLost

__all__ = ["PATTERNS", "VERSION", "AnswerPattern", "equal", "final_answer", "verify_math"]

VERSION = "math-2"


def verify_math(
    problem: Problem,
    text: str,
    *,
    answer_pattern: AnswerPattern = "boxed",
    partial_credit: bool = False,
) -> Verdict:
    """Score 1 when the final answer outside the thinking equals the reference, else 0.

    `answer_pattern`: "boxed"; "boxed_or_phrase" also takes "The answer is ..." where there is no
    box; "last_number" takes the last number, as GSM8K does. `partial_credit` gives 0.8 to a number
    within 1 % of the reference and 0.5 within 10 %; it is off because a model learns to guess near
    (every answer between the bands pays) and because the papers' reward is binary.
    """
    reference = problem.reference
    if not isinstance(reference, Answer) or not reference.text.strip():
        return unjudged("invalid", "a math problem needs a reference answer")
    if answer_pattern not in PATTERNS:
        return unjudged("invalid", f"answer_pattern is {answer_pattern!r}, not one of {PATTERNS}")
    wanted = reference.text
    if answer_pattern == "last_number":
        wanted = wanted.rpartition("####")[2].strip()
        if not is_number(wanted):
            return unjudged("invalid", f"the reference {wanted[:80]!r} is no number")
    if has_open_thought(text):
        return wrong("the thought never ends")
    found = final_answer(text, answer_pattern, percent="%" in wanted)
    if found is None:
        return wrong(_MISSING[answer_pattern])
    shown = found[:200]
    try:
        verdict = equal(found, wanted)
    except MathWorkerLost as error:
        return unjudged("infra", str(error))
    if verdict:
        return right(shown)
    if partial_credit and (score := closeness(found, wanted)):
        return partial(score, f"{shown} is near", answer=shown)
    if verdict is None:
        return failed("timeout", f"comparing {shown} took too long", answer=shown)
    return wrong(f"found {shown}", answer=shown)


_MISSING = {
    "boxed": "no \\boxed{} in the answer",
    "boxed_or_phrase": 'neither \\boxed{} nor "The answer is" in the answer',
    "last_number": "no number in the answer",
}
