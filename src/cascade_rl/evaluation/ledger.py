"""The ledger: after every stage, every benchmark, and what changed since the parent.

One rule: only results of one protocol are subtracted. Where parent and child were measured
differently the change is None and `reason` says why; no number is ever made up for a gap.
The result is plain JSON-ready data, what `cascade ledger --json` prints.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

from cascade_rl.errors import DataError, EvaluationError
from cascade_rl.evaluation.metrics import (
    Floats,
    clustered_stderr,
    paired_interval,
    pass_at_k,
)
from cascade_rl.types import Sample

START = "start"
"""What the start model is called where a stage name is expected."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One benchmark on one model: the protocol's digest and every sample."""

    protocol: str
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class StageScores:
    """All evaluations of one stage; the start model has no parent."""

    name: str
    key: str
    parent_key: str | None
    evaluations: Mapping[str, Evaluated]


# `pass` is a keyword, hence the functional form.
Score = TypedDict(
    "Score",
    {
        "mean": float,  # avg@k; the greedy score where k is 0
        "greedy": float | None,
        "pass": float | None,  # pass@k over all k samples (best@k for graded scores)
        "k": int,
        "stderr": float,  # of `mean`: clustered by problem; over runs when pooled
        "n": int,  # problems
        "change": float | None,  # `mean` minus the parent's, paired, with its 95 % interval
        "low": float | None,
        "high": float | None,
        "pass_change": float | None,
        "pass_low": float | None,
        "pass_high": float | None,
        "best_stage": str | None,  # the ancestor with the highest mean, and `mean` minus it
        "under_best": float | None,
        "under_best_low": float | None,
        "under_best_high": float | None,
        "protocol": str,
        "reason": str,  # why `change` is None
        "deviation": float | None,  # over runs, when pooled
    },
)


class StageRow(TypedDict):
    """One stage of the ledger; `key` joins the runs' keys by `+` when pooled."""

    name: str
    key: str
    scores: dict[str, Score]


class Ledger(TypedDict):
    """The stage-by-benchmark matrix, the start model first."""

    stages: list[StageRow]


@dataclass(frozen=True, slots=True)
class Table:
    """One evaluation as arrays; rows in `problem_ids` order."""

    problem_ids: tuple[str, ...]
    scores_PK: Floats  # [P, 0] for a greedy-only protocol
    greedy_P: Floats | None

    @property
    def mean_P(self) -> Floats:
        """Each problem's mean sample score, or its greedy score where none was sampled."""
        if self.scores_PK.shape[1]:
            means: Floats = self.scores_PK.mean(axis=1)
            return means
        assert self.greedy_P is not None
        return self.greedy_P

    @property
    def pass_P(self) -> Floats | None:
        """Each problem's best sample; None where none was sampled."""
        k = self.scores_PK.shape[1]
        return pass_at_k(self.scores_PK, k) if k else None


def score_of(sample: Sample) -> float:
    """The score that counts in an evaluation: every sample has one."""
    verdict = sample.signals.verdict
    score = sample.signals.preference if verdict is None else verdict.score
    if score is None:
        why = "has no verdict" if verdict is None else f"is {verdict.status}: {verdict.reason}"
        raise EvaluationError(f"sample {sample.sample} of problem {sample.problem_id} {why}")
    return score


def tabulate(samples: Sequence[Sample]) -> Table:
    """Samples as arrays. Problems are sorted by id, so two tables of one protocol align."""
    greedy: dict[str, float] = {}
    sampled: dict[str, list[float]] = {}
    for sample in sorted(samples, key=lambda s: (s.problem_id, s.sample)):
        scores = sampled.setdefault(sample.problem_id, [])
        if sample.greedy:
            greedy[sample.problem_id] = score_of(sample)
        else:
            scores.append(score_of(sample))
    counts = {len(scores) for scores in sampled.values()}
    if len(counts) != 1 or len(greedy) not in (0, len(sampled)) or not (greedy or max(counts)):
        raise DataError(
            f"an evaluation of {len(sampled)} problems is not complete: expected the same number "
            f"of samples for each, found {sorted(counts)}, and {len(greedy)} greedy answers"
        )
    ids = tuple(sampled)
    return Table(
        problem_ids=ids,
        scores_PK=np.array([sampled[i] for i in ids], dtype=np.float64),
        greedy_P=np.array([greedy[i] for i in ids], dtype=np.float64) if greedy else None,
    )


