"""TensorBoard reads back the numbers of every training event."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from cascade_rl.report.tensorboard import TensorBoard


def test_each_number_of_a_step_is_a_scalar_under_its_step(tmp_path: Path) -> None:
    writer = TensorBoard(tmp_path)
    for step in (1, 2):
        writer("math_rl/24k", {"kind": "train", "step": step, "time": 5.0, "reward/mean": step / 2})
    writer("math_rl/24k", {"kind": "params", "step": 2, "digest": "abc"})
    writer.close()
    [file] = (tmp_path / "math_rl.24k").iterdir()
    events = [event for event in EventFileLoader(str(file)).Load() if event.summary.value]
    assert [event.step for event in events] == [1, 2]
    assert [event.summary.value[0].tag for event in events] == ["reward/mean"] * 2
