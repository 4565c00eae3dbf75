"""Multiple choice: which letter an answer declares, and that no thought decides it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.types import Answer, Message, Problem, Tests, Verdict
from cascade_rl.verifiers import verify
from cascade_rl.verifiers.choice import verify_choice

TABLE = Path(__file__).resolve().parents[1] / "cases" / "choice.jsonl"
CASES = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


def question(answer: str, options: Any = None) -> Problem:
    extra = {} if options is None else {"options": options}
    return Problem("p", "math", (Message("user", "Which?"),), Answer(answer), "t", extra)


def verdicts(row: dict[str, Any]) -> list[Verdict]:
    """The verdict on a case for every letter that could be the right one."""
    letters = "ABCDEFGHIJ"[: len(row.get("options", "ABCDEFGHIJ"))]
    return [verify_choice(question(a, row.get("options")), row["text"]) for a in letters]


@pytest.mark.parametrize("row", CASES, ids=lambda row: row["why"])
def test_the_declared_letter_is_right_and_every_other_wrong(row: dict[str, Any]) -> None:
    found = verdicts(row)
    right = ["ABCDEFGHIJ"[i] for i, verdict in enumerate(found) if verdict.outcome]
    expected = row["found"]
    assert right == ([expected] if expected and len(expected) == 1 else [])
    assert all(verdict.status in ("right", "wrong") for verdict in found)
    reason = found[0].reason
    if expected is None:
        assert reason == "no option is declared to be the answer"
    elif isinstance(expected, list):
        assert reason == f"several options at once: {', '.join(expected)}"
    elif expected == "open":
        assert reason == "the thought never ends"


def test_a_reason_names_the_letter_that_was_found() -> None:
    verdict = verify_choice(question("A"), "The answer is (C).")
    assert (verdict.score, verdict.reason, verdict.answer) == (0.0, "found C", "C")


@pytest.mark.parametrize(
    "problem",
    [
        question(""), question("AB"), question("c"), question("K"), question("E", list("wxyz")),
        question("A", ["one"]), question("A", "ABCD"),
        Problem("p", "math", (), Tests(()), "t"),
    ],
    ids=["empty", "two", "lower case", "K of ten", "E of four", "one option", "text", "tests"],
)  # fmt: skip
def test_a_row_that_cannot_be_judged_is_invalid_whatever_the_answer(problem: Problem) -> None:
    assert verify_choice(problem, "The answer is (A).").status == "invalid"


def test_it_is_found_by_its_name() -> None:
    assert verify(question("C"), "C", verifier="choice").outcome is True


@pytest.mark.parametrize(
    "piece",
    [
        "The answer is ",
        "\\boxed{",
        "(",
        "*",
        " ",
        "\n",
        "A, ",
        "**A",
        "answer " * 3,
        "C is ",
        "A\n",
        "I choose ",
        "so, ",
        "answer: the choice is ",
        "(A) is correct",
    ],
)
def test_a_hostile_answer_is_judged_in_bounded_time(piece: str) -> None:
    began = time.process_time()
    for text in (piece * (400_000 // len(piece)), "answer:" + piece * 200_000):
        assert verify_choice(question("D"), text).status == "wrong"
    assert time.process_time() - began < 3.0
