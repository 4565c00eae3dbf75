"""A run directory with everything a report shows, written through the real store and loop.

The engine's curves and answers are drawn from keyed randomness; the layout, the plan, the
evaluations and the ledger are the product's. One stage forgets, one answer is hostile.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade_rl.chat import to_dict
from cascade_rl.config import CascadeRLConfig, StageConfig
from cascade_rl.configfile import parse_config
from cascade_rl.data.rows import write_rows
from cascade_rl.engines.base import EvaluationJob, StageJob, Workspace
from cascade_rl.loop import run_cascade
from cascade_rl.overlap import edges
from cascade_rl.store import Store
from cascade_rl.types import (
    Answer,
    Checkpoint,
    Conversation,
    Message,
    Pair,
    Problem,
    Sample,
    Signals,
    partial,
    right,
    wrong,
)
from tests.support import ArithmeticEngine, make_model

HOSTILE = '</pre><script>throw "forged"</script><img src="http://example.invalid/x.png">'
DOMAINS = ("chat", "instruction_following", "math", "code", "swe")
AFTER: Mapping[str, tuple[float, ...]] = {
    "start": (0.02, 0.05, 0.00, 0.01, 0.00),
    "sft/1": (0.41, 0.33, 0.42, 0.40, 0.02),
    "sft/2": (0.44, 0.35, 0.41, 0.43, 0.36),
    "rlhf": (0.78, 0.37, 0.42, 0.44, 0.35),
    "if_rl": (0.76, 0.71, 0.41, 0.45, 0.36),
    "math_rl": (0.77, 0.68, 0.80, 0.44, 0.35),
    "code_rl": (0.55, 0.69, 0.78, 0.83, 0.37),
    "swe_rl": (0.54, 0.68, 0.77, 0.82, 0.66),
}


class ShowcaseEngine(ArithmeticEngine):
    """Trains by arithmetic, but logs, rolls out and answers like the real thing."""

    def train(self, job: StageJob, workspace: Workspace) -> Checkpoint:
        rng = random.Random(job.config.name)
        total = job.config.total_training_steps
        for step in range(1, total + 1):
            progress = 1 - math.exp(-3 * step / total)
            event: dict[str, Any] = {
                "kind": "train", "step": step, "seconds/update": 0.4 + 0.1 * rng.random(),
                "grad_norm": 0.2 + rng.random() * (1.2 - progress), "tokens_per_second": 5000.0,
            }  # fmt: skip
            if isinstance(job.config, StageConfig):
                event |= {
                    "reward/mean": 0.35 + 0.45 * progress + 0.05 * rng.gauss(0, 1),
                    "group/frac_mixed": min(1, max(0, 0.7 - 0.4 * progress + rng.gauss(0, 0.05))),
                    "response_length/mean": 14 + 6 * progress + rng.gauss(0, 0.8),
                    "response_length/clip_ratio": max(0.0, 0.12 - 0.1 * progress),
                    "entropy": 0.9 - 0.5 * progress + rng.gauss(0, 0.03),
                    "seconds/sample": 0.5,
                }
            else:
                event["loss"] = 3.2 * math.exp(-3 * step / total) + 0.1 * rng.random()
            workspace.emit(event)
        if isinstance(job.config, StageConfig):
            workspace.rollouts(total, list(self._rollouts(job, rng)))
        weights = workspace_weights(job)
        return workspace.export(total, lambda path: self._write(path, weights))

    def _rollouts(self, job: StageJob, rng: random.Random) -> Iterator[dict[str, Any]]:
        for p, problem in enumerate(job.rows[:6]):
            assert isinstance(problem, Problem)
            for g in range(4):
                good = rng.random() < 0.6
                text = (
                    HOSTILE
                    if (p, g) == (0, 1)
                    else f"<think>\n{p} + 1\n</think>\n\n\\boxed{{{p + good}}}"
                )
                yield rollout(problem, g, text, good)

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        stage = checkpoint.path.parent.name.rsplit("-", 1)[0].replace(".", "/")
        level = AFTER.get(stage, AFTER["start"])[DOMAINS.index(job.benchmark.name)]
        for problem in job.problems:
            rng = random.Random(f"{job.benchmark.name} {problem.id}")
            skill = min(1.0, max(0.0, level + 0.25 * rng.gauss(0, 1)))
            for sample in range(-1, job.benchmark.k):
                draw = rng.random() if sample >= 0 else 0.45
                good = right("2") if draw < skill else wrong("found 3")
                verdict = partial(skill, "graded") if job.benchmark.name == "chat" else good
                yield Sample(problem.id, sample, "2", "stop", 12, Signals(verdict))


def rollout(problem: Problem, g: int, text: str, good: bool) -> dict[str, Any]:
    """One completion of a step, in the columns that the engine stores."""
    return {
        "problem_id": problem.id, "sample": g, "mode": "think",
        "prompt": json.dumps([to_dict(message) for message in problem.prompt]),
        "completion": text, "finish": "length" if g == 3 else "stop",
        "status": "right" if good else "wrong", "reason": "" if good else "found another number",
        "preference": None, "judge": 0.25 if g == 2 else None,
        "reward": float(good), "advantage": 0.7 if good else -0.9,
    }  # fmt: skip


def workspace_weights(job: StageJob) -> Any:
    """The parent's weights plus a little, so that every stage has a digest of its own."""
    from safetensors.numpy import load_file

    return load_file(job.start.path / "model.safetensors")["w"] + job.config.learning_rate


