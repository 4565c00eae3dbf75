"""Jobs of verl on two logical GPUs, to the end: the weights, the handoff, and what is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from cascade_rl import CascadedRLTrainer, CascadeRLConfig
from cascade_rl.data.rows import write_rows
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.verl.engine import VerlEngine
from cascade_rl.engines.verl.watch import PARENT
from cascade_rl.store import Run
from cascade_rl.store.files import read_lines
from cascade_rl.types import (
    Answer,
    Checkpoint,
    Conversation,
    Message,
    Problem,
    StdioTest,
    Tests,
)
from tests.engines.helpers import (
    CHAT,
    Recording,
    comma_problems,
    job_of,
    rl_stage,
    sft_stage,
    tiny_model,
    user,
)
from tests.engines.verl.helpers import VERL, of_verl

pytestmark = [pytest.mark.verl, pytest.mark.timeout(900)]
PROGRAM = "```python\nprint(1)\n```"
BOXED = "\\boxed{7}"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = of_verl()
    yield
    assert of_verl() <= before


def params(workspace: Recording) -> dict[str, str]:
    return {e["when"]: e["digest"] for e in workspace.events if e["kind"] == "params"}


def test_a_stage_ends_with_the_weights_of_the_local_engine(
    start: Checkpoint, engine: LocalEngine, tmp_path: Path
) -> None:
    """Two ranks, masked completions, weighted groups, a warm-up, sampling from the same keys."""
    config = rl_stage(
        total_training_steps=3,
        learning_rate=1e-3,
        loss_aggregation="group-token-mean",
        overlong="mask_loss",
        optimizer={"warmup_steps": 2},
    )
    problems = comma_problems(12)
    here, there = Recording(tmp_path / "local"), Recording(tmp_path / "verl")
    one = engine.train(job_of(start, config, problems), here)
    other = VerlEngine().train(job_of(start, config, problems, verl=VERL), there)

    assert params(there) == {"start": start.weights_digest, "end": other.weights_digest}
    assert apart(start, one) > 1e-3 and apart(one, other) < 1e-5
    for name in ("reward/mean", "learning_rate", "truncation_ratio", "tokens"):
        assert there.metric(name) == pytest.approx(here.metric(name))
    for name in ("loss", "grad_norm", "entropy"):
        assert there.metric(name) == pytest.approx(here.metric(name), rel=1e-4)
    rows = [pq.read_table(w / "rollouts/step-000003.parquet").to_pylist()
            for w in (tmp_path / "local", tmp_path / "verl")]  # fmt: skip
    assert [r["completion"] for r in rows[0]] == [r["completion"] for r in rows[1]]
    assert [r["learns"] for r in rows[0]] == [r["learns"] for r in rows[1]]


def writes_programs(folder: Path) -> Path:
    """A model that answers with a boxed number or a program, by supervised fine-tuning."""
    rows = [
        Conversation(f"s{i}{text[0]}", (user(f"say {i}"), Message("assistant", text)), "test")
        for i in range(8)
        for text in (PROGRAM, BOXED)
    ]
    stage = sft_stage(total_training_steps=120, train_batch_size=16, learning_rate=5e-3)
    engine = LocalEngine()
    try:
        done = engine.train(job_of(tiny_model(folder / "tiny"), stage, rows),
                            Recording(folder / "sft"))  # fmt: skip
    finally:
        engine.close()
    return done.path


def problems_of(folder: Path) -> dict[str, str]:
    """Sums whose answer is 7, and tasks whose output is to be 1, or 2."""
    sums = [Problem(f"m{i}", "math", (user(f"say {i}"),), Answer("7"), "test") for i in range(8)]
    tasks = [
        Problem(f"t{i}", "code", (user(f"say {i}"),),
                Tests((StdioTest("", f"{1 + i % 2}\n"),)), "test")
        for i in range(8)
    ]  # fmt: skip
    found = {}
    for name, rows in (("math", sums), ("code", tasks)):
        path = folder / f"{name}.jsonl"
        write_rows(path, rows)
        found[name] = str(path)
    return found


def cascade_of(folder: Path) -> CascadeRLConfig:
    files = problems_of(folder)
    shared = {
        "total_training_steps": 2, "train_batch_size": 4, "rollout_n": 4, "learning_rate": 1e-4,
        "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 40, "max_prompt_tokens": 64,
        "modes": {"think": 0.0, "no_think": 0.0},
    }  # fmt: skip
    stages = [
        {"name": f"{domain}_rl", "domain": domain, "train_files": [files[domain]], **shared}
        for domain in ("math", "code")
    ]
    return CascadeRLConfig.model_validate(
        {
            "model": str(writes_programs(folder)),
            "engine": "verl",
            "stages": stages,
            "chat": CHAT.model_dump(),
            "verl": VERL.model_dump(),
            "cascade_checkpoint_dir": str(folder / "out"),
        }
    )


def test_a_cascade_hands_on_its_master_weights_and_judges_in_the_sandbox(tmp_path: Path) -> None:
    CascadedRLTrainer(cascade_config=cascade_of(tmp_path)).fit()
    records = [s for s in Run(tmp_path / "out").stages() if s.name != "start"]
    assert [s.name for s in records if s.done] == ["math_rl", "code_rl"]
    digests: dict[str, dict[str, str]] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        folder = next((tmp_path / "out" / "stages").glob(f"{record.name}-*"))
        events = read_lines(folder / "events.jsonl")
        digests[record.name] = {e["when"]: e["digest"] for e in events if e["kind"] == "params"}
        tables = sorted(folder.glob("rollouts/*.parquet"))
        rows[record.name] = [row for t in tables for row in pq.read_table(t).to_pylist()]
    math, code = digests["math_rl"], digests["code_rl"]
    assert code["start"] == math["end"] != math["start"]
    assert records[0].contract and records[0].contract["weights_digest"] == math["end"]
    assert {row["status"] for row in rows["math_rl"]} >= {"right", "wrong"}
    ran = [row for row in rows["code_rl"] if row["tier"]]
    assert len(ran) > 4 and {row["status"] for row in ran} >= {"right", "wrong"}


class Killing(Recording):
    """A workspace during whose second step a trainer process of the job is killed."""

    killed = 0

    def emit(self, event: Any) -> None:
        super().emit(event)
        if event["kind"] == "train" and event["step"] == 2 and not self.killed:
            self.killed = 1
            workers = [
                process
                for process in psutil.process_iter()
                if "WorkerDict" in process.name()
                and process.environ().get(PARENT) == str(os.getpid())  # of this job alone
            ]
            os.kill(workers[0].pid, signal.SIGKILL)


def apart(one: Checkpoint, other: Checkpoint) -> float:
    """The largest difference between the weights of two models."""
    ours, theirs = (load_file(c.path / "model.safetensors") for c in (one, other))
    assert ours.keys() == theirs.keys()
    return max(float((ours[n] - theirs[n]).abs().max()) for n in ours)


def steps_of(folder: Path) -> list[int]:
    events = read_lines(folder / "events.jsonl")
    return [e["step"] for e in events if e["kind"] == "train"]


def test_a_killed_worker_ends_in_a_retry_that_comes_to_the_same_weights(
    start: Checkpoint, tmp_path: Path
) -> None:
    """Optimizer, curriculum and random keys go on where the checkpoint left them."""
    workspace = Killing(tmp_path / "stage")
    verl = VERL.model_copy(update={"retries": 1, "heartbeat_s": 120.0})
    config = rl_stage(total_training_steps=5, save_every=1, learning_rate=1e-3)
    problems = comma_problems(12)
    done = VerlEngine().train(job_of(start, config, problems, verl=verl), workspace)
    assert workspace.killed and done.step == 5
    alarms = [e for e in workspace.events if e["kind"] == "alarm"]
    assert len(alarms) == 1 and "died" in alarms[0]["message"]
    assert steps_of(tmp_path / "stage") == [1, 2, 3, 4, 5]
    whole = VerlEngine().train(
        job_of(start, config, problems, verl=verl), Recording(tmp_path / "whole")
    )
    assert apart(done, whole) < 1e-5 < 1e-3 < apart(start, whole)
