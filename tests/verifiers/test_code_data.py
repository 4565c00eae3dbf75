"""Public problems with known solutions and recorded verdicts, each read in its own format."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.references import REFERENCES
from cascade_rl.types import Problem, Tests, Verdict
from cascade_rl.verifiers import code
from cascade_rl.verifiers.code import verify_code

CASES = Path(__file__).resolve().parents[1] / "cases"
SLOW_S = 20.0
"""The time limit where a reference program is slow: MBPP 123 computes for five seconds."""
Find = Callable[[str], Path]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def problem(ground_truth: dict[str, Any]) -> Problem:
    tests = REFERENCES["code"](json.dumps(ground_truth))
    return Problem("p", "code", (), tests, "t")


def judged(ground_truth: dict[str, Any], program: str) -> Verdict:
    return verify_code(problem(ground_truth), f"```python\n{program}\n```")


def test_every_humaneval_solution_passes_and_no_empty_one(shared_data: Find) -> None:
    with gzip.open(shared_data("code/HumanEval.jsonl.gz")) as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 164
    for row in rows:
        tests = {key: row[key] for key in ("test", "entry_point", "prompt")}
        good = judged(tests, row["prompt"] + row["canonical_solution"])
        assert good.outcome, (row["task_id"], good)
        assert verify_code(problem(tests), row["canonical_solution"]).outcome, "the body alone"
        bad = judged(tests, row["prompt"] + "    return None\n")
        assert bad.outcome is False, row["task_id"]


def test_a_humaneval_program_cannot_redefine_the_helper_it_is_tested_with(
    shared_data: Find,
) -> None:
    with gzip.open(shared_data("code/HumanEval.jsonl.gz")) as file:
        rows = {row["task_id"]: row for row in map(json.loads, file)}
    for number, forged in (
        (32, "def poly(*args): return 0\ndef find_zero(xs): return 5\n"),
        (38, "def encode_cyclic(s): return s\ndef decode_cyclic(s): return s\n"),
        (50, "def encode_shift(s): return s\ndef decode_shift(s): return s\n"),
    ):
        row = rows[f"HumanEval/{number}"]
        tests = {key: row[key] for key in ("test", "entry_point", "prompt")}
        assert judged(tests, forged).outcome is False, number


def test_every_mbpp_solution_passes(shared_data: Find) -> None:
    rows = json.loads(shared_data("code/mbpp_sanitized.json").read_text())
    assert len(rows) == 399
    for row in rows:
        tests = {key: row[key] for key in ("test_list", "test_imports")}
        verdict = judged(tests | {"time_limit_s": SLOW_S}, row["code"])
        assert verdict.outcome, (row["task_id"], verdict)


def passes_in_python(row: dict[str, Any]) -> bool:
    """What a bare interpreter says, given the recorded program and its tests."""
    script = f"{row['solution']}\n\n{row['test']}\ncheck({row['entry_point']})\n"
    command = [sys.executable, "-I", "-c", script]
    return subprocess.run(command, capture_output=True, timeout=120).returncode == 0


def test_recorded_verdicts_are_reproduced_but_for_wrong_labels(shared_data: Find) -> None:
    rows = lines(shared_data("code/reflexion_gpt4_verdicts.jsonl"))
    listed = {row["row"]: row for row in lines(CASES / "code_wrong_labels.jsonl")}
    for number, row in enumerate(rows):
        tests = {key: row[key] for key in ("test", "entry_point", "prompt")}
        verdict = judged(tests | {"time_limit_s": SLOW_S}, row["solution"])
        assert verdict.outcome is not None
        if verdict.outcome is row["is_solved"]:
            assert number not in listed, "this label is right"
            continue
        assert listed[number]["name"] == row["name"], (number, verdict)
        assert passes_in_python(row) is verdict.outcome, "the interpreter shows whose error it is"


def test_apps_solutions_are_judged_as_recorded(shared_data: Find) -> None:
    expected = {"human": True, "True": True, "False": False, "-1": False, "-2": False}
    for number, row in enumerate(lines(shared_data("code/apps_coderl_solutions.jsonl"))):
        verdict = judged({"input_output": row["input_output"]}, row["code"])
        assert verdict.outcome is expected[str(row["upstream_result"])], (number, verdict)
        assert row["error_type"] != "timeoutexception" or verdict.status == "timeout"


def test_acecode_samples_are_judged_as_recorded(shared_data: Find) -> None:
    (row,) = lines(shared_data("code/openinstruct_acecode_sample.jsonl"))
    tests = {"test_cases": row["test_cases"]}
    for sample in row["inferences"]:
        results = code.test_results(problem(tests), f"```\n{sample['completion']}\n```")
        passed = sum(result.status == "right" for result in results) / len(results)
        if "import pytest" in sample["completion"]:
            assert passed == 0, "only the standard library can be imported"
        else:
            assert (passed == 1) is (sample["pass_rate"] == 1)


def test_nemo_gym_rows_are_read(shared_data: Find) -> None:
    counts = []
    for row in lines(shared_data("code/nemogym_code_gen_example.jsonl")):
        tests = problem(row["verifier_metadata"])
        assert isinstance(tests.reference, Tests)
        counts.append(len(tests.reference.cases))
        assert verify_code(tests, "```\npass\n```").status == "wrong"
    assert counts == [1, 97, 100, 82, 3]


CONTESTS = {
    "3": """\
from collections import Counter
n = int(input())
sizes = Counter(input() for _ in range(n))
sizes.subtract(Counter(input() for _ in range(n)))
print(sum(count for count in sizes.values() if count > 0))
""",
    "9": """\
import sys
n, k, *rest = map(int, sys.stdin.read().split())
parent = list(range(n + 1))
def root(x):
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x
for u, v, black in zip(rest[::3], rest[1::3], rest[2::3]):
    if not black:
        parent[root(u)] = root(v)
sizes = [0] * (n + 1)
for x in range(1, n + 1):
    sizes[root(x)] += 1
print((pow(n, k) - sum(pow(size, k) for size in sizes if size)) % (10**9 + 7))
""",
    "12": """\
from collections import Counter
n, size = map(int, input().split())
counts = [count for _, count in sorted(Counter(map(int, input().split())).items())]
width = 1 << min(8 * size // n, 20)
best = kept = sum(counts[:width])
for left, right in zip(counts, counts[width:]):
    kept += right - left
    best = max(best, kept)
print(n - best)
""",
    "14": """\
for _ in range(int(input())):
    n, r = map(int, input().split())
    monsters = sorted(set(map(int, input().split())), reverse=True)
    print(sum(x - shots * r > 0 for shots, x in enumerate(monsters)))
""",
    "17": """\
n, m = input().strip(), input().strip()
digits = sorted(n)
first = next((d for d in digits if d != "0"), "0")
digits.remove(first)
print("OK" if m == first + "".join(digits) else "WRONG_ANSWER")
""",
}


@pytest.mark.parametrize("number", CONTESTS)
def test_code_contests_rows_run_in_their_own_format(number: str, shared_data: Find) -> None:
    rows = {str(row["id"]): row for row in lines(shared_data("code/sf_code_contests.jsonl"))}
    tests = {"test": rows[number]["test"]}
    verdict = judged(tests, CONTESTS[number])
    assert verdict.outcome, verdict
    assert verdict.tier
    assert judged(tests, CONTESTS[number].replace("print(", "print('x',")).status == "wrong"


def test_code_contests_rows_are_all_read(shared_data: Find) -> None:
    for row in lines(shared_data("code/sf_code_contests.jsonl")):
        assert judged({"test": row["test"]}, "pass").status == "wrong"