def build_ledger(stages: Sequence[StageScores]) -> Ledger:
    """The ledger of one run. A parent comes before its children, the start model first."""
    return pool([stages])


def pool(runs: Sequence[Sequence[StageScores]]) -> Ledger:
    """One ledger of several runs of one configuration, matched by stage name.

    Means and deviations are over runs, intervals resample runs and problems (`paired_interval`).
    Stages that are not in every run are left out; a benchmark whose protocol differs between
    runs is a DataError, because its scores must not be averaged.
    """
    common = [s.name for s in runs[0] if all(any(t.name == s.name for t in r) for r in runs)]
    if not common:
        raise DataError("these runs have no stage in common; expected runs of one configuration")
    measured = [{s.name: _Measured(s, run) for s in run if s.name in common} for run in runs]
    rows: list[StageRow] = []
    for name in common:
        of_runs = [run[name] for run in measured]
        shared = [b for b in of_runs[0].tables if all(b in m.tables for m in of_runs)]
        scores = {b: _cell(name, b, measured) for b in shared}
        rows.append({"name": name, "key": "+".join(m.stage.key for m in of_runs), "scores": scores})
    return {"stages": rows}


class _Measured:
    """A stage with its evaluations as tables, and the names of its ancestors, parent first."""

    def __init__(self, stage: StageScores, run: Sequence[StageScores]) -> None:
        self.stage = stage
        self.tables = {b: tabulate(e.samples) for b, e in stage.evaluations.items()}
        self.ancestors: list[str] = []
        by_key = {s.key: s for s in run}
        parent = by_key.get(stage.parent_key or "")
        while parent is not None and parent.name not in self.ancestors:
            self.ancestors.append(parent.name)
            parent = by_key.get(parent.parent_key or "")

    def protocol(self, benchmark: str) -> str | None:
        found = self.stage.evaluations.get(benchmark)
        return found.protocol if found else None


_Runs = Sequence[Mapping[str, _Measured]]


def _cell(name: str, benchmark: str, runs: _Runs) -> Score:
    tables = [run[name].tables[benchmark] for run in runs]
    if len({run[name].protocol(benchmark) for run in runs}) > 1:
        raise DataError(
            f"stage {name}: benchmark {benchmark} has different protocols in these runs; "
            "scores of different protocols are not averaged",
            hint="evaluate the runs with the same benchmark settings and problems",
        )
    ancestors = runs[0][name].ancestors
    parent = ancestors[0] if ancestors else None
    reason = _why_not(name, parent, benchmark, runs)
    comparable = None if reason else parent
    best = _best(ancestors, name, benchmark, runs)
    change, low, high = _change(name, comparable, benchmark, runs, "mean")
    pass_change, pass_low, pass_high = _change(name, comparable, benchmark, runs, "pass")
    under_best, under_best_low, under_best_high = _change(name, best, benchmark, runs, "mean")
    means = [float(t.mean_P.mean()) for t in tables]
    deviation = statistics.stdev(means) if len(runs) > 1 else None
    problems, k = tables[0].scores_PK.shape
    clustered = clustered_stderr(tables[0].mean_P[:, None])
    return {
        "mean": statistics.fmean(means),
        "greedy": _fmean(
            [None if t.greedy_P is None else float(t.greedy_P.mean()) for t in tables]
        ),
        "pass": _fmean([None if t.pass_P is None else float(t.pass_P.mean()) for t in tables]),
        "k": k,
        "stderr": clustered if deviation is None else deviation / len(runs) ** 0.5,
        "n": problems,
        "change": change,
        "low": low,
        "high": high,
        "pass_change": pass_change,
        "pass_low": pass_low,
        "pass_high": pass_high,
        "best_stage": best,
        "under_best": under_best,
        "under_best_low": under_best_low,
        "under_best_high": under_best_high,
        "protocol": runs[0][name].protocol(benchmark) or "",
        "reason": reason,
        "deviation": deviation,
    }


