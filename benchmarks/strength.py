"""Does mutation testing tell weakened tests from the originals? On MBPP and HumanEval.

    python -m benchmarks.strength [--data ../shared/data] [--seconds 3600] [--mutants 60]

The tests of each problem are weakened: taken away in a drawn order until a known wrong program,
which all of them together catch, passes. The known wrong program is one that Reflexion recorded,
where there is one, and otherwise a mutant of the quarter of all mutants that the checker never
sees; nor may it use a mutant that does the same as the known program on every generated input.
Where every test catches the program none is left: flagged without measuring, and counted apart.
The threshold is chosen on half of the problems, the figures are of the other half; the bar is
90 % of the weakened sets flagged and 90 % of the originals passed.

A second, harder way is reported beside it without a bar: of the known programs one that not all
tests catch, and only the tests that catch it are taken away.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade_rl.data.code_formats import read_tests
from cascade_rl.data.strength.measure import (
    MUTANTS,
    THRESHOLD,
    Strength,
    affordable,
    is_weak,
    try_all,
)
from cascade_rl.data.strength.mutants import Mutant, mutants_of
from cascade_rl.data.strength.sift import MIN_TESTS, number_of_tests
from cascade_rl.data.strength.trials import Unfit, same, trial_of
from cascade_rl.types import AssertTest, Problem, Tests
from cascade_rl.verifiers.code import test_results

INPUTS = 200
HELD_OUT = 4
"""One mutant in so many is kept from the checker."""
TRIED = 12
"""Known wrong programs that are looked at."""
BAR = 0.9
SLOW_S = 20.0


@dataclass(frozen=True, slots=True)
class Item:
    """A problem, its golden solution, and programs recorded as wrong."""

    problem: Problem
    golden: str
    wrong: tuple[str, ...]

    @property
    def source(self) -> str:
        return self.problem.source


@dataclass(frozen=True, slots=True)
class Weakened:
    """What is left of a problem's tests: whose program passes, how many inputs, their strength."""

    by: str
    left: int
    strength: Strength | None


@dataclass(frozen=True, slots=True)
class Result:
    """One problem: strength of its tests, and of what is left of them in both ways."""

    id: str
    source: str
    tests: int
    original: Strength
    drawn: Weakened
    harder: Weakened | None


# --- the problems -----------------------------------------------------------------------------


def items(data: Path) -> Iterator[Item]:
    """MBPP, then HumanEval, each of its asserts a test of its own where they stand alone."""
    wrong = _recorded(data)
    for row in json.loads((data / "code/mbpp_sanitized.json").read_text()):
        name = f"mbpp/{row['task_id']}"
        tests = _tests({key: row[key] for key in ("test_list", "test_imports")})
        yield Item(_problem(name, tests, "mbpp"), row["code"], wrong.get(name, ()))
    with gzip.open(data / "code/HumanEval.jsonl.gz") as file:
        for row in map(json.loads, file):
            tests = _tests({key: row[key] for key in ("test", "entry_point", "prompt")})
            blocks = _separate(row["test"])
            if blocks:
                tests = replace(tests, cases=tuple(map(AssertTest, blocks)))
            golden = row["prompt"] + row["canonical_solution"]
            name = row["task_id"]
            yield Item(_problem(name, tests, "humaneval"), golden, wrong.get(name, ()))


def _tests(row: dict[str, Any]) -> Tests:
    tests = read_tests(row)
    assert tests is not None
    return replace(tests, time_limit_s=SLOW_S)


def _problem(name: str, tests: Tests, source: str) -> Problem:
    return Problem(name, "code", (), tests, source)


def _recorded(data: Path) -> dict[str, tuple[str, ...]]:
    """Reflexion's wrong answers by problem; how a label is wrong is for the tests to say."""
    found: dict[str, tuple[str, ...]] = {}
    with (data / "code/reflexion_gpt4_verdicts.jsonl").open() as file:
        for row in map(json.loads, file):
            name = row["name"]
            if name.startswith("mbpp_"):
                name = f"mbpp/{name.split('_')[1]}"
            if not row["is_solved"] and row["solution"] not in found.get(name, ()):
                found[name] = (*found.get(name, ()), row["solution"])
    return found


def _separate(test: str) -> list[str]:
    """The asserts of a `check` that is nothing but asserts, each as code of its own."""
    [check] = [s for s in ast.parse(test).body if getattr(s, "name", "") == "check"]
    assert isinstance(check, ast.FunctionDef)
    asserts = [s for s in check.body if isinstance(s, ast.Assert)]
    if len(asserts) < len(check.body):
        return []
    return [ast.unparse(s) for s in asserts if not isinstance(s.test, ast.Constant)]


