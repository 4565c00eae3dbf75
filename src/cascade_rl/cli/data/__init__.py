"""`cascade data`: row files made, cleaned, mixed and inspected; one module a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from cascade_rl.cli.data.check import check
from cascade_rl.cli.data.curate import curate
from cascade_rl.cli.data.decontaminate import decontaminate
from cascade_rl.cli.data.dedup import dedup
from cascade_rl.cli.data.generate import generate
from cascade_rl.cli.data.mini import mini
from cascade_rl.cli.data.mix import mix
from cascade_rl.cli.data.multiturn import multiturn
from cascade_rl.cli.data.passrate import passrate
from cascade_rl.cli.data.prepare import prepare
from cascade_rl.cli.data.stats import stats
from cascade_rl.cli.data.strength import strength
from cascade_rl.cli.data.swe import swe
from cascade_rl.cli.data.tools import tools

data_app = typer.Typer(help="Make, clean, mix and inspect row files.", no_args_is_help=False)
COMMANDS: Mapping[str, Callable[..., int | None]] = {
    "prepare": prepare,
    "decontaminate": decontaminate,
    "dedup": dedup,
    "curate": curate,
    "strength": strength,
    "passrate": passrate,
    "generate": generate,
    "multiturn": multiturn,
    "tools": tools,
    "swe": swe,
    "mix": mix,
    "check": check,
    "stats": stats,
    "mini": mini,
}
for name, command in COMMANDS.items():
    data_app.command(name)(command)


@data_app.callback()
def _data() -> None:
    """Make, clean, mix and inspect row files."""
