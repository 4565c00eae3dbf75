"""`cascade data`: row files made, cleaned, mixed and inspected; one module a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from cascade_rl.cli.data.check import check
from cascade_rl.cli.data.mini import mini
from cascade_rl.cli.data.strength import strength

data_app = typer.Typer(help="Make, clean, mix and inspect row files.", no_args_is_help=False)
COMMANDS: Mapping[str, Callable[..., int | None]] = {
    "check": check,
    "mini": mini,
    "strength": strength,
}
for name, command in COMMANDS.items():
    data_app.command(name)(command)


@data_app.callback()
def _data() -> None:
    """Make, clean, mix and inspect row files."""
