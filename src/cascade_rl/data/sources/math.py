"""Math problems with an answer: AceReason-Math, DeepScaleR, GSM8K, MATH, AIME and their like."""

from __future__ import annotations

from cascade_rl.data.fields import shown
from cascade_rl.data.sources.common import (
    Raw,
    answer_of,
    maybe_text,
    problem,
    prompt_of,
    text_of,
)
from cascade_rl.errors import DataError
from cascade_rl.types import Problem
from cascade_rl.verifiers.math.extract import boxed

QUESTIONS = ("problem", "question", "Problem")
ANSWERS = ("answer", "expected_answer", "Answer", "final_answer")
SOLUTIONS = ("solution", "reference_solution", "generated_solution", "Solution")


def with_answer(raw: Raw, source: str) -> Problem:
    """A problem and its answer; a worked solution is kept in `extra_info.solution`."""
    key = next((key for key in ANSWERS if raw.get(key) is not None), ANSWERS[0])
    return _math(raw, source, answer_of(raw.get(key), key), maybe_text(raw, *SOLUTIONS))


def with_solution(raw: Raw, source: str) -> Problem:
    """MATH and NuminaMath: the answer is what the solution boxes last."""
    solution = text_of(raw, "solution")
    answer = boxed(solution)
    if answer is None or not answer.strip():
        raise DataError("the solution has no \\boxed{} answer; expected one")
    return _math(raw, source, answer.strip(), solution)


def gsm8k(raw: Raw, source: str) -> Problem:
    """GSM8K: the answer ends with a line `#### number`."""
    rationale, mark, answer = text_of(raw, "answer").rpartition("####")
    if not mark:
        raise DataError(
            f"answer is {shown(raw['answer'])}; expected GSM8K's last line '#### number', "
            "or, for other questions with answers, --source math"
        )
    number = answer_of(answer.replace(",", ""), "what follows ####")
    return _math(raw, source, number, rationale.strip())


def _math(raw: Raw, source: str, answer: str, solution: str) -> Problem:
    extra = {"solution": solution} if solution else {}
    prompt = prompt_of(text_of(raw, *QUESTIONS), "problem")
    return problem(raw, source, "math", prompt, answer, extra)
