"""How often each problem was solved, from the samples of an evaluation.

Two rules. The greedy answer is no attempt: the expected penalty is that of N answers drawn alike.
And N is one number: a problem with another count means that the evaluation is not complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.errors import DataError, EvaluationError
from cascade_rl.evaluation.benchmarks import sample_from_json

HINT = (
    "expected what  cascade eval  keeps (evaluations/BENCHMARK-*.jsonl), an evaluation of a run "
    "(stages/NAME/evaluations/BENCHMARK-*.jsonl), or JSON lines of "
    '{"problem_id": "2085A", "score": 1}'
)
AGAIN = "evaluate it again; what was not judged is not wrong"
_GREEDY = -1


@dataclass(frozen=True, slots=True)
class Attempts:
    """N attempts at each problem, and how many of them solved it, by the problem's id."""

    attempts: int
    right: Mapping[str, int]

    def name_of(self, problem_id: str) -> str | None:
        """What the evaluation calls a contest's problem: the id, or the id after its source's
        name as prepared rows have it, `livecodebench-pro/2085A`. None where it has no attempts.

        Raises DataError where two sources have it.
        """
        if problem_id in self.right:
            return problem_id
        found = [name for name in self.right if name.endswith(f"/{problem_id}")]
        if len(found) > 1:
            raise DataError(
                f"problem {problem_id} may be {found[0]} or {found[1]} of the evaluation",
                hint="give evaluations of one of them",
            )
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class _Line:
    problem_id: str
    sample: int | None
    solved: bool


def read_attempts(paths: Sequence[Path], expected: int | None = None) -> Attempts:
    """Counts over all sampled answers in these files.

    A line is a sample as evaluations keep it, or `samples` of them, or any object with
    `problem_id` and `score`, where 1 is solved, and `sample` may number it (-1: greedy).
    `expected` is the N that is asked for.

    Raises DataError for another shape, a sample that is there twice, or counts that are not all N;
    EvaluationError for a sample that was not judged.
    """
    tried: dict[str, int] = {}
    right: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    for path in paths:
        for line in _lines(path):
            if line.sample == _GREEDY:
                continue
            if line.sample is not None:
                if (line.problem_id, line.sample) in seen:
                    raise DataError(
                        f"{path}: sample {line.sample} of problem {line.problem_id} is there twice",
                        hint="give each evaluation once",
                    )
                seen.add((line.problem_id, line.sample))
            tried[line.problem_id] = tried.get(line.problem_id, 0) + 1
            right[line.problem_id] = right.get(line.problem_id, 0) + line.solved
    return Attempts(_one_count(tried, expected, ", ".join(map(str, paths))), right)


def _one_count(tried: Mapping[str, int], expected: int | None, where: str) -> int:
    if not tried:
        raise DataError(f"{where}: no sampled answer; the greedy one is no attempt", hint=HINT)
    counts = sorted(set(tried.values()))
    wanted = counts[-1] if expected is None else expected
    if counts != [wanted]:
        problem = next(name for name, count in tried.items() if count != wanted)
        raise DataError(
            f"{where}: problem {problem} has {tried[problem]} attempts; expected {wanted}"
            + (", as others have" if expected is None else ""),
            hint="evaluate what is missing (the same command goes on), every problem equally often",
        )
    return wanted


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield from _samples(text, number, f"{path}, line {number}")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=HINT) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text", hint=HINT) from None


def _samples(text: str, number: int, where: str) -> Iterator[_Line]:
    """The samples of one line: none of a header, all of a problem, or one."""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}", hint=HINT) from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is no object", hint=HINT)
    if number == 1 and "problem_id" not in row and "benchmark" in row:
        return  # an evaluation of a run begins with its protocol
    if isinstance(row.get("samples"), list):
        for values in row["samples"]:
            yield _judged(json.dumps(values), where)
    elif "signals" in row:
        yield _judged(text, where)
    else:
        yield _plain(row, where)


def _judged(text: str, where: str) -> _Line:
    """A sample as evaluations keep it."""
    try:
        sample = sample_from_json(text)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where} is no sample of an evaluation: {error}", hint=HINT) from None
    verdict = sample.signals.verdict
    if verdict is None or verdict.outcome is None:
        why = "has no verdict" if verdict is None else f"is {verdict.status}: {verdict.reason}"
        raise EvaluationError(
            f"{where}: sample {sample.sample} of problem {sample.problem_id} {why}", hint=AGAIN
        )
    return _Line(sample.problem_id, sample.sample, verdict.outcome)


def _plain(row: Mapping[str, Any], where: str) -> _Line:
    """A sample of whoever judged it: its problem and its score."""
    if "problem_id" not in row or "score" not in row:
        missing = " and ".join(key for key in ("problem_id", "score") if key not in row)
        raise DataError(f"{where} has no {missing}", hint=HINT)
    score, number = row["score"], row.get("sample")
    if score is None or score != score:  # nan: a judge that gave nothing
        raise EvaluationError(
            f"{where}: the answer to problem {row['problem_id']} was not judged", hint=AGAIN
        )
    if not isinstance(score, int | float) or not isinstance(number, int | None):
        raise DataError(f"{where}: score is {score!r}, sample {number!r}; expected numbers")
    return _Line(str(row["problem_id"]), number, score >= 1)
