"""Tables of how a run's stages answered: what a right answer costs, and which parts of a benchmark
are solved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cascade_rl.evaluation.behaviour import Behaviour, behaviour
from cascade_rl.evaluation.ledger import Table, tabulate
from cascade_rl.evaluation.metrics import mean_interval
from cascade_rl.report.progress import Span
from cascade_rl.store import Run
from cascade_rl.types import Mode


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """One benchmark over the stages: how its answers look after each."""

    benchmark: str
    rows: tuple[tuple[str, Behaviour], ...]


@dataclass(frozen=True, slots=True)
class PartTable:
    """One benchmark by one field of its problems: the mean of each part after each stage.

    `cells` are, by part, (mean, half its 95 % interval) a stage; `sizes` its problems.
    """

    benchmark: str
    field: str
    stages: tuple[str, ...]
    sizes: Mapping[str, int]
    cells: Mapping[str, tuple[tuple[float, float] | None, ...]]


def answer_tables(
    run: Run, spans: list[Span], modes: Mapping[str, Mode | None]
) -> list[AnswerTable]:
    """One table a benchmark; `modes` are those that the benchmarks ask for."""
    found: dict[str, list[tuple[str, Behaviour]]] = {}
    for span in spans:
        for benchmark, by_step in run.evaluated_steps(span.record).items():
            if None in by_step:
                told = behaviour(by_step[None].samples, modes.get(benchmark))
                found.setdefault(benchmark, []).append((span.record.name, told))
    return [AnswerTable(benchmark, tuple(rows)) for benchmark, rows in found.items()]


def part_tables(run: Run, spans: list[Span]) -> list[PartTable]:
    """One table for each field by which the problems of a benchmark differ."""
    tables: dict[str, dict[str, Table]] = {}
    for span in spans:
        for benchmark, by_step in run.evaluated_steps(span.record).items():
            if None in by_step:
                tables.setdefault(benchmark, {})[span.record.name] = tabulate(by_step[None].samples)
    names = tuple(span.record.name for span in spans)
    found = []
    for benchmark, by_stage in tables.items():
        last = next(s.record for s in reversed(spans) if s.record.name in by_stage)
        for field, parts in run.parts(last, benchmark).items():
            members: dict[str, set[str]] = {}
            for problem, part in parts.items():
                members.setdefault(part, set()).add(problem)
            cells = {
                part: tuple(_cell(by_stage.get(name), members[part]) for name in names)
                for part in sorted(members)
            }
            sizes = {part: len(members[part]) for part in cells}
            found.append(PartTable(benchmark, field, names, sizes, cells))
    return found


def _cell(table: Table | None, members: set[str]) -> tuple[float, float] | None:
    """The mean over a part's problems and half its interval; None where it was not evaluated."""
    if table is None:
        return None
    chosen = [i for i, problem in enumerate(table.problem_ids) if problem in members]
    means_P = table.mean_P[chosen]
    low, high = mean_interval(means_P)
    return float(means_P.mean()), (high - low) / 2
