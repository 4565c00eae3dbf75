"""Does the mini cascade teach, or only sharpen, and what does it forget? Over several seeds.

    python -m benchmarks.learning [--preset mini-full] [--seeds 0 1 2] [--output runs/learning]

Trains the preset once a seed, looks at the test split once, and prints every bar with its
figure. Exit status 1 where a bar is missed. The bars, on `test`, pooled over the seeds:

- start: the SFT model's greedy score is at most .75 in every RL domain;
- rise: an RL stage raises its domain's mean at T = 1 by 0.2, or closes half of what is missing;
- beats: the child's best of {greedy, T .6, T 1} beats its parent's (settings chosen on `val`);
- pass: the domain's pass@k does not fall (interval not wholly below -0.02);
- kept: at the end no domain is under its best (interval not wholly below -0.1);
- pairs: the reward model orders at least 90 % of held-out pairs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cascade_rl.cli.common import load
from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.engines.scorer import RewardModelScorer
from cascade_rl.evaluation.compare import Comparison, Model, compare
from cascade_rl.evaluation.ledger import (
    Ledger,
    Score,
    StageScores,
    build_ledger,
    forgotten,
    pool,
)
from cascade_rl.mini import rows
from cascade_rl.store import Run
from cascade_rl.trainer import CascadedRLTrainer
from cascade_rl.types import Message, Pair, Preference, Problem

WARM = "@t0.6"
"""Suffix of the benchmark that samples a domain at temperature 0.6."""


def train(config: CascadeRLConfig, output: Path) -> None:
    """The whole cascade, and one look at the test split."""
    trainer = CascadedRLTrainer(config, output=output)
    trainer.fit()
    if not Run(output).looks():
        trainer.look_at_test()


def rl_stages(config: CascadeRLConfig) -> list[StageConfig]:
    """The RL stages in order."""
    return [s for s in config.stages if isinstance(s, StageConfig)]


def model_of(
    val: Sequence[StageScores], test: Sequence[StageScores], name: str, domain: str
) -> Model:
    """One stage's samples of a domain, at both temperatures, on both splits."""

    def settings(scores: Sequence[StageScores]) -> dict[str, Sequence[object]]:
        [stage] = [s for s in scores if s.name == name]
        return {b: stage.evaluations[b].samples for b in (domain, domain + WARM)}

    return Model(val=settings(val), test=settings(test))  # type: ignore[arg-type]


def beats(runs: Sequence[Run], child: str, parent: str, domain: str) -> Comparison:
    """The child's best setting against the parent's, the seed as unit."""
    scored = [(run.scores("val"), run.scores("test")) for run in runs]
    return compare(
        [
            (model_of(val, test, child, domain), model_of(val, test, parent, domain))
            for val, test in scored
        ]
    )


def pair_accuracy(run: Run, data_seed: int) -> float:
    """Share of held-out preference pairs that the run's reward model orders as they are."""
    [record] = [s for s in run.stages() if s.role == "reward_model"]
    scorer = RewardModelScorer(run.directory(record.name, record.key) / "model")
    pairs = [row for row in rows("pairs/test", data_seed) if isinstance(row, Pair)]
    chosen = scorer([(_asked(pair), pair.chosen) for pair in pairs])
    rejected = scorer([(_asked(pair), pair.rejected) for pair in pairs])
    return statistics.fmean(c > r for c, r in zip(chosen, rejected, strict=True))


def _asked(pair: Pair) -> Problem:
    prompt: tuple[Message, ...] = pair.prompt
    return Problem(pair.id, "chat", prompt, Preference(), pair.source)


def table(ledger: Ledger) -> Mapping[str, Mapping[str, Score]]:
    """Scores by stage, then benchmark."""
    return {row["name"]: row["scores"] for row in ledger["stages"]}


def parent_name(run: Run, name: str) -> str:
    """The stage that `name` started from."""
    records = run.stages()
    [child] = [s for s in records if s.name == name]
    return next(s.name for s in records if s.key == child.parent)


