"""`cascade eval` on one model: each benchmark measured, shown, and its answers kept."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from cascade_rl.cli.answering import Asked, answering
from cascade_rl.cli.common import console, progress, protocol_of, trained_with
from cascade_rl.cli.ledger import show

if TYPE_CHECKING:
    from cascade_rl.config import BenchmarkConfig
    from cascade_rl.engines.base import EvaluationJob
    from cascade_rl.engines.generate import Generator
    from cascade_rl.evaluation.answers import Answers
    from cascade_rl.evaluation.ledger import Evaluated, StageScores
    from cascade_rl.evaluation.solved import NewlySolved
    from cascade_rl.evaluation.suite import Entry
    from cascade_rl.rewards import VerifierPool
    from cascade_rl.types import Problem, Sample

DEFAULTS = {"k": 4, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 2048}
PILOT = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to measure. `settings` are those the user gave; `budget` is half an interval's width.

    `unlocked` asks both models again, with the next seed, for what one solves and the other never.
    """

    benchmarks: Sequence[str]
    settings: Mapping[str, Any]
    budget: float | None
    max_k: int
    out: Path
    workers: int
    unlocked: bool = False


def evaluate_model(models: Sequence[str], asked: Asked, wanted: Wanted, *, as_json: bool) -> int:
    """Measure every benchmark on every model, and show what came out. The exit status.

    The first model is what the next one is compared with.
    """
    from cascade_rl.evaluation.ledger import StageScores, build_ledger

    stages: list[StageScores] = []
    rows: list[dict[str, Any]] = []
    try:
        _refuse_one_and_the_same(models, asked)
        for model in models:
            name, digest, found, told = _evaluated(model, asked, wanted)
            if any(stage.name == name for stage in stages):
                name = f"{name} ({digest[:8]})"
            parent = stages[-1].key if stages else None
            stages.append(StageScores(name, digest, parent, found))
            rows += told
        unlocked = _unlocked(models, asked, wanted, stages) if wanted.unlocked else {}
    except KeyboardInterrupt:
        print(f"stopped; what was judged is kept in {wanted.out}. Run the same command to go on.",
              file=sys.stderr)  # fmt: skip
        return 130
    ledger = build_ledger(stages)
    if as_json:
        solved = {name: asdict(one) for name, one in unlocked.items()}
        print(
            json.dumps({**ledger, "benchmarks": rows, **({"unlocked": solved} if solved else {})})
        )
        return 0
    screen = console()
    show(ledger, screen)
    screen.print(_table(rows))
    for name, one in unlocked.items():
        screen.print(
            f"{name}: {len(one.candidates)} problems were never solved before and are now; "
            f"{len(one.confirmed)} of them so again on fresh samples, which are right in "
            f"{one.before:.3f} before and {one.after:.3f} after"
        )
    return 0


def _refuse_one_and_the_same(models: Sequence[str], asked: Asked) -> None:
    """Raise ConfigError where two models to compare are one, before anything is asked."""
    from cascade_rl.cli.answering import checkpoint_of
    from cascade_rl.errors import ConfigError

    if len(models) < 2:
        return
    who = list(models)
    if not asked.endpoint:
        who = [checkpoint_of(Path(model)).weights_digest for model in models]
    if len(set(who)) < len(who):
        raise ConfigError(
            f"{' and '.join(models)} are one and the same model: nothing to compare",
            hint="name another one:  --against MODEL",
        )


def _unlocked(
    models: Sequence[str], asked: Asked, wanted: Wanted, stages: Sequence[StageScores]
) -> dict[str, NewlySolved]:
    """By benchmark, the problems that only the second model solves, on samples of another seed."""
    from cascade_rl.evaluation.ledger import tabulate
    from cascade_rl.evaluation.solved import newly_solved

    seed = int(wanted.settings.get("seed", 0)) + 1
    again = replace(wanted, settings={**wanted.settings, "seed": seed})
    fresh = [_evaluated(model, asked, again)[2] for model in models]
    sides = [*(stage.evaluations for stage in stages), *fresh]
    return {
        name: newly_solved(*(tabulate(side[name].samples).scores_PK for side in sides))
        for name in stages[0].evaluations
    }


