"""The only writer in an output directory: layout, atomic commit, resume.

One rule: `stage.json` commits training and nothing else does; evaluations fill in afterwards,
each a file of its own. The layout is drawn in docs/concepts.md.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from cascade_rl.blocks import own_blocks
from cascade_rl.config import BUILTIN, ChatConfig
from cascade_rl.configfile import resolved_yaml
from cascade_rl.data.rows import read_rows, write_rows
from cascade_rl.data.schema import RowKind
from cascade_rl.digests import digest_file, digest_json, weights_digest
from cascade_rl.engines.base import Evaluate, EvaluationJob, StageJob
from cascade_rl.errors import CheckpointError, OutputError
from cascade_rl.evaluation.benchmarks import sample_to_json
from cascade_rl.graph import Plan, PlannedStage, StartModel
from cascade_rl.store.files import check_directory, json_line, write_atomic, write_json
from cascade_rl.store.lock import Lock
from cascade_rl.store.run import CONFIG, LOOKS, STAGE, Run, StageRecord, read_contract
from cascade_rl.store.workspace import Listener, StageWorkspace, last_checkpoint
from cascade_rl.types import Checkpoint, Problem, Row, Sample

__all__ = ["Listener", "Run", "StageRecord", "StageWorkspace", "Store"]

ROW_KINDS: dict[str, RowKind] = {"sft": "conversation", "reward_model": "pair", "rl": "problem"}


class Store(Run):
    """An output directory that this process may write; a context manager that holds its lock."""

    def __init__(self, output: Path, listeners: Sequence[Listener] = ()) -> None:
        self.output = output
        self.listeners = listeners
        self.stop = threading.Event()
        if output.is_file() or (output.is_dir() and not _ours(output)):
            raise OutputError(
                f"{output} exists and is not a cascade's output directory (no {CONFIG})",
                hint="choose a new or empty directory:  --output DIR",
            )
        output.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    # --- plans ---

    def record_plan(self, plan: Plan, protocols: Sequence[tuple[str, str]]) -> None:
        """Make `plan` the one that this directory shows; `protocols` are (benchmark, digest)."""
        text = resolved_yaml(plan.config)
        entry = {
            "digest": plan.digest,
            "start": {"key": plan.start.key, "source": plan.start.source},
            "stages": [
                {
                    "name": s.name,
                    "key": s.key,
                    "parent": s.parent,
                    "inputs": dict(s.inputs),
                    "role": s.role,
                    "kind": s.config.kind,
                    "engine": s.engine,
                }
                for s in plan.stages
            ],
            "benchmarks": [{"name": name, "protocol": digest} for name, digest in protocols],
        }
        write_json(self.output / "cascades" / f"{digest_json(text)[:12]}.json", entry)
        write_atomic(self.output / CONFIG, text.encode())

    def record_look(self, plan: Plan, protocols: Sequence[tuple[str, str]]) -> None:
        """Note, for good, that somebody looked at the test split."""
        benchmarks = [{"name": name, "protocol": digest} for name, digest in protocols]
        look = {"time": time.time(), "plan": plan.digest, "benchmarks": benchmarks}
        with (self.output / LOOKS).open("ab") as file:
            file.write(json_line(look))

    def roll_back(self, stage: PlannedStage, reasons: Sequence[str]) -> None:
        """Record that a gate rolled this stage back; it stays on disk and out of the plan."""
        entry = {"key": stage.key, "name": stage.name, "reasons": list(reasons)}
        write_json(self.output / "gates" / f"{stage.key[:12]}.json", entry)

    def replace(self, stages: Sequence[PlannedStage]) -> Path | None:
        """Move these stages' directories to `stages/replaced/<time>/`; None if none exist."""
        there = [self.output / "stages" / s.directory for s in stages]
        there = [path for path in there if path.exists()]
        if not there:
            return None
        target = self.output / "stages" / "replaced" / time.strftime("%Y%m%d-%H%M%S")
        target.mkdir(parents=True, exist_ok=True)
        for path in there:
            shutil.move(path, target / path.name)
        return target

    # --- models and rows ---

    def start(self, model: StartModel) -> Checkpoint:
        """The start model as a checkpoint, built or fetched when it is not a directory yet."""
        path = self._start_path(model)
        contract = self.directory(model.name, model.key) / "start.json"
        digest = weights_digest(path)
        if not contract.exists():
            write_json(contract, {"source": model.source, "weights_digest": digest})
        known = json.loads(contract.read_text())["weights_digest"]
        if known != digest:
            raise CheckpointError(
                f"the start model {path} changed since this run began: its weights digest is "
                f"{digest[:12]}, expected {known[:12]}",
                hint="restore it, or use another --output",
            )
        return Checkpoint(model.key, 0, path, digest)

    def _start_path(self, model: StartModel) -> Path:
        if model.source == f"{BUILTIN}model":
            from cascade_rl.mini.model import build_model  # torch: only when it is needed

            path = self.output / "data" / f"model-{model.data_seed}-{model.key[:12]}"
            if not path.exists():
                temporary = path.with_name(path.name + ".tmp")
                shutil.rmtree(temporary, ignore_errors=True)
                build_model(temporary, model.data_seed)
                temporary.replace(path)
            return path
        if Path(model.source).is_dir():
            return Path(model.source)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(model.source))

    def rows(self, files: Sequence[str], kind: RowKind, data_seed: int) -> list[Row]:
        """All rows of the files in order; built-in names are generated under `data/` once."""
        found: list[Row] = []
        for name in files:
            path = Path(name)
            if name.startswith(BUILTIN):
                path = self._generated(name.removeprefix(BUILTIN), data_seed)
            found += read_rows(path, kind)
        return found

    def problems(self, file: str, data_seed: int, limit: int | None) -> list[Problem]:
        """The problems of a benchmark file."""
        rows = self.rows([file], "problem", data_seed)
        return [row for row in rows if isinstance(row, Problem)][:limit]

    def _generated(self, name: str, data_seed: int) -> Path:
        from cascade_rl import mini

        stem = name.replace("/", "-")
        path = self.output / "data" / f"{stem}-{data_seed}-v{mini.VERSION}.parquet"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_rows(path, mini.rows(name, data_seed))
        return path

    # --- training ---

    def checkpoint(self, stage: PlannedStage | StartModel) -> Checkpoint:
        """The finished model of a stage. Raises CheckpointError where it was damaged."""
        if isinstance(stage, StartModel):
            return self.start(stage)
        directory = self.output / "stages" / stage.directory
        contract = read_contract(directory)
        if contract is None:
            raise CheckpointError(
                f"stage {stage.name} is not finished in {self.output}",
                hint="run it first, or leave --stages out",
            )
        check_directory(
            directory / "model", hint=f"train it again:  cascade run ... --resume {stage.name}"
        )
        return Checkpoint(
            stage.key, contract["step"], directory / "model", contract["weights_digest"]
        )

    def committed(self, plan: Plan, stage: PlannedStage) -> bool:
        """Whether the stage is finished, from the very weights its parent and inputs have now."""
        contract = read_contract(self.output / "stages" / stage.directory)
        if contract is None or contract["key"] != stage.key:
            return False
        edges = {"parent": stage.parent, **stage.inputs}
        return all(
            contract["edges"][role] == self.checkpoint(plan.by_key(key)).weights_digest
            for role, key in edges.items()
        )

    def job(
        self,
        plan: Plan,
        stage: PlannedStage,
        evaluate: Evaluate | None = None,
        expects: Callable[[], Sequence[EvaluationJob]] = tuple,
        expects_first: Callable[[], Sequence[EvaluationJob]] = tuple,
    ) -> StageJob:
        """Everything an engine needs to train the stage."""
        parent = plan.by_key(stage.parent)
        return StageJob(
            key=stage.key,
            config=stage.config,
            rows=self.rows(
                stage.config.train_files, ROW_KINDS[stage.config.kind], plan.config.data_seed
            ),
            start=self.checkpoint(parent),
            carry=self._carry(parent) if stage.carries else None,
            inputs={r: self.checkpoint(plan.by_key(k)) for r, k in stage.inputs.items()},
            seed=stage.seed,
            chat=plan.config.chat,
            local=plan.config.local,
            verl=plan.config.verl,
            blocks=own_blocks(plan.config) if stage.engine == "verl" else {},
            evaluate=evaluate if stage.config.eval_every else None,
            expects=expects,
            expects_first=expects_first if isinstance(parent, StartModel) else tuple,
        )

    def _carry(self, parent: PlannedStage | StartModel) -> Path:
        found = last_checkpoint(self.output / "stages" / parent.directory)
        if found is None:
            raise CheckpointError(
                f"stage {parent.name} has no training checkpoint left to carry state from",
                hint=f"train it again (--resume {parent.name}), or set optimizer.state: fresh",
            )
        return found

    def workspace(self, stage: PlannedStage) -> StageWorkspace:
        """The stage's directory, ready to be trained in or continued."""
        return StageWorkspace(
            self.output / "stages" / stage.directory,
            stage.name,
            stage.key,
            listeners=self.listeners,
            stop=self.stop,
        )

    def commit(self, plan: Plan, stage: PlannedStage, checkpoint: Checkpoint) -> None:
        """Write stage.json: from now on the stage is finished."""
        edges = {"parent": stage.parent, **stage.inputs}
        contract: dict[str, Any] = {
            "name": stage.name,
            "key": stage.key,
            "kind": stage.config.kind,
            "role": stage.role,
            "engine": stage.engine,
            "seed": stage.seed,
            "step": checkpoint.step,
            "weights_digest": checkpoint.weights_digest,
            "edges": {r: self.checkpoint(plan.by_key(k)).weights_digest for r, k in edges.items()},
            "rows_digest": stage.rows_digest,
            "promises": _promises(checkpoint.path, plan.config.chat),
            "finished": time.time(),
            "config": stage.config.model_dump(mode="json"),
        }
        write_json(self.output / "stages" / stage.directory / STAGE, contract)
        self._prune(plan)

    def _prune(self, plan: Plan) -> None:
        """Training checkpoints go when no unfinished stage of the plan may carry them."""
        needed = {
            s.parent
            for s in plan.stages
            if s.carries and read_contract(self.output / "stages" / s.directory) is None
        }
        for stage in plan.stages:
            directory = self.output / "stages" / stage.directory
            if stage.key not in needed and read_contract(directory) is not None:
                shutil.rmtree(directory / "checkpoints", ignore_errors=True)

    # --- evaluations ---

    def write_evaluation(
        self, path: Path, header: dict[str, Any], samples: Iterator[Sample]
    ) -> None:
        """Write a whole evaluation; it appears under its name only when complete."""
        lines = [json_line(header)]
        for sample in samples:
            lines.append(sample_to_json(sample).encode("ascii") + b"\n")
            if self.stop.is_set():
                raise KeyboardInterrupt
        write_atomic(path, b"".join(lines))

    @contextmanager
    def timed(self, stage: str, kind: str) -> Iterator[None]:
        """Tell the listeners when a part of a stage begins and ends."""
        begin = time.time()
        self.tell(stage, {"kind": f"{kind}/start", "time": begin})
        yield
        self.tell(stage, {"kind": f"{kind}/end", "time": time.time()})

    def tell(self, stage: str, event: dict[str, Any]) -> None:
        """Tell the listeners; nothing is stored."""
        for listener in self.listeners:
            listener(stage, event)


def _promises(model: Path, chat: ChatConfig) -> dict[str, Any]:
    """What a child may rely on besides the weights."""
    context = json.loads((model / "config.json").read_text()).get("max_position_embeddings")
    files = {"tokenizer_digest": "tokenizer.json", "template_digest": "chat_template.jinja"}
    found = {k: digest_file(model / f) for k, f in files.items() if (model / f).exists()}
    modes = ["think", "no_think"] if chat.template == "cascade" else []
    return {**found, "modes": modes, "context_length": context}


def _ours(output: Path) -> bool:
    """Empty, or begun by a cascade."""
    known = {CONFIG, f"{CONFIG}.tmp", "cascades", "data", "stages", "gates"}
    known |= {"lock", "report.html", "tensorboard", LOOKS}
    there = {path.name for path in output.iterdir()}
    return (output / CONFIG).exists() or there <= known
