"""`cascade plan`: what a run would do, with every edge checked and nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cascade_rl.cli.common import console, load

if TYPE_CHECKING:
    from cascade_rl.config import CascadeRLConfig
    from cascade_rl.graph import Plan, PlannedStage


def plan(
    config: Annotated[str, typer.Argument(help="a YAML file or a preset's name")],
    output: Annotated[Path | None, typer.Option(help="the run's directory")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="stage.key=value, any number of times")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
) -> None:
    """Show the stages, their keys, what is done already, and what differs from the preset."""
    show_plan(load(config, settings or ()), output, as_json=as_json)


def show_plan(config: CascadeRLConfig, output: Path | None, *, as_json: bool = False) -> None:
    """Print the plan. Raises ConfigError or DataError where an edge does not hold."""
    from cascade_rl.overlap import overlaps
    from cascade_rl.plan import make_plan
    from cascade_rl.store.run import CONFIG, Run

    known = output is not None and (output / CONFIG).exists()
    planned = make_plan(config, Run(output).rolled_back() if output and known else ())
    states = {s.key: state_of(s, output) for s in planned.stages}
    expected = [found.line for found in overlaps(planned.config)]
    if as_json:
        stages = [
            {"name": s.name, "key": s.key, "kind": s.config.kind, "state": states[s.key],
             "parent": s.parent, "inputs": dict(s.inputs), "steps": s.config.total_training_steps}
            for s in planned.stages
        ]  # fmt: skip
        print(json.dumps({"digest": planned.digest, "start": planned.start.key, "stages": stages,
                          "expected_overlaps": expected}))  # fmt: skip
        return
    screen = console()
    screen.print(_table(planned, states))
    if expected:
        screen.print("\nprompts in common, as expected:")
        for line in expected:
            screen.print(f"  {line}", markup=False)
    differences = changed(config)
    if differences:
        screen.print(f"\ndiffers from preset {config.preset}:")
        for line in differences:
            screen.print(f"  {line}", markup=False)


def state_of(stage: PlannedStage, output: Path | None) -> str:
    """`done`, `started` or `to train` in this directory."""
    from cascade_rl.store.run import read_contract

    if output is None:
        return "to train"
    directory = output / "stages" / stage.directory
    if read_contract(directory) is not None:
        return "done"
    return "started" if any(directory.glob("checkpoints/step-*")) else "to train"


def _table(planned: Plan, states: dict[str, str]) -> Table:
    names = {planned.start.key: "start"} | {s.key: s.name for s in planned.stages}
    title = f"{planned.config.name}, from {planned.config.model}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("stage", "kind", "steps", "from", "reads", "key", "state"):
        table.add_column(column, justify="right" if column == "steps" else "left")
    for s in planned.stages:
        reads = ", ".join(f"{names[key]}" for key in s.inputs.values())
        state = states[s.key]
        style = {"done": "green", "started": "yellow"}.get(state, "")
        steps = str(s.config.total_training_steps)
        parent = names[s.parent] + (" (carries)" if s.carries else "")
        table.add_row(
            s.name, s.config.kind, steps, parent, reads, s.key[:12],
            f"[{style}]{state}[/{style}]" if style else state,
        )  # fmt: skip
    return table


def changed(config: CascadeRLConfig) -> list[str]:
    """`key: preset's value -> this value` for every setting that is not the preset's."""
    from cascade_rl.presets import PRESETS

    if config.preset is None or config.preset not in PRESETS:
        return []
    mine, theirs = _flat(config), _flat(PRESETS[config.preset]())
    return [
        f"{key}: {theirs.get(key, 'absent')} -> {mine.get(key, 'absent')}"
        for key in dict.fromkeys([*theirs, *mine])
        if not _same(theirs.get(key), mine.get(key))
    ]


def _same(theirs: Any, mine: Any) -> bool:
    """Whether two settings are equal; a preset's relative path may have been resolved."""
    if isinstance(theirs, list) and isinstance(mine, list):
        return len(theirs) == len(mine) and all(map(_same, theirs, mine))
    if isinstance(theirs, str) and isinstance(mine, str) and theirs != mine:
        return Path(mine).is_absolute() and mine.endswith(f"/{theirs}")
    return bool(theirs == mine)


def _flat(config: CascadeRLConfig) -> dict[str, Any]:
    """Settings by dotted key, stages and benchmarks by name."""
    found: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for entry in value:
                walk(f"{prefix}.{entry['name']}", entry)
        else:
            found[prefix] = value

    walk("", config.model_dump(mode="json"))
    return found
