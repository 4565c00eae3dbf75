"""Real programs in the real sandbox: subtasks, checkers, limits, and a whole contest in C++."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.engines.generate import Prompt, Response, Sampling
from cascade_rl.errors import ConfigError, DataError, EvaluationError
from cascade_rl.evaluation.ioi.files import read_task
from cascade_rl.evaluation.ioi.judge import judged
from cascade_rl.evaluation.ioi.medals import Thresholds
from cascade_rl.evaluation.ioi.run import Setup, run_ioi
from cascade_rl.evaluation.ioi.sandboxed import SandboxJudge
from cascade_rl.evaluation.ioi.strategy import Options
from cascade_rl.evaluation.ioi.task import Task
from cascade_rl.sandbox import Limits, Outcome, Program
from cascade_rl.sandbox.client import default_sandbox
from tests.evaluation.ioi.scripted import write_problem

SLOW = """\
#include <cstdio>
static int a[200000];
int main() {
    int n;
    long long found = 0;
    if (scanf("%d", &n) != 1) return 1;
    for (int i = 0; i < n; i++) if (scanf("%d", a + i) != 1) return 1;
    for (int i = 0; i < n; i++) for (int j = 0; j < i; j++) found += a[j] > a[i];
    printf("%lld\\n", found);
}
"""
FAST = """\
#include <cstdio>
static int tree[200001];
int main() {
    int n, x;
    long long found = 0;
    if (scanf("%d", &n) != 1) return 1;
    for (int i = 0; i < n; i++) {
        if (scanf("%d", &x) != 1) return 1;
        found += i;
        for (int k = x; k > 0; k -= k & -k) found -= tree[k];
        for (int k = x; k <= n; k += k & -k) tree[k]++;
    }
    printf("%lld\\n", found);
}
"""


@pytest.fixture(scope="module")
def judge() -> SandboxJudge:
    return SandboxJudge(default_sandbox())


@pytest.fixture(scope="module")
def compiling(judge: SandboxJudge) -> SandboxJudge:
    if why := judge.sandbox.missing("cpp"):
        pytest.skip(why)
    return judge


def shuffled(n: int) -> tuple[str, str]:
    """A permutation, and its inversions counted one by one."""
    values = random.Random(n).sample(range(1, n + 1), n)
    return text_of(values), f"{sum(a > b for i, b in enumerate(values) for a in values[:i])}\n"


def rotated(n: int, k: int) -> tuple[str, str]:
    """K + 1, ..., n, 1, ..., k: each of the last k is under each of the others."""
    return text_of([*range(k + 1, n + 1), *range(1, k + 1)]), f"{k * (n - k)}\n"


def text_of(values: Sequence[int]) -> str:
    return f"{len(values)}\n{' '.join(map(str, values))}\n"


@pytest.fixture(scope="module")
def inversions(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Inversions of a permutation: N <= 1000 for 30 points, N <= 200000 for 70."""
    files = {"samples/1.in": "3\n3 1 2\n", "samples/1.out": "2\n", "statement.md": "Count."}
    made = {"1-1": shuffled(10), "1-2": shuffled(1000), "2-1": rotated(200000, 70000)}
    for name, (text, answer) in made.items():
        files[f"tests/{name}.in"], files[f"tests/{name}.out"] = text, answer
    subtasks = [
        {"name": "1", "points": 30, "constraints": "N <= 1000", "tests": ["tests/1-*"]},
        {
            "name": "2",
            "points": 70,
            "constraints": "N <= 200000",
            "tests": ["tests/1-*", "tests/2-1"],
        },
    ]
    directory = tmp_path_factory.mktemp("inversions")
    keys = {"name": "inversions", "subtasks": subtasks, "time_limit_s": 0.5}
    return read_task(write_problem(directory, files, languages=["cpp", "python"], **keys))


def scores(task: Task, source: str, judge: SandboxJudge, language: Any = "cpp") -> list[Any]:
    """Score and status of each subtask."""
    return [(one.score, one.status) for one in judged(task, source, language, judge).results_S]


def test_a_slow_solution_gets_the_subtasks_it_is_fast_enough_for(
    inversions: Task, compiling: SandboxJudge
) -> None:
    assert scores(inversions, SLOW, compiling) == [(1, "right"), (0, "timeout")]
    assert scores(inversions, FAST, compiling) == [(1, "right"), (1, "right")]


def test_what_does_not_compile_scores_nothing_and_says_why(
    inversions: Task, compiling: SandboxJudge
) -> None:
    found = judged(inversions, "int main() { return undeclared; }", "cpp", compiling)
    assert found.scores_S == (0, 0)
    assert "undeclared" in found.results_S[1].detail


class Model:
    """First the quadratic program among others that are worse; once it has failed, the fast one."""

    name, digest = "model", "0" * 16

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        for index, prompt in enumerate(prompts):
            learnt = "time limit exceeded" in prompt.messages[0].content
            programs = [SLOW.replace("a[j] >", "a[j] <"), FAST if learnt else SLOW, ""]
            for n, program in zip(prompt.samples, programs, strict=True):
                text = f"```cpp\n{program}\n```" if program else "no idea"
                yield Response(index, n, text, "stop", 100, -float(n))