# --- one problem ------------------------------------------------------------------------------


def measured(item: Item, mutants: int = MUTANTS) -> Result | None:
    """Strength before and after; None where no known wrong program is caught."""
    rng = random.Random(item.problem.id)
    everything = mutants_of(item.golden)
    rng.shuffle(everything)
    held = everything[::HELD_OUT]
    hidden = {mutant.source for mutant in held}
    seen = [m for m in mutants_of(item.golden, 2 * mutants) if m.source not in hidden][:mutants]
    known = [("reflexion", source) for source in item.wrong]
    known += [("mutant", mutant.source) for mutant in held[: TRIED - len(known)]]
    caught = list(_caught(item.problem, known))
    if not caught or not seen:
        return None
    tests = item.problem.reference
    assert isinstance(tests, Tests)
    trial = trial_of(item.problem, item.golden, INPUTS, 0)
    seen = seen[: affordable(trial, mutants)]
    original = try_all(trial, seen)
    by, source, passes = caught[0]
    drawn = _weakened(item, seen, by, source, _in_drawn_order(passes, rng))
    harder = None
    for by, source, passes in caught:
        if any(passes):
            left = [index for index, passed in enumerate(passes) if passed]
            harder = _weakened(item, seen, by, source, left)
            break
    count = number_of_tests(tests)
    return Result(item.problem.id, item.source, count, original, drawn, harder)


def _caught(
    problem: Problem, known: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str, list[bool]]]:
    """Of the known programs those that fail a test: whose, the program, which tests it passes."""
    tests = problem.reference
    assert isinstance(tests, Tests)
    quick = replace(problem, reference=replace(tests, time_limit_s=1.0))
    for by, source in known:
        results = test_results(quick, f"~~~~~~python\n{source}\n~~~~~~")
        passes = [result.status == "right" for result in results]
        if not all(passes):
            yield by, source, passes


def _in_drawn_order(passes: Sequence[bool], rng: random.Random) -> list[int]:
    """The tests left when they are taken away in a drawn order until the program passes."""
    order = list(range(len(passes)))
    rng.shuffle(order)
    while not all(passes[index] for index in order):
        order.pop()
    return sorted(order)


def _weakened(
    item: Item, seen: Sequence[Mutant], by: str, source: str, left: Sequence[int]
) -> Weakened:
    tests = item.problem.reference
    assert isinstance(tests, Tests)
    if not left:
        return Weakened(by, 0, None)
    cases = tuple(tests.cases[index] for index in left)
    poorer = replace(item.problem, reference=replace(tests, cases=cases))
    count = number_of_tests(replace(tests, cases=cases))
    return Weakened(by, count, _without_twins(poorer, item.golden, source, seen))


def _without_twins(problem: Problem, golden: str, source: str, seen: Sequence[Mutant]) -> Strength:
    """The strength of weakened tests, by mutants that are not the known program in disguise."""
    trial = trial_of(problem, golden, INPUTS, 1)
    assert trial.run(source).caught == 0, "the weakened tests pass the known wrong program"
    found = try_all(trial, seen)
    outcomes = trial.outcomes(source)

    def is_twin(mutant: Mutant) -> bool:
        others = trial.outcomes(mutant.source)
        return all(same(a, b) for a, b in zip(others, outcomes, strict=True))

    twins = {t.mutant for t in found.survivors if is_twin(t.mutant)}
    return replace(found, tried=tuple(t for t in found.tried if t.mutant not in twins))


# --- figures ----------------------------------------------------------------------------------


def share_killed(strength: Strength) -> float:
    """The plain share, for comparison."""
    return strength.killed / len(strength.tried) if strength.tried else 1.0


Rule = Callable[[Strength], float]
RULES: dict[str, Rule] = {
    "strength": lambda found: found.strength,
    "share killed": share_killed,
}


Way = Callable[[Result], Weakened | None]
WAYS: dict[str, Way] = {
    "drawn order": lambda result: result.drawn,
    "only those that catch it": lambda result: result.harder,
}