def _fmean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _why_not(name: str, other: str | None, benchmark: str, runs: _Runs) -> str:
    """Why two stages' results must not be subtracted; empty where they may."""
    if other is None:
        return "the start model has no parent"
    for run in runs:
        theirs = run[other].protocol(benchmark) if other in run else None
        mine = run[name].protocol(benchmark)
        if theirs is None:
            return f"{other} was not evaluated on {benchmark}"
        if theirs != mine:
            return f"protocols differ: {other} {theirs}, {name} {mine}"
    return ""


def _change(
    name: str, other: str | None, benchmark: str, runs: _Runs, what: Literal["mean", "pass"]
) -> tuple[float, float, float] | tuple[None, None, None]:
    """`name` minus `other` with its interval, or three times None where there is no such thing."""
    if other is None:
        return None, None, None
    rows = []
    for run in runs:
        child, parent = run[name].tables[benchmark], run[other].tables[benchmark]
        if child.problem_ids != parent.problem_ids:
            raise DataError(f"{name} and {other} answered different problems of {benchmark}")
        if what == "mean":
            rows.append(child.mean_P - parent.mean_P)
            continue
        k = min(child.scores_PK.shape[1], parent.scores_PK.shape[1])  # a budget gives each its own
        if not k:
            return None, None, None
        rows.append(pass_at_k(child.scores_PK, k) - pass_at_k(parent.scores_PK, k))
    found = paired_interval(np.stack(rows))
    return found.change, found.low, found.high


def _best(ancestors: Sequence[str], name: str, benchmark: str, runs: _Runs) -> str | None:
    """The ancestor with the highest mean over runs among those with the same protocol."""
    means = {
        a: statistics.fmean(float(run[a].tables[benchmark].mean_P.mean()) for run in runs)
        for a in ancestors
        if not _why_not(name, a, benchmark, runs)
    }
    return max(means, key=lambda a: means[a]) if means else None


@dataclass(frozen=True, slots=True)
class Drop:
    """A benchmark that fell by more than was allowed, with the interval that shows it."""

    benchmark: str
    stage: str
    since: str
    change: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.benchmark} fell by {-self.change:.2f} [{-self.high:.2f}, {-self.low:.2f}] "
            f"from {self.since} to {self.stage}"
        )


def forgotten(ledger: Ledger, max_drop: float = 0.1) -> list[Drop]:
    """Every (stage, benchmark) whose interval lies wholly below -`max_drop` of its best so far."""
    return [
        Drop(benchmark, row["name"], s["best_stage"] or "", under, low, high)
        for row in ledger["stages"]
        for benchmark, s in row["scores"].items()
        if (under := s["under_best"]) is not None
        and (low := s["under_best_low"]) is not None
        and (high := s["under_best_high"]) is not None
        and high < -max_drop
    ]


def drops(
    ledger: Ledger, stage: str, max_drop: float, benchmarks: Sequence[str] = ()
) -> list[Drop]:
    """What a gate asks: benchmarks (all, or those named) that `stage` dropped from its parent."""
    [row] = [r for r in ledger["stages"] if r["name"] == stage]
    return [
        Drop(benchmark, stage, "its parent", change, low, high)
        for benchmark, s in row["scores"].items()
        if (not benchmarks or benchmark in benchmarks)
        and (change := s["change"]) is not None
        and (low := s["low"]) is not None
        and (high := s["high"]) is not None
        and high < -max_drop
    ]
