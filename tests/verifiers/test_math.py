"""The final answer against the reference, by the policy in the module's docstring."""

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
from cascade_rl.verifiers.math import equal, verify_math
from cascade_rl.verifiers.math.equality import decide
from cascade_rl.verifiers.math.worker import MathWorker, default_worker

CASES = Path(__file__).resolve().parents[1] / "cases" / "math.jsonl"
ROWS = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
SET = "\\{" + ",".join(map(str, range(5000))) + "\\}"
HUGE = {
    "nothing": "",
    "blanks": " \n" * 1000,
    "binary": "\\boxed{5\x00\ud800}" + "".join(map(chr, range(256))) * 100,
    "10 MB of x": "x" * 10**7,
    "10 MB of box": "\\boxed{" + "1" * 10**7 + "}",
    "10 MB of open braces": "\\boxed{" + "{" * 10**7,
    "10 MB of boxes": "\\boxed{4}" * 10**6,
    "10 MB of joined boxes": "\\boxed{4}, " * 10**6,
    "10 MB of phrases": "the answer is " * 700_000,
    "10 MB of thoughts": "<think></think>" * 700_000,
    "10 MB of commas": "\\boxed{" + "," * 10**7 + "}",
    "10 MB of digits and commas": "1," * 5_000_000,
    "a set of 5,000": f"\\boxed{{{SET}}}",
    "100,000 digits": "\\boxed{" + "5" * 10**5 + "}",
    "blanks in a box": "\\boxed{" + " " * 15_000 + "}",
    "connectives": "\\boxed{" + "or " * 300 + "}",
    "carets": "\\boxed{" + "^{" * 400 + "}" * 400 + "}",
    "letters": "\\boxed{" + "abcdefgh" * 120 + "}",
    "a product of sums": "\\boxed{" + "(a+b+c+d)" * 100 + "}",
    "a big power": "\\boxed{(1+x+y+z)^{59}}",
    "a long root": "\\boxed{\\sqrt{" + "9" * 59 + "}}",
}


def problem(reference: str) -> Problem:
    return Problem("p", "math", (), Answer(reference), "test")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['status']} {row['note']}")
def test_the_verdict_on(row: dict[str, Any]) -> None:
    verdict = verify_math(problem(row["reference"]), row["text"], **row.get("options", {}))
    assert verdict.status == row["status"], verdict
    assert (verdict.score is None) == (row["status"] == "invalid")


def test_gsm8k_labels_are_reproduced_by_the_last_number(
    shared_data: Callable[[str], Path],
) -> None:
    lines = shared_data("math/gsm8k_model_verdicts.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        found = verify_math(
            problem(row["ground_truth"]), row["solution"], answer_pattern="last_number"
        )
        assert found.outcome == row["is_correct"], row
    assert len(lines) > 1000


def test_every_gsm8k_reference_is_its_own_last_number(shared_data: Callable[[str], Path]) -> None:
    for line in shared_data("math/gsm8k_test.jsonl").read_text().splitlines():
        answer = json.loads(line)["answer"]
        assert verify_math(problem(answer), answer, answer_pattern="last_number").outcome, answer


@pytest.mark.parametrize(
    "name", ["deepscaler_math500.json", "deepscaler_aime.json", "deepscaler_train_aime.json"]
)
def test_every_reference_equals_itself(name: str, shared_data: Callable[[str], Path]) -> None:
    for row in json.loads(shared_data(f"math/{name}").read_text()):
        answer = str(row["answer"])
        assert verify_math(problem(answer), f"so \\boxed{{{answer}}}").outcome, answer


def test_every_aime25_reference_equals_itself(shared_data: Callable[[str], Path]) -> None:
    for line in shared_data("math/aime25.jsonl").read_text().splitlines():
        answer = str(json.loads(line)["expected_answer"])
        assert verify_math(problem(answer), f"so \\boxed{{{answer}}}").outcome, answer


def test_no_math500_answer_is_taken_for_another(shared_data: Callable[[str], Path]) -> None:
    rows = json.loads(shared_data("math/deepscaler_math500.json").read_text())
    answers = sorted({str(row["answer"]) for row in rows if not str(row["answer"]).isdigit()})
    alike = {(a, b) for a in answers for b in answers if a != b and decide(a, b)}
    assert alike <= {
        ("\\frac14", "\\frac{1}{4}"), ("\\frac{1}{4}", "\\frac14"),
        ("2 \\sqrt{5}", "2\\sqrt{5}"), ("2\\sqrt{5}", "2 \\sqrt{5}"),
        ("36^\\circ", "\\$36"), ("-2,1", "1,-2"), ("1,-2", "-2,1"), ("-2,1", "(-2,1)"),
    }  # fmt: skip


def test_an_unknown_pattern_is_invalid() -> None:
    found = verify_math(problem("5"), "\\boxed{5}", answer_pattern="none")  # type: ignore[arg-type]
    assert found.status == "invalid"


def test_partial_credit_is_off_by_default() -> None:
    near = "\\boxed{100.5}"
    assert verify_math(problem("100"), near).score == 0.0
    assert verify_math(problem("100"), near, partial_credit=True).score == 0.8


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("pattern", ["boxed", "boxed_or_phrase", "last_number"])
def test_any_text_is_judged_in_bounded_time(name: str, pattern: Any) -> None:
    started = time.monotonic()
    assert verify_math(problem("5"), HUGE[name], answer_pattern=pattern).score is not None
    assert time.monotonic() - started < 8  # three seconds of work on a busy machine


def test_a_reference_of_5000_elements_is_judged_in_bounded_time() -> None:
    turned = "\\{" + ",".join(map(str, reversed(range(5000)))) + "\\}"
    started = time.monotonic()
    assert verify_math(problem(SET), f"\\boxed{{{turned}}}").score is not None
    assert verify_math(problem(SET), f"\\boxed{{{SET}}}").outcome
    assert time.monotonic() - started < 4


def test_a_hang_is_bounded_in_any_thread_and_the_next_answer_is_judged() -> None:
    found = []

    def body() -> None:
        for text in ("9^{9^{9^9}}", "\\sqrt{25}"):
            found.append(default_worker().equal("5", text))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(60)
    assert found == [None, True]


def test_threads_share_one_worker() -> None:
    found: list[bool | None] = []
    pairs = [("\\cos x", "\\sin x"), ("\\cot x", "\\frac{\\cos x}{\\sin x}")] * 4
    threads = [threading.Thread(target=lambda p=p: found.append(equal(*p))) for p in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(bool, found)) == [False] * 4 + [True] * 4


def test_memory_is_limited() -> None:
    assert default_worker().equal("5", "10^{10^{10}}") is None
    assert default_worker().equal("2", "\\sqrt{4}")


def test_closing_the_worker_leaves_no_process() -> None:
    worker = MathWorker()
    assert worker.equal("2", "\\sqrt{4}")
    process = psutil.Process(worker._forker.pid)  # type: ignore[union-attr]
    everyone = [process, *process.children(recursive=True)]
    assert len(everyone) == 2
    worker.close()
    gone, alive = psutil.wait_procs(everyone, timeout=5)
    assert not alive and gone


@pytest.mark.parametrize("victim", ["forker", "computing process"])
def test_a_killed_worker_is_replaced(victim: str) -> None:
    worker = MathWorker()
    assert worker.equal("2", "\\sqrt{4}")
    assert worker._forker is not None
    psutil.Process(worker._forker.pid if victim == "forker" else worker._pid).kill()
    time.sleep(0.1)
    assert worker.equal("2", "\\sqrt{4}")
    worker.close()
