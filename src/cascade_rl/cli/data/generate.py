"""`cascade data generate`: responses to prompts from an endpoint, in both modes, checked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import progress
from cascade_rl.cli.data import asking
from cascade_rl.cli.data.ending import ending

if TYPE_CHECKING:
    from cascade_rl.data.sft.endpoint import Settings
    from cascade_rl.data.sft.generate import Sources
    from cascade_rl.data.sft.responses import Teacher


def generate(
    file: Annotated[Path, typer.Argument(help="problems, or conversations whose prompts to use")],
    out: Annotated[Path, typer.Option(help="where the conversations go")],
    endpoint: asking.Url,
    model: asking.Model,
    no_think_model: asking.NoThinkModel = "",
    modes: asking.Modes = "think,no_think",
    n: Annotated[int, typer.Option(min=1, help="responses a prompt and mode")] = 8,
    ask_mode: asking.Asking = asking.AskMode.FLAG,
    temperature: asking.Temperature = 0.6,
    top_p: asking.TopP = 0.95,
    max_tokens: asking.MaxTokens = 16384,
    cap: asking.Cap = 16384,
    body: asking.Body = "{}",
    seed: Annotated[int, typer.Option(help="seed of the first sample; the others follow")] = 0,
    judge_model: Annotated[str, typer.Option(help="second model, for rows without reference")] = "",
    judge_endpoint: Annotated[str, typer.Option(help="its URL; else --endpoint")] = "",
    judge_api_key_env: Annotated[str, typer.Option(help="its key, where it has a URL")] = "",
    record: Annotated[
        bool, typer.Option("--record", help="problems with their responses, nothing checked")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="verifier processes; 0: this one")] = 0,
    concurrency: asking.Concurrency = 16,
    rpm: asking.Rpm = 0.0,
    tpm: asking.Tpm = 0.0,
    tries: asking.Tries = 6,
    timeout_s: asking.TimeoutS = 900.0,
    api_key_env: asking.KeyVariable = "",
    cache: asking.Cache = None,
) -> int:
    """Ask for several responses to every prompt in every mode, and keep those that hold.

    A response to a row with a reference must satisfy its verifier; to another one the second
    model must agree, where there is one. What is answered is kept: the same command goes on.
    """
    from cascade_rl.data.sft.endpoint import Settings, api_key

    rates = (rpm or None, tpm or None)
    servers = {endpoint: api_key(api_key_env)}
    if judge_model and judge_endpoint:
        servers.setdefault(judge_endpoint, api_key(judge_api_key_env))
    asked = asking.teacher(
        {"think": model, "no_think": no_think_model or model}, modes, ask_mode,
        samples=n, seed=seed, cap=cap, body=body,
        sampling={"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens},
    )  # fmt: skip
    given = [
        Settings(url, key, concurrency, *rates, tries=tries, timeout_s=timeout_s)
        for url, key in servers.items()
    ]
    place = asking.cache_of(out, cache)
    try:
        return _generate(file, out, asked, given, place, judge_model, workers, record=record)
    except KeyboardInterrupt:
        return asking.stopped(asking.cache_of(out, cache))


def _generate(
    file: Path,
    out: Path,
    teacher: Teacher,
    settings: list[Settings],
    cache: Path,
    judge_model: str,
    workers: int,
    *,
    record: bool,
) -> int:
    from cascade_rl.data.sft import generate as sft
    from cascade_rl.data.sft.agree import SecondModel
    from cascade_rl.data.step import Step
    from cascade_rl.rewards.pool import VerifierPool

    parameters = {
        "endpoint": settings[0].url, "models": dict(teacher.models), "samples": teacher.samples,
        "ask_mode": teacher.ask_mode, "sampling": dict(teacher.sampling), "cap": teacher.cap,
        "seed": teacher.first_seed, "judge_model": judge_model, "record": record,
    }  # fmt: skip
    pool = VerifierPool(workers) if workers else None
    with (
        Step("generate", out, parameters) as step,
        asking.endpoints(settings, cache) as made,
        pool or contextlib.nullcontext(),
        progress(0) as report,
    ):
        second = SecondModel(judge_model) if judge_model else None
        sources = sft.Sources(teacher, made[0], second, made[-1] if second else None)
        sft.generate(step, file, sources, pool=pool, record=record, report=report)
        missing = _missing(sources)
    ending(step)
    return missing


def _missing(sources: Sources) -> int:
    """Exit status 1, and a word on it, where the endpoint left requests without an answer."""
    import sys

    from cascade_rl.data.sft.endpoint import UNANSWERED

    failures = [
        failure
        for endpoint in sources.used()
        for failure in endpoint.failures.values()
        if failure.reason == UNANSWERED
    ]
    if not failures:
        return 0
    what = f"{len(failures)} requests got no answer; the last: {failures[-1].detail}"
    print(f"{what}\n  run the same command to ask for them again", file=sys.stderr)
    return 1
