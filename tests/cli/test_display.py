"""What a run shows, from its events alone, under a clock of the test's own."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from cascade_rl.cli.display import Panelled, Plain, Progress

STEPS = {"sft": 10, "math_rl": 20}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock) -> Progress:
    return Progress(STEPS, {"sft": "sft", "math_rl": "rl"}, clock)


def step(number: int, reward: float = 0.5) -> dict[str, Any]:
    return {"kind": "train", "step": number, "reward/mean": reward, "tokens_per_second": 5210.0}


def test_time_left_is_steps_left_times_seconds_a_step() -> None:
    clock = Clock()
    progress = make(clock)
    progress.observe("sft", {"kind": "training/start"})
    assert progress.stage_left() is None
    for number in (1, 2):
        clock.now += 3.0
        progress.observe("sft", step(number))
    assert progress.stage_left() == 8 * 3.0
    assert progress.cascade_left() == (8 + 20) * 3.0


def test_a_stage_of_another_kind_is_timed_by_its_own_steps() -> None:
    clock = Clock()
    progress = make(clock)
    for stage, seconds in (("sft", 1.0), ("math_rl", 4.0)):
        progress.observe(stage, {"kind": "training/start"})
        clock.now += seconds
        progress.observe(stage, step(1))
        if stage == "sft":
            progress.observe(stage, {"kind": "training/end"})
    assert progress.stage_left() == progress.cascade_left() == 19 * 4.0


def test_a_stage_is_timed_by_its_own_steps_even_where_its_kind_is_quicker() -> None:
    clock = Clock()
    progress = Progress(
        {"sft": 10, "judge": 10, "more": 10}, dict.fromkeys(("sft", "judge", "more"), "sft"), clock
    )
    for stage, seconds in (("sft", 1.0), ("judge", 3.0)):
        progress.observe(stage, {"kind": "training/start"})
        clock.now += seconds
        progress.observe(stage, step(1))
    assert progress.stage_left() == 9 * 3.0
    assert progress.cascade_left() == 9 * 3.0 + 10 * 2.0


def test_evaluations_to_come_count_as_long_as_those_before() -> None:
    clock = Clock()
    progress = Progress(STEPS, {"sft": "sft", "math_rl": "rl"}, clock, ("sft", "math_rl"))
    progress.observe("start", {"kind": "evaluation/start"})
    clock.now += 5.0
    progress.observe("start", {"kind": "evaluation/end"})
    progress.observe("sft", {"kind": "training/start"})
    clock.now += 1.0
    progress.observe("sft", step(1))
    assert progress.cascade_left() == 9 * 1.0 + 20 * 1.0 + 2 * 5.0
    progress.observe("sft", {"kind": "training/end"})
    progress.observe("sft", {"kind": "evaluation/start"})
    clock.now += 7.0
    progress.observe("sft", {"kind": "evaluation/end"})
    assert progress.cascade_left() == 20 * 1.0 + 6.0


def test_stages_that_were_done_before_are_not_waited_for() -> None:
    clock = Clock()
    progress = make(clock)
    progress.observe("math_rl", {"kind": "training/start"})
    clock.now += 2.0
    progress.observe("math_rl", step(1))
    assert progress.number == 2
    assert progress.cascade_left() == 19 * 2.0


def test_a_continued_stage_counts_from_where_it_stood() -> None:
    clock = Clock()
    progress = make(clock)
    progress.observe("math_rl", {"kind": "training/start"})
    clock.now += 2.0
    progress.observe("math_rl", step(15))
    assert progress.stage_left() == 5 * 2.0


def test_plain_lines_are_few_and_end_with_the_last_step() -> None:
    clock, out = Clock(), io.StringIO()
    plain = Plain(make(clock), Console(file=out, width=200))
    plain("sft", {"kind": "training/start"})
    for number in range(1, 11):
        clock.now += 3.0
        plain("sft", step(number, reward=number / 10))
    plain("sft", {"kind": "training/end"})
    plain("sft", {"kind": "gate", "message": "math fell"})
    lines = out.getvalue().splitlines()
    assert lines[0] == "sft (1 of 2): training"
    assert [line.split("   ")[0] for line in lines[1:5]] == [
        f"sft: step {number}/10" for number in (1, 5, 9, 10)
    ]
    assert lines[5:] == ["sft: training took 30 s", "gate: math fell"]


@pytest.mark.parametrize("width", [60, 120])
def test_the_panel_shows_stage_step_reward_and_time_left(width: int) -> None:
    clock, out = Clock(), io.StringIO()
    screen = Console(file=out, width=width)
    panel = Panelled(make(clock), screen)
    panel("math_rl", {"kind": "training/start"})
    clock.now += 2.0
    panel("math_rl", step(5))
    screen.print(panel.render())
    shown = out.getvalue()
    for part in ("2 of 2", "math_rl", "step 5 of 20", "reward 0.5", "tokens/s 5210", "30 s left"):
        assert part in shown
