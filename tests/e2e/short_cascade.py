"""A short real cascade in a process of its own, so that tests can kill it.

    python -m tests.e2e.short_cascade OUTPUT [--delay SEED] [--die-at NAME:COUNT]

SFT, RL with `batch` filtering, then two stages of one family: the first with `epoch` filtering,
the second ending by `until`. The problems ask for a number of words, which even a model that
has learned nothing gets right now and then, so that every stage has something to learn from.

`--delay` makes every verdict late at random; `--die-at` sends the process SIGKILL at the
COUNT-th time it reaches a point: `sync` is inside a save, `commit` lies between a stage's last
save and its commit, `evaluated` comes before an evaluation gets its name.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cascade_rl import CascadedRLTrainer
from cascade_rl.config import CascadeRLConfig
from cascade_rl.configfile import parse_config
from cascade_rl.data.rows import write_rows
from cascade_rl.store import Store, files
from cascade_rl.types import Constraints, Message, Problem, Verdict
from cascade_rl.verifiers import verify


def write_problems(path: Path) -> None:
    """Sixty prompts that ask for at least so many words."""
    rows = []
    for index in range(60):
        count = 3 + index % 5
        rule = {"num_words": count, "relation": "at least"}
        rows.append(
            Problem(
                id=f"words/{index}",
                domain="instruction_following",
                prompt=(Message("user", f"Write {count} words, text {index}."),),
                reference=Constraints(("length_constraints:number_words",), (rule,)),
                source="test",
                extra={"index": index, "split": "train"},
            )
        )
    write_rows(path, rows)


def config(problems: Path) -> CascadeRLConfig:
    """Seconds long, and every part of it is the product's."""
    rl = {
        "total_training_steps": 4,
        "train_batch_size": 6,
        "rollout_n": 4,
        "learning_rate": 3e-4,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_new_tokens": 24,
        "max_prompt_tokens": 320,
        "save_every": 2,
        "domain": "instruction_following",
        "train_files": [str(problems)],
        "overlong": "mask_loss",
    }
    until = {"metric": "truncation_ratio", "above": -1.0, "min_steps": 3, "window": 2}
    return parse_config(
        {
            "model": "mini:model",
            "allow_overlap": ["one_rl:words", "two_rl:words"],
            "chat": {"system": None},
            "local": {"dtype": "float32", "verifier_workers": 1},
            "stages": [
                {
                    "name": "sft",
                    "kind": "sft",
                    "train_files": ["mini:sft/1"],
                    "total_training_steps": 20,
                    "train_batch_size": 24,
                    "learning_rate": 3e-3,
                    "max_tokens": 256,
                    "save_every": 8,
                },
                {**rl, "name": "one_rl", "filter": {"kind": "batch", "max_rounds": 2}},
                {**rl, "name": "two_rl/first", "filter": {"kind": "epoch"}},
                {**rl, "name": "two_rl/second", "until": until},
            ],
            "benchmarks": [
                {
                    "name": name,
                    "file": file,
                    "limit": 6,
                    "k": 2,
                    "max_new_tokens": 24,
                    "mode": "no_think",
                }
                for name, file in (("words", str(problems)), ("math", "mini:math/val"))
            ],
        }
    )


def late(problem: Problem, text: str) -> Verdict:
    """The real verdict, after up to 30 ms."""
    time.sleep(random.random() * 0.03)
    return verify(problem, text)


def die_at(point: str) -> None:
    """Send this process SIGKILL at the COUNT-th time it reaches NAME."""
    name, _, count = point.partition(":")
    left = int(count)

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args)

        return wrapped

    if name == "sync":
        files._sync = deadly(files._sync)
    elif name == "commit":
        Store.commit = deadly(Store.commit)  # type: ignore[method-assign]
    elif name == "evaluated":
        Store.write_evaluation = deadly(Store.write_evaluation)  # type: ignore[method-assign]
    else:
        raise SystemExit(f"no point is called {name}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--delay", action="store_true")
    parser.add_argument("--die-at")
    arguments = parser.parse_args()
    if arguments.delay:
        from cascade_rl.engines.local import judging
        from tests.e2e import short_cascade  # worker processes find `late` by this name

        judging.verify = short_cascade.late  # type: ignore[attr-defined]
    if arguments.die_at:
        die_at(arguments.die_at)
    problems = arguments.output.with_suffix(".jsonl")
    if not problems.exists():
        write_problems(problems)
    CascadedRLTrainer(config(problems), output=arguments.output).fit()


if __name__ == "__main__":
    main()