def config(folder: Path) -> CascadeRLConfig:
    """Nine stages in the shape of the whole recipe."""
    make_model(folder / "start")
    user, answer = Message("user", "What is 1 + 1?"), Message("assistant", "2")
    write_rows(folder / "sft.jsonl", [Conversation("c0", (user, answer), "test")])
    write_rows(folder / "pairs.jsonl", [Pair("r0", (user,), "2", "3", "test")])
    problems = [
        Problem(
            f"p{i:03d}",
            "math",
            (Message("user", f"What is {i} + 1?"),),
            Answer(str(i + 1)),
            "t",
            {"difficulty": "hard" if i % 3 else "easy"},
        )
        for i in range(64)
    ]
    write_rows(folder / "rows.jsonl", problems)
    sft = {"kind": "sft", "train_files": ["sft.jsonl"], "total_training_steps": 150,
           "max_tokens": 512, "optimizer": {"state": "fresh"}}  # fmt: skip
    rl = {"train_files": ["rows.jsonl"], "total_training_steps": 60, "max_new_tokens": 64,
          "learning_rate": 1e-4}  # fmt: skip
    scorer = {"inputs": {"reward_model": "reward_model"}}
    stages = [
        {**sft, "name": "sft/1"},
        {**sft, "name": "sft/2"},
        {"kind": "reward_model", "name": "reward_model", "train_files": ["pairs.jsonl"],
         "total_training_steps": 80, "max_tokens": 512},
        {**sft, "name": "judge", "role": "judge", "parent": "sft/2"},
        {**rl, **scorer, "name": "rlhf", "domain": "chat"},
        {**rl, **scorer, "name": "if_rl", "domain": "instruction_following"},
        {**rl, "name": "math_rl", "domain": "math"},
        {**rl, "name": "code_rl", "domain": "code"},
        {**rl, "name": "swe_rl", "domain": "swe", "inputs": {"judge": "judge"}},
    ]  # fmt: skip
    benchmarks = [{"name": domain, "file": "rows.jsonl"} for domain in DOMAINS]
    values = {"name": "showcase", "model": "start", "stages": stages, "benchmarks": benchmarks}
    # One file of problems serves all stages and benchmarks, which a real cascade may not do.
    allowed = [edge.name for edge in edges(parse_config(values, base=folder))]
    return parse_config({**values, "allow_overlap": allowed}, base=folder)


def make_run(folder: Path, *listeners: Any) -> Path:
    """Run the showcase into `folder/run` and return that directory."""
    output = folder / "run"
    with Store(output, listeners) as store:
        run_cascade(config(folder), store, {"local": ShowcaseEngine()})
    return output