def _evaluated(
    model: str, asked: Asked, wanted: Wanted
) -> tuple[str, str, dict[str, Evaluated], list[dict[str, Any]]]:
    """A model's name and digest, its samples by benchmark, and what the ledger does not say."""
    from cascade_rl.evaluation.ledger import Evaluated

    found, rows = {}, []
    name = digest = ""
    for file in wanted.benchmarks:
        benchmark, problems = _asked_of(file, wanted)
        generator, samples, path = _measured(model, asked, benchmark, problems, wanted)
        name, digest = generator.name, generator.digest
        rows.append({"model": name, **described(samples, benchmark, path)})
        scored = [replace(sample, text="") for sample in samples]  # the texts are in the file
        found[benchmark.name] = Evaluated(path.name.split("-")[-2], scored)
    return name, digest, found, rows


def _asked_of(file: str, wanted: Wanted) -> tuple[BenchmarkConfig, list[Problem]]:
    """A benchmark's protocol, with what the user gave, and its problems.

    `file` is a row file, `mini:NAME`, or one of the suite: `NAME=FILE`, `NAME@PROTOCOL=FILE`, or
    `NAME` alone where its rows can be had from the hub.
    """
    from cascade_rl.evaluation.suite import SUITE, entry_named

    known, _, place = file.partition("=")
    if Path(file).exists() or not (place or known.partition("@")[0] in SUITE):
        benchmark = _protocol(file, wanted)
        return benchmark, problems_of(benchmark)
    name, _, protocol = known.partition("@")
    entry = entry_named(name)
    _refuse_unverified(entry)
    published = entry.benchmark(place or None, protocol or None)
    options = wanted.settings.get("verifier_options", {})
    benchmark = protocol_of({
        **published.model_dump(),
        **wanted.settings,
        "verifier_options": {**published.verifier_options.model_dump(), **options},
    })  # fmt: skip
    return benchmark, entry.read(place or None, protocol or None)[: benchmark.limit]


def _refuse_unverified(entry: Entry) -> None:
    """Benchmarks whose score is not a verifier's have commands of their own."""
    from cascade_rl.errors import ConfigError

    hints = {
        "arena": "cascade arena MODEL QUESTIONS --baseline ANSWERS --judge URL ...",
        "pairs": "cascade eval-rm MODEL PAIRS",
        "swe": "cascade swe MODEL ISSUES --repos DIR --out DIR",
    }
    if entry.scored_by in hints:
        raise ConfigError(
            f"{entry.name} is not scored by a verifier: {entry.note}",
            hint=f"its own command:  {hints[entry.scored_by]}",
        )


def _protocol(file: str, wanted: Wanted) -> BenchmarkConfig:
    """The protocol of a row file, with what the user gave."""
    name = _name(file)
    if [_name(one) for one in wanted.benchmarks].count(name) > 1:  # of/two/test.jsonl and others
        name = f"{_plain(Path(file).parent.name)}-{name}"
    return protocol_of({"name": name, "file": file, **DEFAULTS, **wanted.settings})


def _name(file: str) -> str:
    builtin = file.removeprefix("mini:")
    return _plain(builtin if builtin != file else Path(file).stem)


