"""A stage as a folder that every process of its verl job can read: settings, rows, where to write.

The rule: a job's folder is complete before its first process starts and lies where all nodes see
it. References (tests, files, patches) stay in it: rollouts carry a problem's id alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.config import ChatConfig, StageConfig, VerlConfig
from cascade_rl.data.schema import parse_problem, row_dict
from cascade_rl.types import Problem

SCRATCH = "scratch.tmp"
"""A job's folder, in the stage's own."""
JOB = "job.json"
ROWS = "rows.jsonl"
PLACES = "places.json"
EVENTS = "events.jsonl"
STOP = "stop"
LOG = "verl.log"
AGENTS = "agents.yaml"
MODEL = "model"
CHECKPOINTS = "checkpoints"
STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What the processes of one stage share. `resume` is the checkpoint to go on from."""

    folder: Path
    key: str
    seed: int
    config: StageConfig
    chat: ChatConfig
    verl: VerlConfig
    start: Path
    resume: Path | None = None
    blocks: Mapping[str, Any] | None = None

    @property
    def events(self) -> Path:
        """One line of JSON an event, written by the trainer and read by the driver."""
        return self.folder / EVENTS

    @property
    def stop(self) -> Path:
        """There when the stage is asked to save and stop."""
        return self.folder / STOP

    @property
    def log(self) -> Path:
        """What the job's processes print."""
        return self.folder / LOG


def write_job(job: Job, problems: Sequence[Problem]) -> None:
    """Write the folder: settings, and the rows with the place of each."""
    job.folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, int] = {}
    with (job.folder / ROWS).open("wb") as file:
        for index, problem in enumerate(problems):
            places[problem.id] = file.tell()
            file.write(json.dumps(row_dict(problem, index)).encode("ascii") + b"\n")
    (job.folder / PLACES).write_text(json.dumps(places))
    values = {
        "key": job.key,
        "seed": job.seed,
        "config": job.config.model_dump(mode="json"),
        "chat": job.chat.model_dump(mode="json"),
        "verl": job.verl.model_dump(mode="json"),
        "start": str(job.start),
        "resume": None if job.resume is None else str(job.resume),
        "blocks": job.blocks,
    }
    (job.folder / JOB).write_text(json.dumps(values, indent=1))
    agent = {"name": "cascade", "_target_": AGENT_LOOP, "job": str(job.folder)}
    (job.folder / AGENTS).write_text(json.dumps([agent]))  # JSON is YAML


AGENT_LOOP = "cascade_rl.engines.verl.agent.CascadeAgentLoop"


@functools.lru_cache(maxsize=2)
def read_job(folder: str) -> Job:
    """The job that `write_job` wrote; read once a process."""
    values = json.loads((Path(folder) / JOB).read_text())
    return Job(
        folder=Path(folder),
        key=values["key"],
        seed=values["seed"],
        config=StageConfig.model_validate(values["config"]),
        chat=ChatConfig.model_validate(values["chat"]),
        verl=VerlConfig.model_validate(values["verl"]),
        start=Path(values["start"]),
        resume=None if values["resume"] is None else Path(values["resume"]),
        blocks=values["blocks"],
    )


class Rows:
    """The job's problems by id, each read from its place when it is asked for."""

    def __init__(self, job: Job) -> None:
        self._path = job.folder / ROWS
        self._places: dict[str, int] = json.loads((job.folder / PLACES).read_text())

    @property
    def ids(self) -> list[str]:
        """All ids, in the order of the rows."""
        return list(self._places)

    def __getitem__(self, problem_id: str) -> Problem:
        with self._path.open("rb") as file:
            file.seek(self._places[problem_id])
            return parse_problem(json.loads(file.readline()))


@functools.lru_cache(maxsize=2)
def read_rows(folder: str) -> Rows:
    """The rows of a job; the index is read once a process."""
    return Rows(read_job(folder))
