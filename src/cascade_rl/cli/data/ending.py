"""How a data command ends: one line an output, or a word on how to go on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cascade_rl.cli.common import duration

if TYPE_CHECKING:
    from cascade_rl.data.step import Step

INTERRUPTED = 130


def say(step: Step) -> None:
    """Path, rows kept, rows dropped by reason, seconds."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(step.dropped.items()))
    took = duration(step.report()["seconds"])
    print(f"{step.out}  {step.kept} kept, dropped: {dropped or 'none'}, in {took}")


def stopped(kept: str = "nothing is written") -> int:
    """After Ctrl-C: what is left of the work, and how to go on. The exit status."""
    print(f"stopped; {kept}. Run the same command to go on.", file=sys.stderr)
    return INTERRUPTED


def listed(text: str) -> tuple[str, ...]:
    """The parts of a list written with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def chosen(text: str, choices: Sequence[str], option: str) -> tuple[str, ...]:
    """The parts of a list written with commas, each one of the choices. Raises InputError."""
    from cascade_rl.errors import InputError

    found = tuple(dict.fromkeys(listed(text)))
    unknown = [part for part in found if part not in choices]
    if unknown or not found:
        raise InputError(
            f"{option} is {text!r}; expected some of {','.join(choices)}",
            hint=f"for example:  {option} {','.join(choices)}",
        )
    return found
