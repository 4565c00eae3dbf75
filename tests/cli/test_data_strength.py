"""`cascade data strength`: every code row is kept with its strength, or dropped with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.rows import read_problems, rejects_path
from cascade_rl.data.step import report_path
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import Tests
from tests.cli.conftest import Done
from tests.data import public_rows as public

Cascade = Callable[..., Done]

CLAMP = """\
def clamp(x, low, high):
    if x < low:
        return low
    if x > high:
        return high
    return x
"""
STRONG = [
    "assert clamp(5, 0, 9) == 5",
    "assert clamp(-3, 0, 9) == 0",
    "assert clamp(12, 0, 9) == 9",
    "assert clamp(4, 1, 8) == 4",
    "assert clamp(0, 2, 7) == 2",
    "assert clamp(9, 2, 7) == 7",
]


def code(
    name: str, prompt: str = "Write clamp.", tests: Any = STRONG, solution: str | None = CLAMP
) -> dict[str, Any]:
    truth = {"asserts": tests} if isinstance(tests, list) else tests
    extra = {} if solution is None else {"solution": solution}
    return public.row("t", name, "code", prompt, truth, extra)


STDIO = [{"input": "1\n", "output": "2\n"}, {"input": "1\n", "output": "3\n"}]
ROWS = [
    code("strong"),
    code("twice", tests=[*STRONG, STRONG[0]]),
    public.row("t", "math", "math", "1 + 1?", "2"),
    code(
        "weak",
        tests=[
            "assert clamp(5, 0, 9) == 5",
            *(f"assert clamp({n}, {n}, 9) == {n}" for n in (3, 4)),
        ],
    ),
    code("few", tests=STRONG[:2]),
    code("any", prompt="If there are several answers, print any of them."),
    code("asks", prompt="This is an interactive problem."),
    code("drawn", prompt="The region is shown in the figure below."),
    code("unsolved", solution=None),
    code("wrong", solution="def clamp(x, low, high):\n    return x\n"),
    code("no code", solution="Sorry."),
    code("against itself", tests={"tests": STDIO}, solution="print(2)"),
    code("unreadable", tests=["assert clamp("]),
]
REASONS = {
    "t/weak": "weak tests",
    "t/few": "too few tests",
    "t/any": "special judge",
    "t/asks": "interactive",
    "t/drawn": "needs an image",
    "t/unsolved": "no golden solution",
    "t/wrong": "golden solution fails",
    "t/no code": "golden solution fails",
    "t/against itself": "tests contradict each other",
    "t/unreadable": "unreadable tests",
}


def test_every_row_is_kept_with_its_strength_or_dropped_with_its_reason(
    cascade: Cascade, tmp_path: Path
) -> None:
    rows, out = public.write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    done = cascade("data", "strength", rows, "--out", out, "--mutants", "30")
    assert done.status == 0 and "3 kept" in done.out
    strong, twice, math = read_problems(out)
    assert [strong.id, twice.id, math.id] == ["t/strong", "t/twice", "t/math"]
    assert strong.extra["test_strength"]["strength"] > 0.6 and "test_strength" not in math.extra
    assert isinstance(twice.reference, Tests) and len(twice.reference.cases) == 6
    rejects = [json.loads(line) for line in rejects_path(out).read_text().splitlines()]
    assert {r["row"]["extra_info"]["id"]: r["reason"] for r in rejects} == REASONS
    weak = next(r for r in rejects if r["reason"] == "weak tests")
    assert weak["detail"]["survivors"][0]["line"] > 1, "the mutant that survives is named"
    report = json.loads(report_path(out).read_text())
    assert report["read"] == len(ROWS) and report["rows with duplicate tests"] == 1


def test_rows_without_a_solution_are_kept_on_request_and_counted(
    cascade: Cascade, tmp_path: Path
) -> None:
    rows = public.write(tmp_path / "rows.jsonl", [code("unsolved", solution=None)])
    out = tmp_path / "out.jsonl"
    done = cascade("data", "strength", rows, "--out", out, "--keep-unsolved")
    assert done.status == 0 and len(read_problems(out)) == 1
    report = json.loads(report_path(out).read_text())
    assert report["kept unmeasured"] == 1


def test_a_row_may_be_asked_for_more_tests(cascade: Cascade, tmp_path: Path) -> None:
    rows, out = public.write(tmp_path / "rows.jsonl", [code("six")]), tmp_path / "out.jsonl"
    cascade("data", "strength", rows, "--out", out, "--min-tests", "7")
    assert json.loads(report_path(out).read_text())["dropped"] == {"too few tests": 1}


def test_the_same_rows_and_seed_give_the_same_file_with_any_number_of_workers(
    cascade: Cascade, tmp_path: Path
) -> None:
    rows = public.write(tmp_path / "rows.jsonl", ROWS[:4])
    for workers in ("1", "2"):
        out = tmp_path / f"{workers}.jsonl"
        cascade("data", "strength", rows, "--out", out, "--mutants", "20", "--workers", workers)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


def test_a_program_in_another_language_is_judged_and_kept_unmeasured(
    cascade: Cascade, tmp_path: Path
) -> None:
    if why := default_sandbox().missing("cpp"):
        pytest.skip(why)
    program = "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n + 1; }"
    pairs = [{"input": f"{n}\n", "output": f"{n + 1}\n"} for n in range(3)]
    tests = {"tests": pairs, "language": "cpp"}
    wrong = program.replace("+ 1", "+ 2")
    rows = [
        code("right", tests=tests, solution=program),
        code("wrong", tests=tests, solution=wrong),
    ]
    out = tmp_path / "out.jsonl"
    cascade("data", "strength", public.write(tmp_path / "rows.jsonl", rows), "--out", out)
    report = json.loads(report_path(out).read_text())
    assert report["kept unmeasured"] == 1 and report["dropped"] == {"golden solution fails": 1}
