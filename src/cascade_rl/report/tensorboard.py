"""TensorBoard event files beside the event log, written without torch.

One rule: every stage is a TensorBoard run of its own, so that the curves of a metric lie over
each other; nothing is read back from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

NOT_METRICS = {"step", "time", "kind"}


class TensorBoard:
    """A listener of the store: each number of a training event becomes a scalar."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, EventFileWriter] = {}

    def __call__(self, stage: str, event: Mapping[str, Any]) -> None:
        """Write the event's numbers under its step."""
        if event.get("kind") != "train":
            return
        values = [
            Summary.Value(tag=name, simple_value=float(value))
            for name, value in event.items()
            if name not in NOT_METRICS and isinstance(value, int | float)
        ]
        writer = self._writers.get(stage)
        if writer is None:
            directory = self._folder / stage.replace("/", ".")
            writer = self._writers[stage] = EventFileWriter(str(directory))
        writer.add_event(
            Event(wall_time=event["time"], step=event["step"], summary=Summary(value=values))
        )

    def close(self) -> None:
        """Flush and close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
