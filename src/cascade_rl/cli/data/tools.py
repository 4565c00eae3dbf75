"""`cascade data tools`: conversations with tools, each call held against its JSON schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.data.ending import ending, interrupted


def tools(
    file: Annotated[Path, typer.Argument(help="conversations with tools")],
    out: Annotated[Path, typer.Option(help="where those go whose calls all hold")],
    allow_final_call: Annotated[
        bool, typer.Option("--allow-final-call", help="a conversation may end with a call")
    ] = False,
) -> int:
    """Drop conversations with a call that its tool does not take, or that nobody answers."""
    from cascade_rl.data.sft.tools import check_tools
    from cascade_rl.data.step import Step

    with interrupted(), Step("tools", out, {"allow_final_call": allow_final_call}) as step:
        check_tools(step, file, allow_final_call=allow_final_call)
    ending(step)
    kinds = ", ".join(f"{count} {kind}" for kind, count in step.details["kinds"].items())
    print(f"  {kinds}; {step.details['tools_per_conversation']} tools a conversation")
    return 0
