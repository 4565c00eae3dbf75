"""A cascade on verl that learns: math, then code, each better than before by a paired interval."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cascade_rl import CascadedRLTrainer, CascadeRLConfig
from cascade_rl.cli import status_of
from cascade_rl.config import VerlConfig
from cascade_rl.presets.mini import mini
from cascade_rl.store import Run
from tests.engines.verl.warm_start import warm_start

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1500)]
DOMAINS = ("math", "code")
STEPS = 20
PROMPTS = 16
"""Of a batch; mini has 24."""
PROBLEMS = 96
CASCADE_S = 480.0
OWN_S = 10.0
VERL = VerlConfig(
    platform="cpu", gpus_per_node=2, verifier_workers=1, heartbeat_s=240.0, retries=0,
    gradient_checkpointing=False, sample_batch=256,
)  # fmt: skip


def cascade_of(start: Path, engine: str, steps: int, problems: int) -> CascadeRLConfig:
    """Mini's math and code stages with mini's own settings, but shorter and a third smaller."""
    config = mini()
    shown = [b for b in config.benchmarks if b.name in DOMAINS]
    return CascadeRLConfig(
        name="ci",
        model=str(start),
        engine=engine,  # type: ignore[arg-type]
        stages=tuple(
            config.stage(f"{domain}_rl").model_copy(
                update={"total_training_steps": steps, "train_batch_size": PROMPTS}
            )
            for domain in DOMAINS
        ),
        benchmarks=tuple(b.model_copy(update={"limit": problems}) for b in shown),
        chat=config.chat,
        local=config.local,
        verl=VERL,
    )


@dataclass
class Clock:
    """Seconds of each stage's training, and of verl's processes in it."""

    training: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, float] = field(default_factory=dict)

    def __call__(self, stage: str, event: Any) -> None:
        if event["kind"] in ("training/start", "training/end"):
            self.training[stage] = event["time"] - self.training.get(stage, 0.0)
        elif event["kind"] == "job":
            self.jobs[stage] = self.jobs.get(stage, 0.0) + event["seconds"]


Said = Callable[..., str]


@pytest.fixture
def cascade(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command of `cascade` and returns what it printed."""

    def run(*words: object) -> str:
        capsys.readouterr()
        assert status_of([str(word) for word in words]) == 0
        return capsys.readouterr().out

    return run


def test_two_stages_on_verl_raise_their_own_benchmarks(
    tmp_path: Path, cascade: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two ranks, programs judged in the sandbox by verl's reward workers; under eight minutes.

    The start model is made beforehand and kept (`warm_start`).
    """
    start, clock = warm_start(), Clock()
    output, began = tmp_path / "verl", time.monotonic()
    config = cascade_of(start, "verl", STEPS, PROBLEMS)
    CascadedRLTrainer(config, output=output, listeners=[clock]).fit()
    whole = time.monotonic() - began
    own = {name: clock.training[name] - clock.jobs[name] for name in clock.jobs}
    ledger = json.loads(cascade("ledger", output, "--json"))
    with capsys.disabled():
        show(whole, clock, own, ledger)

    hands_on_its_weights(output)
    judged_in_the_sandbox(output)
    for domain, row in zip(DOMAINS, ledger["stages"][1:], strict=True):
        score = row["scores"][domain]
        assert row["name"] == f"{domain}_rl" and score["n"] == PROBLEMS and score["low"] > 0.0
    assert set(own) == {"math_rl", "code_rl"} and max(own.values()) < OWN_S
    looks_as_on_the_local_engine(start, output, ledger, cascade, tmp_path / "local")
    assert whole < CASCADE_S


def looks_as_on_the_local_engine(
    start: Path, output: Path, ledger: Any, cascade: Said, local: Path
) -> None:
    CascadedRLTrainer(cascade_of(start, "local", 2, 8), output=local).fit()
    assert shape(json.loads(cascade("ledger", local, "--json"))) == shape(ledger)
    outlines = []
    for folder in (output, local):
        cascade("report", folder)
        outlines.append(outline((folder / "report.html").read_text()))
    assert outlines[0] == outlines[1] and "Reward" in outlines[0]


def hands_on_its_weights(output: Path) -> None:
    run = Run(output)
    stages = run.stages()[1:]
    ended = run.start_digest()
    for stage in stages:
        digests = {e["when"]: e["digest"] for e in run.events(stage) if e["kind"] == "params"}
        assert stage.contract and digests["end"] == stage.contract["weights_digest"]
        assert digests["start"] == ended != digests["end"]
        ended = digests["end"]


def judged_in_the_sandbox(output: Path) -> None:
    (code,) = (output / "stages").glob("code_rl-*")
    tables = [pq.read_table(path).to_pylist() for path in sorted(code.glob("rollouts/*.parquet"))]
    ran = [row for table in tables for row in table if row["tier"]]
    assert len(ran) > 100 and {row["status"] for row in ran} >= {"right", "wrong"}


def shape(value: Any) -> Any:
    """Keys and kinds of what a program would read; a number and its absence are one kind."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "text" if isinstance(value, str) else "number"


def outline(page: str) -> list[str]:
    """Sections, titles and charts of a report, in order."""
    titles = r'<section id="(.*?)">|<h[123]>(.*?)</h[123]>|<figcaption>(.*?)</figcaption>'
    return ["".join(found) for found in re.findall(titles, page)]


def show(whole: float, clock: Clock, own: Any, ledger: Any) -> None:
    """The figures, for whoever reads what the tests print."""
    lines = [f"two stages and three evaluations: {whole:.0f} s"]
    for name, seconds in clock.training.items():
        lines.append(f"{name}: {seconds:.1f} s, of them ours {own[name]:.2f}")
    for row in ledger["stages"]:
        for domain, score in row["scores"].items():
            change = "" if score["change"] is None else (
                f" {score['change']:+.3f} [{score['low']:+.3f}, {score['high']:+.3f}]"
            )  # fmt: skip
            lines.append(f"{row['name']} {domain}: {score['mean']:.3f}{change}")
    print("\n" + "\n".join(lines), flush=True)
