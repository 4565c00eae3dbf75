"""`cascade ioi`: test-time scaling on problems with subtasks, as at the IOI.

One rule: every generation and submission is kept as it is made; the same command goes on where it
was stopped, and never submits more than a problem allows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_rl.cli import answering as answers
from cascade_rl.cli.common import console
from cascade_rl.cli.data.asking import AskMode

if TYPE_CHECKING:
    from cascade_rl.evaluation.ioi.medals import Thresholds
    from cascade_rl.evaluation.ioi.run import Setup
    from cascade_rl.evaluation.ioi.strategy import State
    from cascade_rl.evaluation.ioi.task import Task
    from cascade_rl.types import Mode


class Selector(StrEnum):
    """Which candidate of a round is submitted."""

    TAIL_CONFIDENCE = "tail_confidence"
    SHORTEST = "shortest"
    FIRST = "first"


class Fallback(StrEnum):
    """Which one where answers have no tail confidence."""

    SHORTEST = "shortest"
    FIRST = "first"


class Language(StrEnum):
    """What candidates are written in."""

    CPP = "cpp"
    PYTHON = "python"


Problems = Annotated[
    list[Path], typer.Argument(help="directories with a problem.json, or directories of those")
]
Out = Annotated[Path, typer.Option(help="directory of journals and results")]
Rounds = Annotated[int, typer.Option(help="rounds a problem, one submission each at most")]
Candidates = Annotated[int, typer.Option(help="generations a round; Cascade 2 has 40")]
Failed = Annotated[int, typer.Option(help="failed submissions that a prompt shows")]
Best = Annotated[int, typer.Option(help="best partial scores that a prompt shows")]
ShownChars = Annotated[int, typer.Option(help="characters of all programs in a prompt")]
Select = Annotated[Selector, typer.Option(help="which candidate is submitted")]
FallBack = Annotated[Fallback, typer.Option(help="where answers have no tail confidence")]
Written = Annotated[Language, typer.Option(help="what programs are written in")]
ModeName = Annotated[str, typer.Option(help="think, no_think, or empty for neither")]
Temperature = Annotated[float, typer.Option(min=0.0)]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0)]
MaxNewTokens = Annotated[int, typer.Option(min=1)]
Yarn = Annotated[float, typer.Option(min=1.0, help="stretches the context of a directory's model")]
Least = Annotated[str, typer.Option(help="least score of bronze, silver and gold")]
Json = Annotated[bool, typer.Option("--json", help="for a program to read")]


def ioi(
    model: answers.Model,
    problems: Problems,
    out: Out,
    rounds: Rounds = 50,
    candidates: Candidates = 20,
    failed: Failed = 5,
    best: Best = 3,
    shown_chars: ShownChars = 100_000,
    selector: Select = Selector.TAIL_CONFIDENCE,
    fallback: FallBack = Fallback.SHORTEST,
    language: Written = Language.CPP,
    mode: ModeName = "think",
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_new_tokens: MaxNewTokens = 131072,
    seed: int = 0,
    yarn_factor: Yarn = 1.0,
    thresholds: Least = "252.00,338.01,438.30",
    endpoint: answers.Endpoint = "",
    api_key_env: answers.KeyVariable = "",
    ask_mode: answers.Asking = AskMode.TEMPLATE,
    concurrency: answers.Concurrency = 16,
    tries: answers.Tries = 6,
    timeout_s: answers.TimeoutS = 3600.0,
    as_json: Json = False,
) -> int:
    """Generate, choose, submit and learn from the verdicts, round by round, until it is over.

    Stop it and run the same command again: it goes on where it stopped.
    """
    from cascade_rl.engines.generate import Sampling
    from cascade_rl.evaluation.ioi.medals import parse_thresholds
    from cascade_rl.evaluation.ioi.run import Setup
    from cascade_rl.evaluation.ioi.strategy import Options

    numbers = Options(rounds, candidates, failed, best, shown_chars, selector.value, fallback.value)
    sampling = Sampling(temperature, top_p, 0, max_new_tokens, seed)
    setup = Setup(language.value, _mode(mode), numbers, sampling, yarn_factor)
    confidence = selector is Selector.TAIL_CONFIDENCE
    asked = answers.Asked(
        endpoint, api_key_env, ask_mode, concurrency, tries, timeout_s, confidence
    )
    try:
        found = _play(model, asked, problems, setup, out, parse_thresholds(thresholds))
    except KeyboardInterrupt:
        print(f"stopped; what was done is kept in {out}. Run the same command to go on.",
              file=sys.stderr)  # fmt: skip
        return 130
    print(json.dumps(found)) if as_json else _show(found)
    return 0


def _mode(text: str) -> Mode | None:
    from cascade_rl.errors import ConfigError

    modes: dict[str, Mode | None] = {"": None, "think": "think", "no_think": "no_think"}
    if text not in modes:
        raise ConfigError(f"--mode is {text!r}; expected think, no_think, or nothing")
    return modes[text]


def _play(
    model: str,
    asked: answers.Asked,
    problems: list[Path],
    setup: Setup,
    out: Path,
    medals: Thresholds,
) -> dict[str, Any]:
    """The contest, once each of its problems is known to be one that can be judged here."""
    from cascade_rl.evaluation.ioi.files import read_tasks
    from cascade_rl.evaluation.ioi.run import run_ioi
    from cascade_rl.evaluation.ioi.sandboxed import SandboxJudge
    from cascade_rl.sandbox.client import default_sandbox

    judge, tasks = SandboxJudge(default_sandbox()), read_tasks(problems)
    for task in tasks:
        judge.refuse(task, setup.language)

    def report(task: Task, state: State) -> None:
        print(_standing(task, state, setup.options.rounds), file=sys.stderr)

    with answers.answering(
        model, asked, out / "replies", yarn_factor=setup.yarn_factor, what="IOI problems"
    ) as generator:
        return run_ioi(tasks, generator, judge, setup, out, medals, report)


def _standing(task: Task, state: State, rounds: int) -> str:
    """A line on a round that has just ended."""
    from cascade_rl.evaluation.ioi.strategy import score_of

    last, made = state.rounds[-1], len(state.submissions)
    name = task.subtasks[last.subtask].name
    did = "nothing to submit"
    if last.submission is not None:
        result = last.submission.verdict.results_S[last.subtask]
        did = f"{result.status}, {result.score:.0%}"
    return (
        f"{task.name}  round {len(state.rounds)}/{rounds}  {made} submissions  "
        f"subtask {name}: {did}  score {score_of(task, state):g} of {task.points:g}"
    )


def _show(found: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table("problem", "score", "of", "subtasks", "rounds", "submissions", "generations")
    for part in found["problems"]:
        subtasks = " ".join(f"{one['score']:g}/{one['points']:g}" for one in part["subtasks"])
        counts = (part[key] for key in ("rounds", "submissions", "generations"))
        table.add_row(
            part["name"], f"{part['score']:.2f}", f"{part['points']:g}", subtasks, *map(str, counts)
        )
    screen = console()
    screen.print(table)
    medal, least = found["medal"] or "no medal", found["thresholds"]
    names = ", ".join(f"{name} {score:.2f}" for name, score in least.items())
    screen.print(f"{found['score']:.2f} of {found['points']:g}: {medal}  ({names})")
    for line in _fallbacks(found):
        screen.print(line)


def _fallbacks(found: Mapping[str, Any]) -> list[str]:
    """What to say of rounds that the wanted selector could not decide."""
    wanted = found["protocol"]["selector"]
    lines = []
    for part in found["problems"]:
        for used, rounds in part["selected_by"].items():
            if used != wanted:
                lines.append(
                    f"{part['name']}: {rounds} submissions were selected by {used}: "
                    f"not all answers had a {wanted.replace('_', ' ')}"
                )
    return lines
