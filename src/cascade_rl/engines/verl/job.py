"""A stage as a folder that every process of its verl job can read: settings, rows, where to write.

The rule: a job's folder is complete before its first process starts and lies where all nodes see
it. References (tests, files, patches) stay in it: rollouts carry a problem's id alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cascade_rl.config import AnyStage, ChatConfig, LocalConfig, StageConfig, VerlConfig
from cascade_rl.data.schema import RowKind, parse_problem, parse_row, row_dict
from cascade_rl.types import Problem, Row, Verdict

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
VERDICTS = "verdicts.json"
_STAGE: TypeAdapter[AnyStage] = TypeAdapter(AnyStage)


@dataclass(frozen=True, slots=True)
class AnyJob:
    """What the processes of one stage share. `resume` is the checkpoint to go on from.

    `carry` is the last checkpoint of the family's stage before, `inputs` the model directories
    of reward model and judge by role. `longest_answer` is in tokens, of those that benchmarks ask
    of the job before it ends.
    """

    folder: Path
    key: str
    seed: int
    config: AnyStage
    chat: ChatConfig
    verl: VerlConfig
    start: Path
    resume: Path | None = None
    blocks: Mapping[str, Any] | None = None
    carry: Path | None = None
    inputs: Mapping[str, Path] = field(default_factory=dict)
    longest_answer: int = 0

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


@dataclass(frozen=True, slots=True)
class Job(AnyJob):
    """The job of an RL stage."""

    config: StageConfig


def job_type(config: AnyStage) -> type[AnyJob]:
    """What the job of a stage is."""
    return Job if isinstance(config, StageConfig) else AnyJob


def one_rank(verl: VerlConfig) -> LocalConfig:
    """The local engine's settings where its code runs in one process of a job."""
    return LocalConfig(
        dtype=verl.dtype,
        device="cpu" if verl.platform == "cpu" else "cuda",
        micro_batch_tokens=verl.micro_batch_tokens,
        gradient_checkpointing=verl.gradient_checkpointing,
        sampler="native",
    )


def emit(job: AnyJob, step: int, kind: str, **values: Any) -> None:
    """Report to the driver."""
    line = json.dumps({"step": step, "kind": kind, **values})
    with job.events.open("a") as file:
        file.write(line + "\n")


def write_job(
    job: AnyJob, rows: Sequence[Row], verdicts: Mapping[str, Verdict] | None = None
) -> None:
    """Write the folder: settings, the rows with the place of each, verdicts known from before."""
    job.folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, int] = {}
    with (job.folder / ROWS).open("wb") as file:
        for index, row in enumerate(rows):
            places[row.id] = file.tell()
            file.write(json.dumps(row_dict(row, index)).encode("ascii") + b"\n")
    (job.folder / PLACES).write_text(json.dumps(places))
    known = {key: asdict(verdict) for key, verdict in (verdicts or {}).items()}
    (job.folder / VERDICTS).write_text(json.dumps(known))
    values = {
        "key": job.key,
        "seed": job.seed,
        "config": job.config.model_dump(mode="json"),
        "chat": job.chat.model_dump(mode="json"),
        "verl": job.verl.model_dump(mode="json"),
        "start": str(job.start),
        "resume": None if job.resume is None else str(job.resume),
        "blocks": job.blocks,
        "carry": None if job.carry is None else str(job.carry),
        "inputs": {role: str(path) for role, path in job.inputs.items()},
        "longest_answer": job.longest_answer,
    }
    (job.folder / JOB).write_text(json.dumps(values, indent=1))
    agent = {"name": "cascade", "_target_": AGENT_LOOP, "job": str(job.folder)}
    (job.folder / AGENTS).write_text(json.dumps([agent]))  # JSON is YAML


AGENT_LOOP = "cascade_rl.engines.verl.agent.CascadeAgentLoop"


@functools.lru_cache(maxsize=2)
def read_any_job(folder: str) -> AnyJob:
    """The job that `write_job` wrote; read once a process."""
    values = json.loads((Path(folder) / JOB).read_text())
    config = _STAGE.validate_python(values["config"])
    return job_type(config)(
        folder=Path(folder),
        key=values["key"],
        seed=values["seed"],
        config=config,
        chat=ChatConfig.model_validate(values["chat"]),
        verl=VerlConfig.model_validate(values["verl"]),
        start=Path(values["start"]),
        resume=_path(values["resume"]),
        blocks=values["blocks"],
        carry=_path(values["carry"]),
        inputs={role: Path(path) for role, path in values["inputs"].items()},
        longest_answer=values["longest_answer"],
    )


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def read_job(folder: str) -> Job:
    """The job of an RL stage."""
    job = read_any_job(folder)
    assert isinstance(job, Job)
    return job


def all_rows(job: AnyJob, kind: RowKind) -> list[Row]:
    """All rows of a job, in order."""
    with (job.folder / ROWS).open("rb") as file:
        return [parse_row(json.loads(line), kind) for line in file]


@functools.lru_cache(maxsize=2)
def known_verdicts(folder: str) -> Mapping[str, Verdict]:
    """The verdicts that were journaled before the job began; read once a process."""
    found = json.loads((Path(folder) / VERDICTS).read_text())
    return {key: Verdict(**verdict) for key, verdict in found.items()}


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