def _measured(
    model: str,
    asked: Asked,
    benchmark: BenchmarkConfig,
    problems: list[Problem],
    wanted: Wanted,
) -> tuple[Generator, list[Sample], Path]:
    """All samples of a benchmark, and the file they are kept in."""
    from cascade_rl.config import ChatConfig, LocalConfig
    from cascade_rl.engines.base import EvaluationJob
    from cascade_rl.evaluation.answers import Answers, answers_file
    from cascade_rl.evaluation.benchmarks import verifier_of
    from cascade_rl.rewards import VerifierPool

    chat, local = (ChatConfig(), LocalConfig()) if asked.endpoint else trained_with(Path(model))
    job = EvaluationJob(benchmark, problems, verifier_of(benchmark), chat, local)
    replies = wanted.out / f"{_plain(model)}.replies"
    what = f"benchmark {benchmark.name}"
    workers = wanted.workers or len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        generator = stack.enter_context(
            answering(model, asked, replies, yarn_factor=benchmark.yarn_factor, what=what)
        )
        path = answers_file(wanted.out, benchmark, chat, generator.digest)
        answers = stack.enter_context(Answers(path))
        pool = stack.enter_context(VerifierPool(workers, local.verifier_deadline_s, breaker=1.0))
        return generator, _to_the_end(generator, pool, job, answers, wanted), path


def _to_the_end(
    generator: Generator, pool: VerifierPool, job: EvaluationJob, answers: Answers, wanted: Wanted
) -> list[Sample]:
    """The job's samples; with a budget k grows until the mean is known that well."""
    from cascade_rl.evaluation.measure import measure, next_k, with_samples

    while True:
        benchmark = job.benchmark
        size = len(job.problems) * (benchmark.k + benchmark.greedy)
        print(f"{benchmark.name}: {len(job.problems)} problems, k = {benchmark.k}",
              file=sys.stderr)  # fmt: skip
        with progress(size) as report:
            samples = measure(generator, pool, job, answers, report)
        if wanted.budget is None:
            return samples
        k = next_k(samples, wanted.budget, wanted.max_k)
        if k == benchmark.k:
            return samples
        job = with_samples(job, k)


def problems_of(benchmark: BenchmarkConfig) -> list[Problem]:
    """The first `limit` problems of a file or a generator."""
    from cascade_rl import mini
    from cascade_rl.config import BUILTIN
    from cascade_rl.data.rows import read_rows
    from cascade_rl.types import Problem

    if benchmark.file.startswith(BUILTIN):
        rows = mini.rows(benchmark.file.removeprefix(BUILTIN), 0)
    else:
        rows = read_rows(Path(benchmark.file), "problem")
    return [row for row in rows if isinstance(row, Problem)][: benchmark.limit]


def described(samples: Sequence[Sample], benchmark: BenchmarkConfig, path: Path) -> dict[str, Any]:
    """What the ledger does not say: both intervals of the mean, and how the answers look."""
    from cascade_rl.evaluation.behaviour import behaviour
    from cascade_rl.evaluation.ledger import tabulate
    from cascade_rl.evaluation.metrics import mean_interval, sampling_stderr

    table = tabulate(samples)
    low, high = mean_interval(table.mean_P)
    several = table.scores_PK.shape[1] > 1
    return {
        "benchmark": benchmark.name,
        "k": table.scores_PK.shape[1],
        "mean": float(table.mean_P.mean()),
        "low": low,
        "high": high,
        "sampling_stderr": sampling_stderr(table.scores_PK) if several else None,
        **asdict(behaviour(samples, benchmark.mode)),
        "file": str(path),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "benchmark", "k", "mean", "95 % over problems", "± by sampling",
                   "tokens", "tokens a right answer", "truncated", "mode obeyed"):  # fmt: skip
        table.add_column(column, no_wrap=True)
    for row in rows:
        spread = row["sampling_stderr"]
        table.add_row(
            row["model"],
            row["benchmark"],
            str(row["k"]),
            f"{row['mean']:.4f}",
            f"[{row['low']:.3f}, {row['high']:.3f}]",
            "" if spread is None else f"{1.96 * spread:.4f}",
            f"{row['tokens']:.0f}",
            "" if row["tokens_per_right"] is None else f"{row['tokens_per_right']:.0f}",
            f"{row['truncated']:.1%}",
            "" if row["mode_obeyed"] is None else f"{row['mode_obeyed']:.1%}",
        )
    return table


def _plain(name: str) -> str:
    """A model's name as a file's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "model"
