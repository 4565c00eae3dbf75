"""`cascade data multiturn`: single turns made into conversations, a mode on every user turn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import progress
from cascade_rl.cli.data import asking
from cascade_rl.cli.data.ending import ending

if TYPE_CHECKING:
    from cascade_rl.data.sft.endpoint import Settings
    from cascade_rl.data.sft.multiturn import Plan
    from cascade_rl.data.sft.responses import Teacher


Share = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="share of single turns that is joined")
]
Rewrite = Annotated[float, typer.Option(min=0.0, max=1.0, help="share that gets a second turn")]
Sources = Annotated[str, typer.Option(help="sources that may get one, with commas; else all")]
MostTokens = Annotated[
    int, typer.Option(min=1, help="most tokens joined, estimated from characters")
]


def multiturn(
    file: Annotated[Path, typer.Argument(help="conversations")],
    out: Annotated[Path, typer.Option(help="where all of them go, longer or as they are")],
    join: Share = 0.1,
    rewrite: Rewrite = 0.0,
    rewrite_sources: Sources = "",
    max_turns: Annotated[int, typer.Option(min=2, help="most user turns joined")] = 4,
    max_conversation_tokens: MostTokens = 16384,
    seed: Annotated[int, typer.Option(help="of every draw")] = 0,
    endpoint: asking.Url = "",
    model: asking.Model = "",
    no_think_model: asking.NoThinkModel = "",
    modes: asking.Modes = "think,no_think",
    ask_mode: asking.Asking = asking.AskMode.FLAG,
    temperature: asking.Temperature = 0.6,
    top_p: asking.TopP = 0.95,
    max_tokens: asking.MaxTokens = 16384,
    cap: asking.Cap = 16384,
    body: asking.Body = "{}",
    concurrency: asking.Concurrency = 16,
    rpm: asking.Rpm = 0.0,
    tpm: asking.Tpm = 0.0,
    tries: asking.Tries = 6,
    timeout_s: asking.TimeoutS = 900.0,
    api_key_env: asking.KeyVariable = "",
    cache: asking.Cache = None,
) -> int:
    """Join random single turns, and have an endpoint rewrite or edit some answers.

    Every user turn gets a mode. The shares are met to the row; the same seed gives the same file.
    """
    from cascade_rl.data.sft.endpoint import Settings, api_key
    from cascade_rl.data.sft.multiturn import Plan
    from cascade_rl.errors import InputError

    if rewrite and not (endpoint and model):
        raise InputError(
            "--rewrite needs a model that writes", hint="name one:  --endpoint URL --model NAME"
        )
    sources = asking.listed(rewrite_sources)
    plan = Plan(join, rewrite, max_turns, max_conversation_tokens, sources, seed)
    asked = asking.teacher(
        {"think": model, "no_think": no_think_model or model}, modes, ask_mode,
        samples=1, seed=seed, cap=cap, body=body,
        sampling={"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens},
    ) if rewrite else None  # fmt: skip
    key, rates = api_key(api_key_env), (rpm or None, tpm or None)
    server = (
        Settings(endpoint, key, concurrency, *rates, tries=tries, timeout_s=timeout_s)
        if rewrite
        else None
    )
    try:
        return _multiturn(file, out, plan, asked, server, asking.cache_of(out, cache))
    except KeyboardInterrupt:
        return asking.stopped(asking.cache_of(out, cache))


def _multiturn(
    file: Path, out: Path, plan: Plan, teacher: Teacher | None, server: Settings | None, cache: Path
) -> int:
    from contextlib import ExitStack
    from dataclasses import asdict

    from cascade_rl.data.sft import multiturn as sft
    from cascade_rl.data.step import Step

    parameters = asdict(plan) | ({"models": dict(teacher.models)} if teacher else {})
    with Step("multiturn", out, parameters) as step, ExitStack() as stack:
        made = stack.enter_context(asking.endpoints([server], cache)) if server else [None]
        report = stack.enter_context(progress(0))
        sft.multiturn(step, file, plan, teacher, made[0], report)
    ending(step)
    return 0