def bars(runs: Sequence[Run], config: CascadeRLConfig) -> list[tuple[bool, str]]:
    """Every bar: whether it is met, and its figures."""
    ledger = pool([run.scores("test") for run in runs])
    scores = table(ledger)
    stages = rl_stages(config)
    sft = parent_name(runs[0], stages[0].name)
    found: list[tuple[bool, str]] = []
    for stage in stages:
        greedy = scores[sft][stage.domain]["greedy"]
        assert greedy is not None
        found.append((greedy <= 0.75, f"start {stage.domain:<22} greedy {greedy:.3f} <= .75"))
    for stage in stages:
        found += _stage_bars(runs, scores, stage)
    dropped = {(d.stage, d.benchmark): d for d in forgotten(ledger, 0.1)}
    last = stages[-1].name
    for stage in stages:
        score = scores[last][stage.domain]
        shown = f"kept  {stage.domain:<22} {score['mean']:.3f} {_interval(score, 'under_best')}"
        found.append(((last, stage.domain) not in dropped, shown))
    for run in runs:
        accuracy = pair_accuracy(run, config.data_seed)
        found.append((accuracy >= 0.9, f"pairs {run.output.name:<22} {accuracy:.3f} >= .9"))
    return found


def _stage_bars(
    runs: Sequence[Run], scores: Mapping[str, Mapping[str, Score]], stage: StageConfig
) -> list[tuple[bool, str]]:
    parent, domain = parent_name(runs[0], stage.name), stage.domain
    before, after = scores[parent][domain], scores[stage.name][domain]
    rise = after["mean"] - before["mean"]
    best = beats(runs, stage.name, parent, domain)
    pass_high = after["pass_high"]
    assert pass_high is not None
    return [
        (
            rise >= 0.2 or rise >= (1 - before["mean"]) / 2,
            f"rise  {stage.name:<22} {before['mean']:.3f} -> {after['mean']:.3f} "
            f"(greedy {before['greedy']:.3f} -> {after['greedy']:.3f})",
        ),
        (
            best.better,
            f"beats {stage.name:<22} {best.parent:.3f} ({', '.join(best.parent_settings)}) -> "
            f"{best.child:.3f}, {best.interval.change:+.3f} "
            f"[{best.interval.low:+.3f}, {best.interval.high:+.3f}]",
        ),
        (
            pass_high >= -0.02,
            f"pass@{after['k']:<2} {stage.name:<20} {before['pass']:.3f} -> {after['pass']:.3f} "
            f"{_interval(after, 'pass')}",
        ),
    ]


def _interval(score: Score, what: str) -> str:
    change, low, high = {
        "pass": (score["pass_change"], score["pass_low"], score["pass_high"]),
        "under_best": (score["under_best"], score["under_best_low"], score["under_best_high"]),
    }[what]
    if change is None:
        return "(no earlier stage)"
    return f"{change:+.3f} [{low:+.3f}, {high:+.3f}]"


def every_run(runs: Sequence[Run], domains: Sequence[str]) -> str:
    """A Markdown table: stage by domain, mean and deviation over the runs, then every run.

    A run is its mean at T = 1, its greedy score and its pass@k.
    """
    tables = [table(build_ledger(run.scores("test"))) for run in runs]
    lines = ["| after | " + " | ".join(domains) + " |", "|---" * (1 + len(domains)) + "|"]
    for stage in tables[0]:
        cells = [_cell([found[stage][domain] for found in tables]) for domain in domains]
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(scores: Sequence[Score]) -> str:
    means = [score["mean"] for score in scores]
    deviation = statistics.stdev(means) if len(means) > 1 else 0.0
    runs = "; ".join(f"{s['mean']:.2f} {s['greedy']:.2f} {s['pass']:.2f}" for s in scores)
    return f"**{statistics.fmean(means):.2f}** ± {deviation:.2f} ({runs})"


def main() -> int:
    """Train, look, print every run and every bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="mini-full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/learning"))
    arguments = parser.parse_args()
    outputs = []
    for seed in arguments.seeds:
        output = arguments.output / f"seed-{seed}"
        train(load(arguments.preset, [f"seed={seed}"]), output)
        outputs.append(output)
    runs, config = [Run(output) for output in outputs], load(arguments.preset)
    print(every_run(runs, [stage.domain for stage in rl_stages(config)]))
    found = bars(runs, config)
    for met, text in found:
        print("ok  " if met else "MISS", text)
    missed = sum(not met for met, _ in found)
    print(f"{len(found) - missed} of {len(found)} bars met over {len(outputs)} seeds")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
