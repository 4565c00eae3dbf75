"""Programs judged: against a bare interpreter a test, and against verl's prime_code.

No two programs are the same text, so that nothing is remembered. prime_code is called as verl
calls it, `compute_score` in one warm process: its inner `run_test` disables `os.putenv` in its
own process and fails there the second time, so there is no faster way to call it twice.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.verifiers.duel import PEERS, ROOT, Duel, duel, serve

PROGRAMS = {"stdio 1": 60, "stdio 20": 10, "function 20": 20}
"""Programs a turn, by what is tested and in how many tests."""
_fresh = itertools.count()

STDIO = """\
import sys
from collections import Counter

def solve_{n}(values, limit):
    counts = Counter(values)
    best = 0
    for value in sorted(counts):
        if value + {n} * 0 <= limit:
            best += value * counts[value]
    return best

def main():
    data = sys.stdin.read().split()
    count, limit = int(data[0]), int(data[1])
    print(solve_{n}([int(word) for word in data[2:2 + count]], limit))

main()
"""
FUNCTION = """\
from collections import Counter

def solve(values, limit):
    counts_{n} = Counter(values)
    best = 0
    for value in sorted(counts_{n}):
        if value + {n} * 0 <= limit:
            best += value * counts_{n}[value]
    return best
"""


def answer(template: str) -> str:
    """An answer with a program that was never seen before."""
    return f"Count, then add.\n```python\n{template.replace('{n}', str(next(_fresh)))}```\n"


def numbers(tests: int) -> list[tuple[list[int], int, int]]:
    """(values, limit, expected) of each test."""
    rows = []
    for test in range(tests):
        values = [(7 * test + 3 * k) % 23 for k in range(10 + test)]
        rows.append((values, 11 + test, sum(v for v in values if v <= 11 + test)))
    return rows


def main() -> int:
    """The main of one side: `ours` or `peer`, and what to do."""
    who, what = sys.argv[1:]
    kind, count = what.split()
    if who == "ours":
        judge = ours(kind, int(count))
    else:
        judge = bare(int(count)) if count == "1" else prime_code(kind, int(count))
    template = STDIO if kind == "stdio" else FUNCTION

    def work() -> int:
        for _ in range(PROGRAMS[what]):
            assert judge(answer(template))
        return PROGRAMS[what] * int(count)

    serve(work)
    return 0


def ours(kind: str, count: int) -> Callable[[str], bool]:
    """Our verifier, its sandbox started."""
    sys.path.insert(0, str(ROOT / "src"))
    from cascade_rl.types import CallTest, Problem, StdioTest, Tests
    from cascade_rl.verifiers.code import verify_code

    if kind == "stdio":
        tests = Tests(tuple(StdioTest(stdin(v, m), f"{e}\n") for v, m, e in numbers(count)))
    else:
        calls = tuple(CallTest((v, m), e) for v, m, e in numbers(count))
        tests = Tests(calls, entry_point="solve")
    problem = Problem("p", "code", (), tests, "bench")
    verify_code(problem, "```python\npass\n```")
    return lambda text: verify_code(problem, text).outcome is True


def stdin(values: list[int], limit: int) -> str:
    """One test's input."""
    return f"{len(values)} {limit}\n{' '.join(map(str, values))}\n"


def bare(count: int) -> Callable[[str], bool]:
    """A bare interpreter for every test: no isolation, no limits."""
    tests = [(stdin(values, limit), str(expected)) for values, limit, expected in numbers(count)]
    # Without `site`: what an installation has in .pth files is not the interpreter's time.
    python = [os.path.realpath(sys.executable), "-I", "-S"]

    def judge(text: str) -> bool:
        source = text.split("```python\n")[1].split("```")[0]
        command = [*python, "-c", source]
        return all(
            subprocess.run(command, input=given, capture_output=True, text=True).stdout.strip()
            == expected
            for given, expected in tests
        )

    return judge


def prime_code(kind: str, count: int) -> Callable[[str], bool]:
    """Verl's scoring of code, loaded by its path: importing verl itself needs a cluster's parts."""
    found = importlib.util.find_spec("verl")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "utils" / "reward_score" / "prime_code"
    spec = importlib.util.spec_from_file_location(
        "prime_code", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules["prime_code"] = module
    spec.loader.exec_module(module)
    tests: dict[str, Any]
    if kind == "stdio":
        tests = {
            "inputs": [stdin(values, limit) for values, limit, _ in numbers(count)],
            "outputs": [f"{expected}\n" for *_, expected in numbers(count)],
        }
    else:
        tests = {
            "inputs": [f"{json.dumps(values)}\n{limit}" for values, limit, _ in numbers(count)],
            "outputs": [str(expected) for *_, expected in numbers(count)],
            "fn_name": "solve",
        }
    return lambda text: module.compute_score(text, json.dumps(tests))[0] is True


def run() -> list[Duel]:
    """The three comparisons."""

    def sides(what: str) -> tuple[list[str], list[str]]:
        module = ["-m", "benchmarks.verifiers.code"]
        return [sys.executable, *module, "ours", what], [str(PEERS), *module, "peer", what]

    return [
        duel("code, 1 stdio test: a bare interpreter", *sides("stdio 1"), 2.5),
        duel("code, 20 stdio tests: verl prime_code", *sides("stdio 20"), 1.5, rounds=9),
        duel("code, 20 function tests: verl prime_code", *sides("function 20"), 0.9),
    ]


if __name__ == "__main__":
    sys.exit(main())
