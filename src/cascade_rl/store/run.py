"""An output directory, read only: what the ledger, the report and the command line look at.

One rule: what counts is the last plan that ran here (`cascade.yaml`); stages of older plans
stay on disk for reuse and are not shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from cascade_rl.digests import digest_json
from cascade_rl.errors import OutputError
from cascade_rl.evaluation.benchmarks import sample_from_json
from cascade_rl.evaluation.ledger import Evaluated, StageScores
from cascade_rl.graph import StageRole, directory_name
from cascade_rl.store.files import read_lines

CONFIG = "cascade.yaml"
STAGE = "stage.json"
LOOKS = "looks.jsonl"
Split = Literal["val", "test"]


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of the last plan. `contract` is its stage.json, None while unfinished."""

    name: str
    key: str
    parent: str | None  # None: the start model
    inputs: Mapping[str, str]
    role: StageRole
    kind: str  # sft, reward_model, rl, or start
    contract: Mapping[str, Any] | None

    @property
    def done(self) -> bool:
        """Whether its training was committed."""
        return self.contract is not None


class Run:
    """Read access to an output directory. Raises OutputError where it is not one of ours."""

    def __init__(self, output: Path) -> None:
        self.output = output
        if not (output / CONFIG).exists():
            raise OutputError(
                f"{output} is not a cascade's output directory: it has no {CONFIG}",
                hint=f"make one:  cascade run mini --output {output}",
            )

    @property
    def config_yaml(self) -> str:
        """The resolved config of the last plan."""
        return (self.output / CONFIG).read_text(encoding="utf-8")

    def plan(self) -> Mapping[str, Any]:
        """The last plan: digest, start, stages and benchmarks with their protocol digests."""
        name = digest_json(self.config_yaml)[:12]
        loaded: Mapping[str, Any] = json.loads(
            (self.output / "cascades" / f"{name}.json").read_text(encoding="utf-8")
        )
        return loaded

    def stages(self) -> list[StageRecord]:
        """The start model and every stage of the last plan, in order."""
        plan = self.plan()
        start = StageRecord("start", plan["start"]["key"], None, {}, "policy", "start", {})
        return [start] + [
            StageRecord(
                entry["name"], entry["key"], entry["parent"], entry["inputs"], entry["role"],
                entry["kind"], read_contract(self.directory(entry["name"], entry["key"])),
            )
            for entry in plan["stages"]
        ]  # fmt: skip

    def start_digest(self) -> str:
        """Weights digest of the start model, as it was when the run began."""
        path = self.directory("start", self.plan()["start"]["key"]) / "start.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["weights_digest"])

    def directory(self, name: str, key: str) -> Path:
        """A stage's directory."""
        return self.output / "stages" / directory_name(name, key)

    def events(self, record: StageRecord) -> list[dict[str, Any]]:
        """The stage's event log, one entry an event, in order."""
        return read_lines(self.directory(record.name, record.key) / "events.jsonl")

    def rollout_steps(self, record: StageRecord) -> list[int]:
        """Steps whose rollouts are stored."""
        folder = self.directory(record.name, record.key) / "rollouts"
        return sorted(int(p.stem.removeprefix("step-")) for p in folder.glob("step-*.parquet"))

    def rollouts(self, record: StageRecord, step: int) -> list[dict[str, Any]]:
        """Every completion of a step with prompt, signals, reward and advantage."""
        folder = self.directory(record.name, record.key) / "rollouts"
        rows: list[dict[str, Any]] = pq.read_table(folder / f"step-{step:06d}.parquet").to_pylist()
        return rows

    def evaluation(self, name: str, key: str, benchmark: str, protocol: str) -> Evaluated | None:
        """A complete evaluation of a stage (or `start`) under a protocol, if there is one."""
        return _evaluated(self.evaluation_file(name, key, benchmark, protocol), protocol)

    def evaluated_steps(self, record: StageRecord) -> dict[str, dict[int | None, Evaluated]]:
        """A stage's `val` evaluations by benchmark and step; None is the end of the stage."""
        found: dict[str, dict[int | None, Evaluated]] = {}
        for benchmark, protocol in self._protocols("val").items():
            final = self.evaluation_file(record.name, record.key, benchmark, protocol)
            files: dict[int | None, Path] = {
                int(folder.name.removeprefix("step-")): folder / final.name
                for folder in sorted(final.parent.glob("step-*"))
            }
            for step, path in {**files, None: final}.items():
                evaluated = _evaluated(path, protocol)
                if evaluated is not None:
                    found.setdefault(benchmark, {})[step] = evaluated
        return found

    def parts(self, record: StageRecord, benchmark: str) -> dict[str, dict[str, str]]:
        """How a benchmark's problems fall into parts: by field, the part of each problem's id."""
        protocol = self._protocols("val")[benchmark]
        path = self.evaluation_file(record.name, record.key, benchmark, protocol)
        if not path.exists():
            return {}
        with path.open(encoding="ascii") as file:
            parts: dict[str, dict[str, str]] = json.loads(file.readline()).get("parts", {})
        return parts

    def evaluation_file(self, name: str, key: str, benchmark: str, protocol: str) -> Path:
        """Where that evaluation is or will be: a line for the protocol, then one a sample."""
        return self.directory(name, key) / "evaluations" / f"{benchmark}-{protocol}.jsonl"

    def rolled_back(self) -> frozenset[str]:
        """Keys of stages that a gate rolled back."""
        entries = (self.output / "gates").glob("*.json")
        return frozenset(json.loads(path.read_text())["key"] for path in entries)

    def looks(self) -> list[dict[str, Any]]:
        """Every look that was taken at the test split: when, which plan, which protocols."""
        return read_lines(self.output / LOOKS)

    def _protocols(self, split: Split) -> dict[str, str]:
        if split == "val":
            benchmarks = self.plan()["benchmarks"]
        else:
            looks = [look for look in self.looks() if look["plan"] == self.plan()["digest"]]
            benchmarks = looks[-1]["benchmarks"] if looks else []
        return {b["name"]: b["protocol"] for b in benchmarks}

    def scores(self, split: Split = "val") -> list[StageScores]:
        """Every evaluation there is of the start model and the finished policy stages."""
        protocols = self._protocols(split)
        found = []
        for record in self.stages():
            if record.role != "policy" or not record.done:
                continue
            evaluations = {
                name: evaluated
                for name, protocol in protocols.items()
                if (evaluated := self.evaluation(record.name, record.key, name, protocol))
            }
            found.append(StageScores(record.name, record.key, record.parent, evaluations))
        return found


def _evaluated(path: Path, protocol: str) -> Evaluated | None:
    if not path.exists():
        return None
    lines = path.read_text(encoding="ascii").splitlines()
    return Evaluated(protocol, tuple(map(sample_from_json, lines[1:])))


def read_contract(directory: Path) -> Mapping[str, Any] | None:
    """A stage's stage.json; None while its training is not committed."""
    path = directory / STAGE
    if not path.exists():
        return None
    loaded: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
