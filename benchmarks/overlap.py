"""What verification adds to a step of the mini cascade's code stage, beside generation.

    python -m benchmarks.overlap [--output runs/overlap] [--steps 24] [--rounds 3]

One process trains and samples, one verifies, each on a core. Every round runs the stage twice on
the same completions: judged afresh, and with the verdicts of the journal, which cost nothing.
Printed are the seconds of a step by part and the median ratio of the two, step by step. Exit status
1 where verification adds more than 5 %. Wants two cores that nothing else uses.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.presets import PRESETS
from cascade_rl.store import Run
from cascade_rl.trainer import CascadedRLTrainer

MOST = 1.05
PARTS = ("seconds/sample", "seconds/score", "seconds/update")
STAGE = "code_rl"


def config_of(steps: int, processes: int) -> CascadeRLConfig:
    """The mini cascade's SFT stages and then its code stage."""
    mini = PRESETS["mini"]()
    code = mini.stage(STAGE)
    assert isinstance(code, StageConfig)
    stage = code.model_copy(update={"parent": "sft/2", "total_training_steps": steps})
    warm = [found for found in mini.stages if found.name.startswith("sft/")]
    local = mini.local.model_copy(update={"processes": processes, "verifier_workers": 1})
    update = {"name": "overlap", "stages": (*warm, stage), "benchmarks": (), "local": local}
    return mini.model_copy(update=update)


def forget(output: Path, *, verdicts: bool) -> None:
    """Undo the code stage, but for its verdicts where these are kept."""
    [folder] = (output / "stages").glob(f"{STAGE}-*")
    journal = folder / "verdicts.jsonl"
    kept = journal.read_bytes()
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    if verdicts:
        journal.write_bytes(kept)


def train(config: CascadeRLConfig, output: Path) -> list[Mapping[str, Any]]:
    """The events of the code stage's steps."""
    CascadedRLTrainer(config, output=output).fit()
    run = Run(output)
    [record] = [record for record in run.stages() if record.name == STAGE]
    return [event for event in run.events(record) if event["kind"] == "train"]


def seconds(event: Mapping[str, Any]) -> float:
    """A step on the clock."""
    return sum(float(event[part]) for part in PARTS)


def main() -> int:
    """Run both, print, and say whether it is little enough."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap")
    parser.add_argument("--output", type=Path, default=Path("runs/overlap"))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    config, ratios = config_of(given.steps, given.processes), []
    judged = train(config, given.output)  # warms the machine up, and writes the journal
    for _ in range(given.rounds):
        forget(given.output, verdicts=True)
        known = train(config, given.output)
        forget(given.output, verdicts=False)
        judged = train(config, given.output)
        assert [e["tokens"] for e in judged] == [e["tokens"] for e in known]
        ratios += [seconds(a) / seconds(b) for a, b in zip(judged, known, strict=True)]
        for name, events in (("judged", judged), ("known", known)):
            parts = [f"{p} {statistics.fmean(float(e[p]) for e in events):.3f}" for p in PARTS]
            print(f"{name:7}", "   ".join(parts), flush=True)
    spent = statistics.fmean(float(event["verify/seconds"]) for event in judged)
    found = statistics.median(ratios)
    print(f"verification took {spent:.3f} s a step, beside it")
    ok = found <= MOST
    mark = "ok  " if ok else "MISS"
    print(f"{mark} a step with verification over one without: {found:.3f} <= {MOST}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