def test_a_contest_in_cpp_is_played_to_its_full_score(
    inversions: Task, compiling: SandboxJudge, tmp_path: Path
) -> None:
    compiling.refuse(inversions, "cpp")
    setup = Setup(options=Options(candidates=3))
    thresholds = Thresholds(30, 60, 100)
    found = run_ioi([inversions], Model(), compiling, setup, tmp_path, thresholds)
    (part,) = found["problems"]
    history = [(one["subtask"], one["score"]) for one in part["history"]]
    assert history == [("1", 30), ("2", 100)]
    assert part["rejected"] == {"fails a sample": 2, "no code": 2}
    assert (found["score"], found["medal"]) == (100, "gold")


# --- Python, and checkers ---------------------------------------------------------------------

CHECK_CPP = """\
#include <cmath>
#include <cstdio>
int main() {
    double n, found, best;
    FILE *in = fopen("input.txt", "r"), *out = fopen("output.txt", "r");
    FILE *answer = fopen("answer.txt", "r");
    if (fscanf(in, "%lf", &n) != 1 || fscanf(answer, "%lf", &best) != 1) return 1;
    if (fscanf(out, "%lf", &found) != 1 || found < best || found > n) return puts("0") < 0;
    printf("%.4f\\nthe closer the better\\n", best / found);
}
"""
CHECK_PYTHON = """\
n, best = float(open("input.txt").read()), float(open("answer.txt").read())
try:
    found = float(open("output.txt").read())
except ValueError:
    found = 0
print(best / found if best <= found <= n else 0)
"""


def partial(directory: Path, checker: str, text: str, **keys: Any) -> Task:
    """Print a number as small as you can, at most the input; the best is known."""
    numbers = {
        "samples/1": (9, 3),
        "tests/1-1": (100, 10),
        "tests/1-2": (1000, 40),
        "tests/2-1": (8, 2),
    }
    files = {f"{name}.in": f"{n}\n" for name, (n, _) in numbers.items()}
    files |= {f"{name}.out": f"{best}\n" for name, (_, best) in numbers.items()}
    subtasks = [
        {"name": "1", "points": 60, "tests": ["tests/1-*"]},
        {"name": "2", "points": 40, "tests": ["tests/2-1"]},
    ]
    shape = {"subtasks": subtasks, "languages": ["python"], "checker": {"program": checker}}
    return read_task(write_problem(directory, {**files, checker: text}, **(shape | keys)))


HALVES = "n = int(input())\nprint(n // 5)\n"
"""20 of 100 is 10/20, 200 of 1000 is 40/200; 1 of 8 is less than there can be."""


def test_a_subtask_is_worth_the_lowest_partial_score_of_its_tests(
    judge: SandboxJudge, tmp_path: Path
) -> None:
    task = partial(tmp_path, "check.py", CHECK_PYTHON)
    judge.refuse(task, "python")
    assert scores(task, HALVES, judge, "python") == [(0.2, "partial"), (0, "wrong")]


def test_a_checker_in_cpp_scores_submissions_in_python(
    compiling: SandboxJudge, tmp_path: Path
) -> None:
    task = partial(tmp_path, "check.cpp", CHECK_CPP)
    compiling.refuse(task, "python")
    assert scores(task, HALVES, compiling, "python") == [(0.2, "partial"), (0, "wrong")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("print(", "runtime: SyntaxError"),
        ("print('good')", "printed 'good.*expected a score from 0 to 1"),
        ("print(1.5)", "expected a score from 0 to 1"),
        ("print('nan')", "expected a score from 0 to 1"),
        ("pass", "printed ''"),
        ("raise SystemExit(2)", "exit status 2"),
    ],
)
def test_a_checker_that_does_not_work_is_named_before_anything_starts(
    text: str, said: str, judge: SandboxJudge, tmp_path: Path
) -> None:
    task = partial(tmp_path, "check.py", text)
    with pytest.raises(DataError, match=rf"checker check\.py of pairs .*{said}"):
        judge.refuse(task, "python")


@pytest.mark.parametrize(
    ("number", "test", "score"),
    [("9", "samples/1", "0"), ("100", "tests/1-1", "0.5"), ("8", "tests/2-1", "0")],
)
def test_a_checker_that_gives_the_jurys_own_answer_less_than_1_is_named_before_anything_starts(
    number: str, test: str, score: str, judge: SandboxJudge, tmp_path: Path
) -> None:
    text = f"print({score} if open('input.txt').read().strip() == '{number}' else 1)"
    task = partial(tmp_path, "check.py", text)
    said = f"gives the jury's own answer to test {test} {score}; expected 1"
    with pytest.raises(DataError, match=said):
        judge.refuse(task, "python")


def test_a_checker_that_does_not_compile_is_named_before_anything_starts(
    compiling: SandboxJudge, tmp_path: Path
) -> None:
    task = partial(tmp_path, "check.cpp", "int main() { return score; }")
    with pytest.raises(DataError, match=r"checker check\.cpp of pairs failed .*compile error"):
        compiling.refuse(task, "python")


