"""What commands share: a config by file or preset name, and a console to print on."""

from __future__ import annotations

import contextlib
import difflib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from cascade_rl.config import BenchmarkConfig, CascadeRLConfig, ChatConfig, LocalConfig

WIDE = 400
"""Columns of output that goes to a file or pipe, where nothing needs to be folded."""

Report = Callable[[int, int], None]
"""Called with (rows done, bytes or other units done)."""


class AnswerPattern(StrEnum):
    """Where the answer of a math problem stands."""

    BOXED = "boxed"
    BOXED_OR_PHRASE = "boxed_or_phrase"
    LAST_NUMBER = "last_number"


class Policy(StrEnum):
    """Which checkers of instructions: ours for rewards, or the published ones."""

    STRICT_REWARD = "strict_reward"
    OFFICIAL = "official"


def console() -> Console:
    """Standard output: coloured and as wide as the terminal, plain and wide elsewhere."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else WIDE, highlight=False, soft_wrap=False)


def load(name: str, sets: Sequence[str] = ()) -> CascadeRLConfig:
    """A preset by name, or a YAML file, with `--set` applied. Raises ConfigError."""
    from cascade_rl.configfile import load_config, parse_config
    from cascade_rl.errors import ConfigError
    from cascade_rl.presets import PRESETS

    if name in PRESETS:
        values = PRESETS[name]().model_dump(mode="json")
        return parse_config(values, sets, base=Path.cwd())
    if not Path(name).exists() and not name.endswith((".yaml", ".yml")):
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"presets: {', '.join(PRESETS)}"
        raise ConfigError(f"{name!r} is neither a file nor a preset", hint=hint)
    return load_config(Path(name), sets)


def trained_with(model: Path) -> tuple[ChatConfig, LocalConfig]:
    """Template and numerics of the run that the model lies in.

    For any other the template that was saved with it, and the defaults.
    """
    import yaml

    from cascade_rl.config import LocalConfig
    from cascade_rl.configfile import parse_config
    from cascade_rl.engines.local.model import trained_chat
    from cascade_rl.store.run import CONFIG, Run

    run = model.resolve().parents[2] if len(model.resolve().parts) > 3 else model
    if not (run / CONFIG).exists():
        return trained_chat(model), LocalConfig()
    config = parse_config(yaml.safe_load(Run(run).config_yaml))
    return config.chat, config.local


def protocol_of(values: Mapping[str, Any]) -> BenchmarkConfig:
    """A protocol made of options. Raises ConfigError that names the wrong one."""
    from pydantic import ValidationError

    from cascade_rl.config import BenchmarkConfig
    from cascade_rl.errors import ConfigError

    try:
        return BenchmarkConfig.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        option = "--" + "-".join(map(str, wrong["loc"])).replace("_", "-")
        message = wrong["msg"][:1].lower() + wrong["msg"][1:]
        raise ConfigError(f"{option} {wrong['input']}: {message}") from None


def duration(seconds: float) -> str:
    """Seconds for a person: `42 s`, `3:07`, `2:15:09`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def progress(size: int) -> Iterator[Report]:
    """A line on a terminal's stderr: rows, their rate, the share of `size` done, the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[rows]} rows   {task.fields[rate]:.3g}/s"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %  left"),
        TimeRemainingColumn(),
    )
    screen = Console(stderr=True)
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    task = bar.add_task("", total=size or None, rows=0, rate=0.0)
    begun: list[tuple[float, int]] = []
    shown = 0.0

    def report(rows: int, end: int) -> None:
        nonlocal shown
        now = time.monotonic()
        begun.append((now, rows)) if not begun else None
        if now - shown > 0.1:
            rate = (rows - begun[0][1]) / max(now - begun[0][0], 1e-3)
            bar.update(task, completed=end, rows=rows, rate=rate)
            shown = now

    with bar:
        yield report
