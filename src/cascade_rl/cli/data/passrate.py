"""`cascade data passrate`: how often a model solves each problem of a file.

One rule: what is sampled and judged is kept; the same command goes on where it was stopped, and
ends with the file it would have written without the stop.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import (
    AnswerPattern,
    Policy,
    duration,
    progress,
    protocol_of,
    trained_with,
)

if TYPE_CHECKING:
    from cascade_rl.config import BenchmarkConfig
    from cascade_rl.evaluation.passrate import Sampling


def passrate(
    rows: Annotated[Path, typer.Argument(help="problems, .parquet or .jsonl")],
    out: Annotated[Path, typer.Option(help="the same rows with extra_info.pass_rate")],
    model: Annotated[Path, typer.Option(help="a model directory")],
    n: Annotated[int, typer.Option("--n", min=1, help="completions a problem")] = 16,
    temperature: Annotated[float, typer.Option()] = 1.0,
    top_p: Annotated[float, typer.Option()] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 2048,
    mode: Annotated[str | None, typer.Option(help="think or no_think")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes that verify")] = 1,
    seed: Annotated[int, typer.Option()] = 0,
    samples: Annotated[
        Path | None, typer.Option(help="also keep every completion, for  cascade verify")
    ] = None,
    verifier: Annotated[str, typer.Option(help="auto, or a verifier's name")] = "auto",
    answer_pattern: Annotated[
        AnswerPattern, typer.Option(help="math: where the answer stands")
    ] = AnswerPattern.BOXED,
    policy: Annotated[
        Policy, typer.Option(help="instructions: for rewards, or as published")
    ] = Policy.STRICT_REWARD,
) -> int:
    """Sample n completions of every problem, verify them and store how many were right.

    Stop it and run the same command again: it goes on where it stopped.
    """
    _check(rows, out, samples)
    protocol = protocol_of({
        "name": "passrate", "file": str(rows), "k": n, "greedy": False, "mode": mode,
        "temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens,
        "seed": seed, "verifier": verifier,
        "verifier_options": {
            "answer_pattern": answer_pattern.value, "instruction_policy": policy.value,
        },
    })  # fmt: skip
    return _run(rows, out, samples, model, protocol, workers)


def _check(rows: Path, out: Path, samples: Path | None) -> None:
    from cascade_rl.data.files import suffix
    from cascade_rl.errors import DataError, OutputError

    suffix(rows)
    suffix(out)
    if not rows.is_file():
        raise DataError(f"{rows} is not a file; expected problems, .parquet or .jsonl")
    if samples is not None and samples.suffix != ".jsonl":
        raise DataError(f"--samples {samples} ends in {samples.suffix!r}; expected .jsonl")
    if len({rows.resolve(), out.resolve()}) == 1:
        raise OutputError(f"--out {out} is the file of rows itself", hint="name another file")
    if samples is not None and samples.resolve() in (rows.resolve(), out.resolve()):
        raise OutputError(f"--samples {samples} is --out or the file of rows itself")


def _run(
    rows: Path, out: Path, samples: Path | None, model: Path, protocol: BenchmarkConfig,
    workers: int,
) -> int:  # fmt: skip
    from cascade_rl.data.step import Step
    from cascade_rl.evaluation.passrate import count_problems, pass_rates

    begun = time.monotonic()
    settings = protocol.model_dump(mode="json", include=SHOWN)
    step = Step("passrate", out, {"model": str(model), "n": protocol.k, **settings})
    sampling = None
    try:
        total = count_problems(rows)
        sampling = _sampling(model, protocol, workers, keep=samples is not None)
        with progress(total) as report:
            pass_rates(rows, step, sampling, samples, report)
    except KeyboardInterrupt:
        print("stopped; what is sampled is kept. Run the same command to go on.", file=sys.stderr)
        return 130
    finally:
        if sampling is not None:
            sampling.engine.close()
    reasons = "".join(f", {count} dropped: {reason}" for reason, count in step.dropped.items())
    took = duration(time.monotonic() - begun)
    print(f"{out}  {step.kept} rows with pass rates{reasons}, in {took}")
    if samples is not None:
        print(f"{samples}  {step.details['completions']} completions")
    return 0


SHOWN = {
    "temperature", "top_p", "max_new_tokens", "mode", "seed", "verifier", "verifier_options",
}  # fmt: skip


def _sampling(model: Path, protocol: BenchmarkConfig, workers: int, *, keep: bool) -> Sampling:
    from cascade_rl.digests import weights_digest
    from cascade_rl.engines.local.engine import LocalEngine
    from cascade_rl.evaluation.benchmarks import verifier_of
    from cascade_rl.evaluation.passrate import Sampling, prompt_check
    from cascade_rl.types import Checkpoint

    judge = verifier_of(protocol)
    chat, local = trained_with(model)
    key = weights_digest(model)
    return Sampling(
        LocalEngine(),
        Checkpoint(key, 0, model, key),
        protocol,
        judge,
        chat,
        local.model_copy(update={"verifier_workers": workers}),
        prompt_check(model, chat, protocol),
        keep_samples=keep,
    )
