"""`cascade arena`: a model's answers against a baseline's, judged in both orders by a server."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli import answering
from cascade_rl.cli.common import console, progress, protocol_of
from cascade_rl.cli.data.asking import AskMode

if TYPE_CHECKING:
    from cascade_rl.config import BenchmarkConfig
    from cascade_rl.data.sft.endpoint import Settings
    from cascade_rl.evaluation.arena import Battle, Judge, Judged
    from cascade_rl.evaluation.arena.rating import ArenaReport
    from cascade_rl.types import Problem

Questions = Annotated[Path, typer.Argument(help="question.jsonl of ArenaHard")]
Baseline = Annotated[
    Path, typer.Option(help="the baseline's answers, such as model_answer/gpt-4-0314.jsonl")
]
JudgeUrl = Annotated[str, typer.Option(help="base URL of the judge's server, up to /v1")]
JudgeModel = Annotated[str, typer.Option(help="the server's name for the judge")]
JudgeKey = Annotated[str, typer.Option(help="environment variable that holds the judge's key")]
Out = Annotated[Path, typer.Option(help="where answers and verdicts are kept")]
Style = Annotated[bool, typer.Option("--style-control", help="the rate at equal style, too")]
Mode = Annotated[str | None, typer.Option(help="think or no_think  [default: think]")]
MaxNewTokens = Annotated[int | None, typer.Option(help="[default: 32768]")]


def arena(
    model: answering.Model,
    questions: Questions,
    baseline: Baseline,
    judge: JudgeUrl,
    judge_model: JudgeModel,
    judge_key_env: JudgeKey = "",
    judge_tries: Annotated[int, typer.Option(min=1, help="times a verdict is asked for")] = 3,
    out: Out = Path("evaluations"),
    style_control: Style = False,
    mode: Mode = None,
    max_new_tokens: MaxNewTokens = None,
    limit: Annotated[int | None, typer.Option(min=1, help="first questions only")] = None,
    endpoint: answering.Endpoint = "",
    api_key_env: answering.KeyVariable = "",
    ask_mode: answering.Asking = AskMode.TEMPLATE,
    concurrency: answering.Concurrency = 16,
    tries: answering.Tries = 6,
    timeout_s: answering.TimeoutS = 900.0,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
) -> int:
    """Answer every question, let a judge compare with the baseline, and print the win rate.

    Stop it and run the same command again: it goes on where it stopped.
    """
    from cascade_rl.data.sft.endpoint import Settings, api_key
    from cascade_rl.evaluation.arena import Judge, battles_of, named_as_published, read_answers
    from cascade_rl.evaluation.arena.rating import report_of
    from cascade_rl.evaluation.suite import entry_named

    entry = entry_named("arenahard")
    given = {"mode": mode, "max_new_tokens": max_new_tokens}
    settings = {name: value for name, value in given.items() if value is not None}
    protocol = protocol_of({**entry.benchmark(str(questions)).model_dump(), **settings})
    problems = named_as_published(entry.read(str(questions))[:limit], questions)
    prompts = {name: problem.prompt[-1].content for name, problem in problems.items()}
    known = read_answers(baseline)
    list(battles_of(prompts, dict.fromkeys(prompts, ""), known))  # what it lacks is said first
    asked = answering.Asked(endpoint, api_key_env, ask_mode, concurrency, tries, timeout_s)
    server = Settings(judge, api_key(judge_key_env), concurrency, tries=tries, timeout_s=timeout_s)
    try:
        answers = _answers(model, asked, problems, protocol, out)
        battles = list(battles_of(prompts, answers, known))
        judged = _judged(battles, Judge(judge_model, tries=judge_tries), server, out)
    except KeyboardInterrupt:
        print(f"stopped; what was answered and judged is kept in {out}. Run the same command to "
              "go on.", file=sys.stderr)  # fmt: skip
        return 130
    _show(report_of(judged, style_control=style_control), as_json=as_json)
    return 0


def _answers(
    model: str,
    asked: answering.Asked,
    problems: dict[str, Problem],
    protocol: BenchmarkConfig,
    out: Path,
) -> dict[str, str]:
    from cascade_rl.digests import digest_json
    from cascade_rl.evaluation.arena.answers import answers_to

    what = "benchmark arenahard"
    with (
        answering.answering(
            model, asked, out / "arenahard.replies", yarn_factor=protocol.yarn_factor, what=what
        ) as generator,
        progress(len(problems)) as report,
    ):
        drawn = protocol.model_dump(mode="json", exclude={"name", "file", "k", "greedy"})
        digest = digest_json([drawn, generator.digest])[:12]
        path = out / f"arenahard-answers-{digest}.jsonl"
        found = answers_to(generator, list(problems.values()), protocol, path, report)
        return {name: found[problem.id] for name, problem in problems.items()}


def _judged(battles: list[Battle], judge: Judge, server: Settings, out: Path) -> list[Judged]:
    from cascade_rl.data.sft.endpoint import Endpoint
    from cascade_rl.data.sft.journal import Journal
    from cascade_rl.evaluation.arena import judge_battles

    with Journal(out / "arenahard.verdicts") as journal, progress(2 * len(battles)) as report:
        return judge_battles(battles, judge, Endpoint(server, journal), report)


def _show(report: ArenaReport, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(report)))
        return
    screen = console()
    rate = report.rate
    screen.print(
        f"wins against the baseline: {rate.mean:.1%} [{rate.low:.1%}, {rate.high:.1%}] of "
        f"{report.questions - report.unjudged} questions; {report.unjudged} not judged"
    )
    if report.styled is not None:
        styled = report.styled
        screen.print(f"at equal style: {styled.mean:.1%} [{styled.low:.1%}, {styled.high:.1%}]")
    screen.print(f"the answer in place A won {report.place_a:.1%} of the games", style="dim")