def threshold_of(results: Sequence[Result], rule: Rule) -> float:
    """The threshold with the best smaller of both shares that the bar is for.

    Of equally good ones the middle.
    """
    values = {rule(r.original) for r in results}
    values |= {rule(r.drawn.strength) for r in results if r.drawn.strength is not None}
    scores = {value: min(shares(results, rule, value)[:2]) for value in sorted(values)}
    best = [value for value, score in scores.items() if score == max(scores.values())]
    return best[len(best) // 2]


def shares(
    results: Sequence[Result],
    rule: Rule,
    threshold: float,
    way: Way = WAYS["drawn order"],
    least: int = 1,
) -> tuple[float, float, float]:
    """Of the weakened flagged, of the originals passed; of the weakened with tests left flagged.

    Fewer than `least` tests are flagged whatever they catch.
    """

    def flags(strength: Strength, tests: int) -> bool:
        return tests < least or is_weak(rule(strength), threshold)

    weakened = [found for r in results if (found := way(r)) is not None]
    left = [(w.strength, w.left) for w in weakened if w.strength is not None]
    flagged = sum(flags(*found) for found in left)
    emptied = len(weakened) - len(left)
    passed = sum(not flags(r.original, r.tests) for r in results)
    return (
        (flagged + emptied) / max(len(weakened), 1),
        passed / max(len(results), 1),
        flagged / max(len(left), 1),
    )


def halves(results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Every second problem by name."""
    ordered = sorted(results, key=lambda result: result.id)
    return ordered[::2], ordered[1::2]


def main() -> int:
    """Print the figures; 1 where a bar is missed on the half that chose nothing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seconds", type=float, default=3600, help="take no problem after them")
    parser.add_argument("--mutants", type=int, default=MUTANTS)
    given = parser.parse_args()
    todo = list(items(given.data))
    random.Random(0).shuffle(todo)
    begun = time.monotonic()
    results: list[Result] = []
    for item in todo:
        if time.monotonic() - begun > given.seconds:
            break
        try:
            found = measured(item, given.mutants)
        except (Unfit, ValueError) as error:
            print(f"{item.problem.id}: {error}", flush=True)
            continue
        if found is None:
            print(f"{item.problem.id}: no known wrong program is caught", flush=True)
            continue
        results.append(found)
        print(line_of(found), flush=True)
    print(f"{len(results)} of {len(todo)} problems in {time.monotonic() - begun:.0f} s")
    return report(results)


def line_of(found: Result) -> str:
    """One line of JSON a problem, so that another rule can be tried on them."""
    return json.dumps(
        {
            "id": found.id,
            "tests": found.tests,
            "original": [t.caught for t in found.original.tried],
            **{
                name: w and [w.by, w.left, w.strength and [t.caught for t in w.strength.tried]]
                for name, w in (("drawn", found.drawn), ("harder", found.harder))
            },
        }
    )


def report(results: Sequence[Result]) -> int:
    """Figures by rule and data set, and the exit status."""
    chosen, other = halves(results)
    for name, rule in RULES.items():
        threshold = threshold_of(chosen, rule)
        print(f"\n{name}, weak below {threshold:.3f}")
        for part, rows in {
            "chosen on": chosen,
            "reported on": other,
            "  mbpp": [r for r in other if r.source == "mbpp"],
            "  humaneval": [r for r in other if r.source == "humaneval"],
            "  known by Reflexion": [r for r in other if r.drawn.by == "reflexion"],
        }.items():
            _print(part, rows, rule, threshold)
    rule = RULES["strength"]
    print(f"\nas `cascade data strength` drops by default: weak below {THRESHOLD}, or few tests")
    _print("mutants alone", results, rule, THRESHOLD)
    _print(f"and {MIN_TESTS} tests", results, rule, THRESHOLD, MIN_TESTS)
    flagged, passed, _ = shares(other, rule, threshold_of(chosen, rule))
    print(f"\nflagged {flagged:.3f}, passed {passed:.3f}; the bar is {BAR} for both")
    return 0 if min(flagged, passed) >= BAR else 1


def _print(part: str, rows: Sequence[Result], rule: Rule, threshold: float, least: int = 1) -> None:
    for way, weakened in WAYS.items():
        flagged, passed, of_left = shares(rows, rule, threshold, weakened, least)
        left = sum(w is not None and w.strength is not None for w in map(weakened, rows))
        count = sum(weakened(r) is not None for r in rows)
        print(
            f"{part:20} {way:25} originals passed {passed:.3f} of {len(rows)}, weakened "
            f"flagged {flagged:.3f} of {count}; {of_left:.3f} of {left} that have tests left"
        )


if __name__ == "__main__":
    sys.exit(main())
