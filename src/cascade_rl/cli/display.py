"""What a run shows while it trains: a live panel on a terminal, plain lines elsewhere.

Both are listeners of the store, called with (stage name, event). Time left is an extrapolation:
steps still to do times the seconds a step has taken so far, in this stage if it has begun, else in
stages of its kind, else in all; and evaluations still to do times the seconds one has taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cascade_rl.cli.common import duration

if TYPE_CHECKING:
    from cascade_rl.config import CascadeRLConfig

PLAIN_EVERY_S = 10.0
Clock = Callable[[], float]
METRICS = {
    "reward": "reward/mean",
    "loss": "loss",
    "accuracy": "accuracy",
    "length": "response_length/mean",
    "entropy": "entropy",
    "tokens/s": "tokens_per_second",
}
"""What is shown, by the event's key; a metric that a stage does not have is left out."""


@dataclass
class Progress:
    """Where a run stands, from its events alone. Seconds are of the clock it is given."""

    steps: Mapping[str, int]  # of every stage to run, in order
    kinds: Mapping[str, str]
    clock: Clock = time.monotonic
    evaluates: Collection[str] = ()  # the stages that benchmarks follow
    stage: str = ""
    doing: str = "starting"
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    _spent: dict[str, tuple[float, int]] = field(default_factory=dict)  # stage -> seconds, steps
    _last: float | None = None
    _evaluated: set[str] = field(default_factory=set)
    _evaluation_s: list[float] = field(default_factory=list)

    def observe(self, stage: str, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        kind = event.get("kind")
        if kind == "training/start":
            self.stage, self.doing, self.step, self.metrics = stage, "training", 0, {}
            self._last = self.clock()
            names = list(self.steps)
            self.finished |= set(names[: names.index(stage)])  # trained before, or left out
        elif kind == "training/end":
            self.finished.add(stage)
        elif kind == "evaluation/start":
            self.stage, self.doing = stage, "evaluating"
            self._last = self.clock()
        elif kind == "evaluation/end":
            self.doing, self.step = "evaluated", 0
            self._evaluated.add(stage)
            if self._last is not None:
                self._evaluation_s.append(self.clock() - self._last)
            self._last = None
        elif kind == "train":
            self._train_step(stage, event)

    def _train_step(self, stage: str, event: Mapping[str, Any]) -> None:
        now = self.clock()
        seconds, steps = self._spent.get(stage, (0.0, 0))
        if self._last is not None:
            self._spent[stage] = (seconds + now - self._last, steps + 1)
        self._last, self.stage, self.doing, self.step = now, stage, "training", event["step"]
        self.metrics = {
            shown: event[key] for shown, key in METRICS.items() if event.get(key) is not None
        }

    @property
    def number(self) -> int:
        """Which stage this is, from 1; 0 for the start model."""
        names = list(self.steps)
        return names.index(self.stage) + 1 if self.stage in names else 0

    def stage_left(self) -> float | None:
        """Seconds to the end of this stage's training; None while unknown."""
        per_step = self._per_step(self.stage)
        if per_step is None or self.doing != "training":
            return None
        return per_step * (self.steps[self.stage] - self.step)

    def cascade_left(self) -> float | None:
        """Seconds to the end of the cascade; an evaluation counts once one has been timed."""
        left = 0.0
        names = list(self.steps)
        for name in names:
            per_step = self._per_step(name)
            if name in self.finished:
                continue
            if per_step is None:
                return None
            left += per_step * (self.steps[name] - (self.step if name == self.stage else 0))
        if self._evaluation_s and self.stage in names:
            to_come = set(names[names.index(self.stage) :]) & set(self.evaluates)
            each = sum(self._evaluation_s) / len(self._evaluation_s)
            left += each * len(to_come - self._evaluated)
        return left

    def _per_step(self, stage: str) -> float | None:
        known = [self._spent[stage]] if stage in self._spent else []
        if not known:
            kind = self.kinds.get(stage)
            known = [spent for name, spent in self._spent.items() if self.kinds[name] == kind]
        known = known or list(self._spent.values())
        seconds, steps = sum(s for s, _ in known), sum(n for _, n in known)
        return seconds / steps if steps else None


def numbers(metrics: Mapping[str, float]) -> str:
    """`reward 0.62   length 14   tokens/s 5210`"""
    return "   ".join(
        f"{name} {value:.0f}" if abs(value) >= 100 else f"{name} {value:.3g}"
        for name, value in metrics.items()
    )


STOPPING = "stopping: this step is finished and saved first; press Ctrl-C again to stop at once"


class Plain:
    """A line when something begins or ends, and one every few seconds while it trains."""

    def __init__(self, progress: Progress, screen: Console) -> None:
        self.progress = progress
        self._screen = screen
        self._printed = float("-inf")
        self._begun: dict[str, float] = {}

    def __call__(self, stage: str, event: Mapping[str, Any]) -> None:
        """Take in one event and print a line where there is something to say."""
        progress = self.progress
        progress.observe(stage, event)
        what, _, edge = str(event.get("kind")).partition("/")
        now = progress.clock()
        if edge == "start":
            self._begun[what] = now
            place = f" ({progress.number} of {len(progress.steps)})" if progress.number else ""
            self._print(f"{stage}{place}: {what}")
        elif edge == "end":
            self._print(f"{stage}: {what} took {duration(now - self._begun[what])}")
        elif what == "gate":
            self._print(f"gate: {event['message']}")
        elif what == "alarm":
            self._print(f"alarm: {stage}, step {event['step']}: {event['message']}")
        elif what == "stopping":
            self._print(STOPPING)
        elif what == "train" and self._due(now, event["step"]):
            self._printed = now
            self._print(f"{stage}: {progress_line(progress)}")

    def _due(self, now: float, step: int) -> bool:
        last = step == self.progress.steps[self.progress.stage]
        return last or now - self._printed >= PLAIN_EVERY_S

    def _print(self, line: str) -> None:
        self._screen.print(line, markup=False, soft_wrap=True)


def progress_line(progress: Progress) -> str:
    """`step 12/60   reward 0.62 ...   left 0:41, cascade 6:10`"""
    parts = [f"step {progress.step}/{progress.steps[progress.stage]}", numbers(progress.metrics)]
    stage, cascade = progress.stage_left(), progress.cascade_left()
    if stage is not None and cascade is not None:
        parts.append(f"left {duration(stage)}, cascade {duration(cascade)}")
    return "   ".join(part for part in parts if part)


class Panelled:
    """The live panel: the stage and its metrics, a bar for it and one for the cascade."""

    def __init__(self, progress: Progress, screen: Console) -> None:
        self.progress = progress
        self._screen = screen
        self._begun = progress.clock()
        self.live = Live(
            console=screen, get_renderable=self.render, refresh_per_second=4, transient=True
        )

    def __call__(self, stage: str, event: Mapping[str, Any]) -> None:
        """Take in one event; what is worth keeping scrolls by above the panel."""
        self.progress.observe(stage, event)
        if event.get("kind") == "gate":
            self._screen.print(f"gate: {event['message']}", style="bold red", markup=False)
        elif event.get("kind") == "alarm":
            line = f"alarm: {stage}, step {event['step']}: {event['message']}"
            self._screen.print(line, style="bold yellow", markup=False)
        elif event.get("kind") == "stopping":
            self._screen.print(STOPPING, style="bold", markup=False)
        elif event.get("kind") == "training/end":
            line = f"{stage}  {numbers(self.progress.metrics)}"
            self._screen.print(f"[green]✓[/green] {line}")

    def render(self) -> Panel:
        """The panel as it is now."""
        progress = self.progress
        total = progress.steps.get(progress.stage, 1)
        done = sum(progress.steps[name] for name in progress.finished)
        here = 0 if progress.stage in progress.finished else progress.step
        bars = Table.grid(padding=(0, 2))
        bars.add_row(
            "stage", ProgressBar(total, progress.step, width=36),
            f"step {progress.step} of {total}", _left(progress.stage_left()),
        )  # fmt: skip
        bars.add_row(
            "cascade", ProgressBar(sum(progress.steps.values()), done + here, width=36),
            f"{duration(progress.clock() - self._begun)} so far", _left(progress.cascade_left()),
        )  # fmt: skip
        title = f"{progress.number} of {len(progress.steps)}  [bold]{progress.stage or 'start'}"
        body = Group(Text(numbers(progress.metrics) or " "), Text(), bars)
        return Panel(body, title=f"{title}[/bold]  {progress.doing}", title_align="left")


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration(seconds)} left"


@contextmanager
def live(
    config: CascadeRLConfig, only: Sequence[str], screen: Console
) -> Iterator[Plain | Panelled]:
    """A listener that shows the run on `screen` until the block ends."""
    names = {name for wanted in only for name in config.select(wanted)}
    chosen = [s for s in config.stages if not only or s.name in names]
    progress = Progress(
        steps={s.name: s.total_training_steps for s in chosen},
        kinds={s.name: s.kind for s in config.stages},
        evaluates=[s.name for s in chosen if s.role == "policy"] if config.benchmarks else (),
    )
    if not screen.is_terminal:
        yield Plain(progress, screen)
        return
    panel = Panelled(progress, screen)
    with panel.live:
        yield panel
