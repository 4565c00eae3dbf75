"""`cascade run`: the cascade, from wherever it stands, to the ledger and the report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import console, load
from cascade_rl.cli.ledger import print_ledger
from cascade_rl.cli.plan import show_plan

if TYPE_CHECKING:
    from cascade_rl.config import CascadeRLConfig


def run(
    config: Annotated[str, typer.Argument(help="a YAML file or a preset's name")],
    output: Annotated[Path, typer.Option(help="directory of the run, new or to be continued")],
    engine: Annotated[str | None, typer.Option(help="local or verl")] = None,
    stages: Annotated[str | None, typer.Option(help="only these stages or families: a,b")] = None,
    resume: Annotated[
        str | None, typer.Option(help="train this stage and all that follows from it again")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="stage.key=value, any number of times")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan and stop")] = False,
) -> int:
    """Train what is not done yet. Kill it anywhere and run the same command again."""
    sets = [*(settings or ()), *([f"engine={engine}"] if engine else ())]
    only = [name for name in (stages or "").split(",") if name]
    return run_config(load(config, sets), output, only, resume, dry_run=dry_run)


def run_config(
    loaded: CascadeRLConfig,
    output: Path,
    only: Sequence[str] = (),
    resume: str | None = None,
    *,
    dry_run: bool = False,
) -> int:
    """What the command does with a config that was read; the exit status."""
    for name in [*only, *([resume] if resume else ())]:
        loaded.select(name)  # an unknown stage is said before anything is touched
    if dry_run:
        show_plan(loaded, output)
        _show_commands(loaded, output)
        return 0
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from cascade_rl.engines.local import sharded

        if sharded.rank():
            sharded.serve()
        try:
            status = _run(loaded, output, only, resume)
        finally:
            sharded.end()
        sharded.leave(status)
    return _run(loaded, output, only, resume)


def _show_commands(loaded: CascadeRLConfig, output: Path) -> None:
    """Print the command of every stage that verl trains, as it will be started."""
    import shlex

    from cascade_rl.blocks import own_blocks
    from cascade_rl.engines.base import SCRATCH
    from cascade_rl.engines.verl.job import job_type
    from cascade_rl.engines.verl.questions import longest_answer
    from cascade_rl.engines.verl.settings import command, environment
    from cascade_rl.graph import StartModel
    from cascade_rl.plan import make_plan

    plan = make_plan(loaded)
    screen = console()
    for stage in plan.stages:
        if stage.engine != "verl":
            continue
        parent = plan.by_key(stage.parent)
        stages = (output / "stages").resolve()
        start = (
            Path(parent.source)
            if isinstance(parent, StartModel)
            else stages / parent.directory / "model"
        )
        job = job_type(stage.config)(
            stages / stage.directory / SCRATCH, stage.key, stage.seed, stage.config,
            plan.config.chat, plan.config.verl, start, None, own_blocks(plan.config),
            longest_answer=longest_answer(plan.config.benchmarks),
        )  # fmt: skip
        values = [f"{key}={shlex.quote(value)}" for key, value in environment(job).items()]
        line = " ".join([*values, shlex.join(command(job))])
        screen.print(f"\n{stage.name}:\n{line}", soft_wrap=True, markup=False)


def _run(loaded: CascadeRLConfig, output: Path, only: Sequence[str], resume: str | None) -> int:
    from cascade_rl.cli.display import live
    from cascade_rl.report import render
    from cascade_rl.report.tensorboard import TensorBoard
    from cascade_rl.store import Run
    from cascade_rl.trainer import CascadedRLTrainer

    listeners = [TensorBoard(output / "tensorboard")] if loaded.trackers.tensorboard else []
    screen = console()
    try:
        with live(loaded, only, screen) as display:
            trainer = CascadedRLTrainer(
                cascade_config=loaded, output=output, listeners=[display, *listeners]
            )
            final = trainer.fit(only=only, resume=resume)
    except KeyboardInterrupt:
        screen.print("\nstopped; what was trained is saved. Run the same command to go on.")
        return 130
    finally:
        for listener in listeners:
            listener.close()
    print_ledger(Run(output), screen)
    screen.print(f"\nmodel:   {final.path}", soft_wrap=True)
    screen.print(f"report:  {render(output)}", soft_wrap=True)
    return 0
