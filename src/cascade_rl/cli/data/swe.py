"""`cascade data swe`: repairs split between SFT and RL, localizations and tests filtered."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.data.asking import listed
from cascade_rl.cli.data.ending import ending, interrupted

if TYPE_CHECKING:
    from cascade_rl.data.sft.swe import Selection


class Task(StrEnum):
    """What the responses are."""

    REPAIR = "repair"
    LOCALIZATION = "localization"
    TESTS = "tests"


def swe(
    task: Annotated[Task, typer.Argument(help="what the recorded responses are")],
    files: Annotated[list[Path], typer.Argument(help="swe problems with extra_info.responses")],
    out: Annotated[Path, typer.Option(help="where the SFT conversations go")],
    rl: Annotated[Path | None, typer.Option(help="repair: where the problems for RL go")] = None,
    exclude_repos: Annotated[
        Path | None, typer.Option(help="benchmark whose repositories are left out")
    ] = None,
    pairs: Annotated[
        str, typer.Option(help="repair: sources of which every pair that counts is kept")
    ] = "",
    source_order: Annotated[
        str, typer.Option(help="which source keeps a commit that several have; else by name")
    ] = "",
    most: Annotated[int, typer.Option(min=1, help="localization: most files a response lists")] = 5,
) -> int:
    """Keep the responses that teach: similar repairs, whole localizations, tests that run."""
    from cascade_rl.data.sft.swe import repositories, select
    from cascade_rl.errors import InputError

    if task is Task.REPAIR and rl is None:
        raise InputError("repair has two outputs", hint="name the second:  --rl FILE")
    if rl is not None and rl.resolve() == out.resolve():
        raise InputError("--out and --rl are the same file", hint="name another:  --rl FILE")
    excluded = repositories(exclude_repos) if exclude_repos else frozenset()
    order = listed(source_order)
    parameters: dict[str, object] = {
        "task": task.value, "exclude_repos": str(exclude_repos or ""), "pairs": pairs,
        "source_order": list(order), "excluded_repositories": len(excluded),
    }  # fmt: skip
    with interrupted():
        selection = select(files, excluded, order)
        if rl is not None and task is Task.REPAIR:
            return _repair(files, out, rl, selection, frozenset(listed(pairs)), parameters)
        return _part(task, files, out, selection, most, parameters)


def _repair(
    files: list[Path],
    out: Path,
    rl: Path,
    selection: Selection,
    pairs: frozenset[str],
    parameters: dict[str, object],
) -> int:
    from cascade_rl.data.sft.swe import Split, repair
    from cascade_rl.data.step import Step

    with Step("swe", out, parameters) as first, Step("swe", rl, parameters) as second:
        repair(first, second, files, Split(selection, pairs))
    ending(first)
    ending(second)
    return 0


def _part(
    task: Task,
    files: list[Path],
    out: Path,
    selection: Selection,
    most: int,
    parameters: dict[str, object],
) -> int:
    from cascade_rl.data.sft import swe_parts
    from cascade_rl.data.step import Step
    from cascade_rl.errors import InputError
    from cascade_rl.sandbox.client import default_sandbox

    if task is Task.TESTS and (why := default_sandbox().refusal):
        raise InputError(f"tests are to be run, and no program is run here: {why}",
                         hint="see what would raise the tier:  cascade doctor")  # fmt: skip
    with Step("swe", out, parameters | {"most": most}) as step:
        if task is Task.LOCALIZATION:
            swe_parts.localization(step, files, selection, most)
        else:
            swe_parts.tests(step, files, selection, default_sandbox())
    ending(step)
    return 1 if step.dropped[swe_parts.NOT_JUDGED] else 0
