"""Code rows sifted: those whose tests can tell right from wrong are kept.

In this order: what the text says (special judge, interactive, image), duplicate and too few
tests, no golden solution, a golden solution that fails, and weak tests. Kept rows carry
`extra_info.test_strength`; rows of other domains pass as they are.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from cascade_rl.data.check import solution_of
from cascade_rl.data.step import Step
from cascade_rl.data.strength.measure import is_weak, strength_of
from cascade_rl.data.strength.prompts import unfit_text
from cascade_rl.data.strength.trials import weight_of
from cascade_rl.errors import EvaluationError
from cascade_rl.sandbox.values import encode
from cascade_rl.types import (
    AssertTest,
    CallTest,
    Problem,
    Row,
    StdioTest,
    Tests,
    Verdict,
    partial,
    right,
    unjudged,
)
from cascade_rl.verifiers import Pool
from cascade_rl.verifiers.code import verify_code
from cascade_rl.verifiers.code.batches import batches_of
from cascade_rl.verifiers.code.extract import extract_program

TOO_FEW, CONFLICT, UNREADABLE = "too few tests", "tests contradict each other", "unreadable tests"
UNSOLVED, FAILS, WEAK = "no golden solution", "golden solution fails", "weak tests"
UNJUDGED = "could not be measured"
KEPT_AS = "test_strength"
MIN_TESTS = 3
_AT_ONCE = 64
"""Rows that are held while their tests are measured."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose."""

    threshold: float
    mutants: int = 60
    inputs: int = 200
    min_tests: int = MIN_TESTS
    keep_unsolved: bool = False
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a row goes."""

    reason: str
    detail: Any


def sift(
    path: Path,
    step: Step,
    options: Options,
    pool: Pool,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Keep or drop every row of a file, in order."""
    unmeasured = duplicates = 0
    for row, found in judged(step.rows(path), options, pool):
        if isinstance(found, Drop):
            step.drop(row, found.reason, found.detail)
        else:
            step.keep(found)
            unmeasured += _is_unmeasured(found)
            duplicates += _cases(row) > _cases(found)
        done()
    step.details["kept unmeasured"] = unmeasured
    step.details["rows with duplicate tests"] = duplicates


def _is_unmeasured(row: Row) -> bool:
    return isinstance(row, Problem) and row.domain == "code" and KEPT_AS not in row.extra


def _cases(row: Row) -> int:
    tests = row.reference if isinstance(row, Problem) else None
    return len(tests.cases) if isinstance(tests, Tests) else 0


def judged(rows: Iterable[Row], options: Options, pool: Pool) -> Iterator[tuple[Row, Row | Drop]]:
    """Every row in order, and what becomes of it."""
    stream = iter(rows)
    measure = functools.partial(
        measured, mutants=options.mutants, inputs=options.inputs, seed=options.seed
    )
    while part := list(islice(stream, _AT_ONCE)):
        found = [_first_look(row, options) for row in part]
        asked = [
            (at, look, solution)
            for at, look in enumerate(found)
            if isinstance(look, Problem) and look.domain == "code"
            if (solution := solution_of(look))
        ]
        verdicts = pool.map(measure, ((problem, solution) for _, problem, solution in asked))
        for (at, problem, _), verdict in zip(asked, verdicts, strict=True):
            found[at] = _decided(problem, verdict, options.threshold)
        yield from zip(part, found, strict=True)


def _first_look(row: Row, options: Options) -> Row | Drop:
    """What can be said without running anything; the row with each of its tests once."""
    if not isinstance(row, Problem) or not isinstance(row.reference, Tests):
        return row
    text = "\n".join(message.content for message in row.prompt)
    reason, words = unfit_text(text)
    if reason:
        return Drop(reason, words)
    try:
        tests = without_duplicates(row.reference)
        batches_of(tests)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        return Drop(UNREADABLE, str(error)[:300])
    if conflict := contradicting(tests):
        return Drop(CONFLICT, conflict)
    if (count := number_of_tests(tests)) < options.min_tests:
        return Drop(TOO_FEW, f"{count} of {options.min_tests}")
    if solution_of(row) is None and not options.keep_unsolved:
        return Drop(UNSOLVED, "extra_info.solution is absent")
    return row if tests == row.reference else replace(row, reference=tests)


def measured(problem: Problem, solution: str, *, mutants: int, inputs: int, seed: int) -> Verdict:
    """The strength of a problem's tests as a verdict: `partial`, its numbers as JSON in `answer`.

    `invalid` where the golden solution fails, `right` where it passes and nothing can be measured
    because no mutants are made of its language.
    """
    tests = problem.reference
    assert isinstance(tests, Tests)
    source = extract_program(solution, tests.language) or ""
    verdict = verify_code(problem, f"~~~~~~{tests.language}\n{source}\n~~~~~~")
    if verdict.score is None:
        return verdict
    if verdict.status != "right":
        return unjudged("invalid", f"{verdict.status}: {verdict.reason}")
    if tests.language != "python":
        return right()
    try:
        found = strength_of(problem, source, mutants=mutants, inputs=inputs, seed=seed)
    except EvaluationError as error:
        return unjudged("infra", str(error))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return unjudged("invalid", str(error))
    return partial(found.strength, "", json.dumps(found.as_dict()))


def _decided(problem: Problem, verdict: Verdict, threshold: float) -> Row | Drop:
    if verdict.status == "infra":
        return Drop(UNJUDGED, verdict.reason)
    if verdict.score is None:
        return Drop(FAILS, verdict.reason)
    if verdict.status == "right":
        return problem
    numbers: Mapping[str, Any] = json.loads(verdict.answer or "{}")
    if is_weak(verdict.score, threshold):
        return Drop(WEAK, numbers)
    kept = {key: value for key, value in numbers.items() if key != "survivors"}
    return replace(problem, extra={**problem.extra, KEPT_AS: kept})


# --- the tests themselves ---------------------------------------------------------------------


def without_duplicates(tests: Tests) -> Tests:
    """Each test once, the first of equal ones. Raises NotPlain for values that cannot be sent."""
    cases: dict[str, Any] = {}
    for case in tests.cases:
        cases.setdefault(_name(case), case)
    if len(cases) == len(tests.cases):
        return tests
    return replace(tests, cases=tuple(cases.values()))


def _name(case: StdioTest | CallTest | AssertTest) -> str:
    match case:
        case StdioTest():
            return json.dumps([case.input, case.output])
        case CallTest():
            return encode((case.args, case.expected, case.also))
        case AssertTest():
            return case.code.strip()


def contradicting(tests: Tests) -> str:
    """An input that two tests give different outputs for, or an empty string."""
    seen: dict[str, str] = {}
    for case in tests.cases:
        match case:
            case StdioTest():
                given, wanted = case.input, "\n".join(case.output.split())
            case CallTest():
                given, wanted = encode(case.args), encode((case.expected, case.also))
            case _:
                continue
        if seen.setdefault(given, wanted) != wanted:
            return given[:200]
    return ""


def number_of_tests(tests: Tests) -> int:
    """Inputs tried: each assert of a block is one, and a block that loops stands for many."""
    count = 0
    for batch in batches_of(tests):
        if batch.kind == "assert":
            count += sum(weight_of(tests.cases[at]) for at in batch.cases)
        else:
            count += len(batch.inputs)
    return count
