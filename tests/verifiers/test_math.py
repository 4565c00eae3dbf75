"""The last box against the reference, by the policy in the module's docstring."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cascade_rl.types import Answer, Problem
from cascade_rl.verifiers.math import verify_math
from cascade_rl.verifiers.math.worker import MathWorker, default_worker

CASES = Path(__file__).resolve().parents[1] / "cases" / "math.jsonl"
ROWS = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]


def problem(reference: str) -> Problem:
    return Problem("p", "math", (), Answer(reference), "test")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['status']} {row['note']}")
def test_the_verdict_on(row: dict[str, Any]) -> None:
    verdict = verify_math(problem(row["reference"]), row["text"])
    assert verdict.status == row["status"], verdict
    assert (verdict.score is None) == (row["status"] == "invalid")


def test_gsm8k_labels_are_reproduced(shared_data: Callable[[str], Path]) -> None:
    lines = shared_data("math/gsm8k_model_verdicts.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        answer = row["solution"].split("A:")[-1].strip()
        verdict = verify_math(problem(row["ground_truth"]), f"\\boxed{{{answer}}}")
        assert verdict.outcome == row["is_correct"], row


def test_every_math500_answer_equals_itself(shared_data: Callable[[str], Path]) -> None:
    for row in json.loads(shared_data("math/deepscaler_math500.json").read_text()):
        answer = str(row["answer"])
        assert verify_math(problem(answer), f"so \\boxed{{{answer}}}").outcome, answer


def test_boxed_cases_of_math_verify_agree(shared_data: Callable[[str], Path]) -> None:
    rows = [
        json.loads(line)
        for line in shared_data("math/mathverify_cases.jsonl").read_text().splitlines()
    ]
    plain = [row for row in rows if "$" not in row["gold"][1:-1] and len(row["pred"]) < 60]
    wrongly = []
    for row in plain:
        gold, found = row["gold"].strip("$ "), row["pred"].strip("$ ")
        if verify_math(problem(gold), f"\\boxed{{{found}}}").outcome and not row["expected"]:
            wrongly.append((gold, found))
    assert len(plain) > 60
    # This reference holds boxes itself; a reference is a bare answer here.
    assert [pair for pair in wrongly if "boxed" not in pair[0]] == []


def test_ten_megabytes_take_less_than_a_second() -> None:
    started = time.monotonic()
    for text in ("\\boxed{" + "{" * 10**7, "x" * 10**7, "\\boxed{" + "1" * 10**7 + "}"):
        assert verify_math(problem("5"), text).score == 0.0
    assert time.monotonic() - started < 5


def test_a_hang_is_bounded_in_any_thread_and_the_next_answer_is_judged() -> None:
    found = []

    def body() -> None:
        for text in ("9^{9^{9^9}}", "\\sqrt{25}"):
            found.append(default_worker().equal("5", text))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(60)
    assert found == [None, True]


def test_closing_the_worker_leaves_no_process() -> None:
    worker = MathWorker()
    assert worker.equal("2", "\\sqrt{4}")
    process = psutil.Process(worker._forker.pid)  # type: ignore[union-attr]
    everyone = [process, *process.children(recursive=True)]
    worker.close()
    gone, alive = psutil.wait_procs(everyone, timeout=5)
    assert not alive and gone


def test_a_killed_worker_is_replaced() -> None:
    worker = default_worker()
    assert worker.equal("2", "\\sqrt{4}")
    assert worker._forker is not None
    worker._forker.kill()
    assert worker.equal("2", "\\sqrt{4}")