def test_a_checker_that_fails_on_an_output_is_not_a_score(
    judge: SandboxJudge, tmp_path: Path
) -> None:
    task = partial(tmp_path, "check.py", "print(1 / int(open('output.txt').read()))")
    with pytest.raises(EvaluationError, match=r"tests/1-1: runtime: ZeroDivisionError"):
        judged(task, "print(0)", "python", judge)


COMPARED = [
    ("exact", "1 2\n3\n", "1 2 \r\n3", 1),
    ("exact", "1 2\n3\n", "1 2 3", 0),
    ("tokens", "1 2\n3\n", "1\n2 3", 1),
    ("tokens", "1 2\n3\n", "1 2 3.0", 0),
    ({"tolerance": 1e-3}, "0.5 x\n", "0.5004 x\n", 1),
    ({"tolerance": 1e-3}, "0.5 x\n", "0.502 x\n", 0),
]


@pytest.mark.parametrize(("checker", "answer", "output", "score"), COMPARED)
def test_built_in_checkers_compare_as_they_say(
    checker: Any, answer: str, output: str, score: int, judge: SandboxJudge, tmp_path: Path
) -> None:
    files = {"tests/1-1.out": answer}
    subtasks = [{"name": "1", "points": 100, "tests": ["tests/1-1"]}]
    directory = write_problem(
        tmp_path, files, checker=checker, subtasks=subtasks, languages=["python"]
    )
    source = f"print({output!r}, end='')"
    assert scores(read_task(directory), source, judge, "python")[0][0] == score


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("while True: pass", "timeout"),
        ("x = bytearray(1 << 30)", "memory"),
        ("print('x' * (3 << 20))", "output"),
        ("raise ValueError(input())", "runtime"),
    ],
)
def test_limits_are_the_problems_own_and_nothing_of_a_test_is_told(
    source: str, status: str, judge: SandboxJudge, tmp_path: Path
) -> None:
    directory = write_problem(
        tmp_path, languages=["python"], language_time_limits_s={"python": 0.2}, output_limit_mb=2
    )
    found = judged(read_task(directory), source, "python", judge)
    assert {(one.score, one.status, one.detail) for one in found.results_S} == {(0, status, "")}


# --- what this machine cannot do --------------------------------------------------------------


class Away:
    """A sandbox that fails so many times."""

    tier, refusal = "T1-namespaces", ""

    def __init__(self, failures: int) -> None:
        self.failures, self.runs = failures, 0

    def missing(self, language: str) -> str:
        return f"there is no {language} here"

    def run(self, program: Program, limits: Limits, wanted: object = None) -> Outcome:
        self.runs += 1
        if self.runs <= self.failures:
            return Outcome("infra", (), "sandbox: the zygote ended")
        return Outcome("ok", (b"hidden out 1-1",))


def test_a_failure_of_the_sandbox_is_tried_again_and_then_raised(tmp_path: Path) -> None:
    task = read_task(write_problem(tmp_path))
    tests = task.subtasks[0].tests[:1]
    away = Away(2)
    assert SandboxJudge(away, (0, 0)).results(task, "x", "cpp", tests)[0].status == "right"
    assert away.runs == 3
    away = Away(3)
    with pytest.raises(EvaluationError, match="could not be judged, 3 times: sandbox: the zygote"):
        SandboxJudge(away, (0, 0)).results(task, "x", "cpp", tests)
    assert away.runs == 3


def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path) -> None:
    task = read_task(write_problem(tmp_path))
    with pytest.raises(ConfigError, match="pairs needs cpp, and there is no cpp here"):
        SandboxJudge(Away(0)).refuse(task, "cpp")
    with pytest.raises(ConfigError, match="pairs is not solved in python") as error:
        SandboxJudge(Away(0)).refuse(task, "python")
    assert "--language cpp" in error.value.hint


GRADER = """\
#include <cstdio>
int main() {
    std::vector<int> a;
    for (int x; scanf("%d", &x) == 1; ) a.push_back(x);
    printf("%lld\\n", total(a));
}
"""
TOTAL = """\
#include "pairs.h"
long long total(std::vector<int> a) {
    long long sum = 0;
    for (int x : a) sum += x;
    return sum;
}
"""


def test_functions_are_judged_behind_a_grader(compiling: SandboxJudge, tmp_path: Path) -> None:
    files = {
        "pairs.h": "#include <vector>\nlong long total(std::vector<int> a);\n",
        "grader.cpp": GRADER,
        "tests/1-1.in": "1 2 3\n",
        "tests/1-1.out": "6\n",
    }
    subtasks = [{"name": "1", "points": 100, "tests": ["tests/1-1"]}]
    directory = write_problem(
        tmp_path, files, grader={"cpp": ["pairs.h", "grader.cpp"]}, subtasks=subtasks
    )
    assert scores(read_task(directory), TOTAL, compiling) == [(1, "right")]
