"""Do the switches of the recipe do what they are for? One warm start, many short math stages.

    python -m benchmarks.switches [--output runs/switches] [--steps 40] [--seed 0]

All stages start from the same SFT model and differ from `base` in what their name says. Printed
are the curves and, for each claim, the two figures it compares. Exit status 1 where one fails.
The collapse by a learning rate that is too high must be there, and so must its alarm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade_rl import mini
from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.data.rows import write_rows
from cascade_rl.presets import PRESETS
from cascade_rl.store import Run
from cascade_rl.trainer import CascadedRLTrainer

SHORT = 20
"""Tokens that many answers do not fit into: what `overlong` is for."""
FEW = "few.jsonl"
"""So few problems that a stage has several epochs: what filtering by epoch needs."""
FEW_ROWS = 96
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "updates-2": {"updates_per_batch": 2},
    "updates-4": {"updates_per_batch": 4},
    "filter-batch": {"filter": {"kind": "batch", "max_rounds": 4}},
    "few": {"train_files": (FEW,)},
    "filter-epoch": {"train_files": (FEW,), "filter": {"kind": "epoch"}},
    "cool-6": {"temperature": 0.6},
    "cool-8": {"temperature": 0.8},
    "short-zero": {"max_new_tokens": SHORT, "overlong": "zero"},
    "short-mask": {"max_new_tokens": SHORT, "overlong": "mask_loss"},
    "short-exclude": {"max_new_tokens": SHORT, "overlong": "exclude"},
    "rate-30x": {"learning_rate": 30.0},
    "entropy-bonus": {"entropy_coef": 0.01},
    "kl": {"kl_coef": 0.1},
}
"""Settings by stage; a learning rate is a multiple of the base's."""
CURVES = ("reward/mean", "entropy", "response_length/mean", "truncation_ratio", "group/frac_mixed")

Events = Mapping[str, Sequence[Mapping[str, Any]]]


def config_of(steps: int, seed: int, few: Path) -> CascadeRLConfig:
    """The mini cascade's SFT stages, then every variant of its math stage beside the others.

    `few` is the file that `FEW` stands for.
    """
    preset = PRESETS["mini"]()
    base = preset.stage("math_rl")
    assert isinstance(base, StageConfig)
    values = base.model_dump() | {"total_training_steps": steps, "parent": "sft/2"}
    stages = []
    for name, changes in VARIANTS.items():
        rate = values["learning_rate"] * changes.get("learning_rate", 1.0)
        if changes.get("train_files") == (FEW,):
            changes = {**changes, "train_files": (str(few),)}
        stages.append(StageConfig(**{**values, **changes, "name": name, "learning_rate": rate}))
    blend = {
        "name": "blend",
        "domain": "blend",
        "train_files": ("mini:math/train", "mini:code/train"),
    }
    stages.append(StageConfig(**{**values, **blend, "max_new_tokens": 64}))
    warm = [stage for stage in preset.stages if stage.name.startswith("sft/")]
    update = {"name": "switches", "stages": (*warm, *stages), "benchmarks": (), "seed": seed}
    return preset.model_copy(update=update)


def curve(events: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """The metric at every step."""
    return [float(event[metric]) for event in events if event["kind"] == "train"]


def mean(events: Events, name: str, metric: str, part: slice) -> float:
    """Its mean over some steps of a stage."""
    return statistics.fmean(curve(events[name], metric)[part])


def claims(events: Events) -> list[tuple[str, float, str, float]]:
    """(what, figure, relation, figure): each must hold."""
    end, all_ = slice(-10, None), slice(None)

    def at(name: str, metric: str, part: slice = end) -> float:
        return mean(events, name, metric, part)

    alarms = [e for e in events["rate-30x"] if e["kind"] == "alarm"]
    short = ("short-zero", "short-mask", "short-exclude")
    cut = {name: at(name, "truncation_ratio") for name in short}
    return [
        ("reward rises on-policy: last 10 steps, first 10",
         at("base", "reward/mean"), ">", at("base", "reward/mean", slice(10))),
        ("entropy at the end: 4 updates a batch, 1",
         at("updates-4", "entropy"), "<", at("base", "entropy")),
        ("groups with signal in the batch: batch filter, none",
         at("filter-batch", "signal", all_), ">", at("base", "signal", all_)),
        ("groups with signal of those sampled: epoch filter, none",
         at("filter-epoch", "group/frac_mixed"), ">", at("few", "group/frac_mixed")),
        ("entropy of what is sampled: T 0.6, T 1.0",
         at("cool-6", "entropy", all_), "<", at("base", "entropy", all_)),
        ("truncated at the end: zero, exclude", cut["short-zero"], "<", cut["short-exclude"]),
        ("truncated at the end: zero, mask_loss", cut["short-zero"], "<", cut["short-mask"]),
        ("reward at 30 times the rate, base: the collapse",
         at("rate-30x", "reward/mean"), "<", 0.5 * at("base", "reward/mean")),
        ("alarms of the collapse, none", float(len(alarms)), ">", 0.0),
        ("entropy at the end: with a bonus, without",
         at("entropy-bonus", "entropy"), ">", at("base", "entropy")),
        ("reward of the blend rises: last 10 steps, first 10",
         at("blend", "reward/mean"), ">", at("blend", "reward/mean", slice(10))),
    ]  # fmt: skip


def read(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Events by stage."""
    return {record.name: run.events(record) for record in run.stages()}


def main() -> int:
    """Train, print, and say what holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.switches")
    parser.add_argument("--output", type=Path, default=Path("runs/switches"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    few = given.output.resolve() / FEW
    write_rows(few, mini.rows("math/train", given.seed)[:FEW_ROWS])
    CascadedRLTrainer(config_of(given.steps, given.seed, few), output=given.output).fit()
    events = read(Run(given.output))
    for metric in CURVES:
        print(f"\n{metric}, means of 10 steps")
        for name in (*VARIANTS, "blend"):
            values = curve(events[name], metric)
            parts = [statistics.fmean(values[i : i + 10]) for i in range(0, len(values), 10)]
            print(f"  {name:14} " + "  ".join(f"{part:7.3f}" for part in parts))
    for event in events["rate-30x"]:
        if event["kind"] == "alarm":
            print(f"\nrate-30x, step {event['step']}: {event['message']}")
    print()
    met = []
    for what, found, relation, other in claims(events):
        met.append(found < other if relation == "<" else found > other)
        print(f"{'ok  ' if met[-1] else 'MISS'} {what:58} {found:7.3f} {relation} {other:7.3f}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
