"""Every kind of stage, three steps and more, on both engines from one file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from cascade_rl.cli.run import run
from cascade_rl.data.rows import write_rows
from cascade_rl.digests import weights_digest
from cascade_rl.engines.base import StageJob
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.store import Store
from cascade_rl.store.files import read_lines
from cascade_rl.types import (
    Answer,
    Checkpoint,
    Constraints,
    Conversation,
    Message,
    Pair,
    Patch,
    Preference,
    Problem,
    Row,
)
from tests.engines.helpers import CHAT, Recording, job_of, sft_stage, tiny_model, user
from tests.engines.verl.helpers import VERL, apart, of_verl

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1800)]

SEVEN, EIGHT, COMMA = "\\boxed{7}", "\\boxed{8}", "so, no"
EDIT = "### a\n<<<<<<< SEARCH\nx = 1\n=======\nx = {}\n>>>>>>> REPLACE"
GOLDEN = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
WORDS = {"sum": (SEVEN, EIGHT, f"{EIGHT} or so"), "obey": (SEVEN, COMMA), "chat": (SEVEN, COMMA),
         "fix": (EDIT.format(2), EDIT.format(20))}  # fmt: skip
"""What the start model has learnt to answer, one as often as the other. One sum is too long."""

STEPS = {
    "sft": 4,
    "preferences": 3,
    "judge": 3,
    "rlhf": 3,
    "if_rl": 3,
    "math_rl.a": 3,
    "math_rl.b": 3,
    "swe_rl": 3,
}


def ask(word: str, count: int) -> list[tuple[Message, ...]]:
    return [(user(f"{word} {i}"),) for i in range(count)]


def able_model(folder: Path) -> Path:
    """A start model that gives each of a prompt's answers about as often."""
    rows: list[Row] = [
        Conversation(f"{word}{i}{j}", (*prompt, Message("assistant", answer)), "test")
        for word, answers in WORDS.items()
        for i, prompt in enumerate(ask(word, 4))
        for j, answer in enumerate(answers)
    ]
    stage = sft_stage(total_training_steps=200, train_batch_size=16, learning_rate=5e-3)
    engine = LocalEngine()
    start = tiny_model(folder / "tiny", context=512)
    try:
        return engine.train(job_of(start, stage, rows), Recording(folder / "able")).path
    finally:
        engine.close()


def write(folder: Path, name: str, rows: Sequence[Row]) -> list[str]:
    write_rows(folder / f"{name}.jsonl", rows)
    return [str(folder / f"{name}.jsonl")]


def problems(word: str, domain: Any, reference: Any, count: int = 8) -> list[Problem]:
    return [
        Problem(f"{word}{i}", domain, prompt, reference, "test")
        for i, prompt in enumerate(ask(word, count))
    ]


def cascade_file(folder: Path) -> Path:
    """The cascade of a paper, small: SFT, two models that judge, five RL stages."""
    tell = [
        Conversation(f"t{i}", (*prompt, Message("assistant", "ab" * (1 + i % 4))), "test")
        for i, prompt in enumerate(ask("tell", 12))
    ]
    prefer = [Pair(f"p{i}", p, SEVEN, COMMA, "test") for i, p in enumerate(ask("prefer", 8))]
    patch = Patch({"a": "x = 1\n"}, GOLDEN, ("a",), "either", "x is 2")
    commas = Constraints(("punctuation:no_comma",), ({},))
    shared = {
        "total_training_steps": 3, "train_batch_size": 4, "learning_rate": 1e-3, "save_every": 2,
        "optimizer": {"warmup_steps": 2},
    }  # fmt: skip
    supervised = {**shared, "max_tokens": 512}
    rl = {
        **shared, "learning_rate": 3e-4, "parent": "sft", "rollout_n": 4, "temperature": 1.0,
        "top_p": 1.0, "max_new_tokens": 24, "max_prompt_tokens": 64,
        "modes": {"think": 0.0, "no_think": 0.0},
    }  # fmt: skip
    math_rows = write(folder, "math", problems("sum", "math", Answer("7")))
    stages = [
        {**supervised, "name": "sft", "kind": "sft", "total_training_steps": 4,
         "eval_every": 2, "train_files": write(folder, "sft", tell)},
        {**supervised, "name": "preferences", "kind": "reward_model", "parent": "sft",
         "train_files": write(folder, "pairs", prefer)},
        {**supervised, "name": "judge", "kind": "sft", "role": "judge", "parent": "sft",
         "train_files": write(folder, "judge", tell[:8])},
        {**rl, "name": "rlhf", "domain": "chat", "inputs": {"reward_model": "preferences"},
         "train_files": write(folder, "chat", problems("chat", "chat", Preference()))},
        {**rl, "name": "if_rl", "domain": "instruction_following",
         "reward": {"kind": "gated_if"}, "inputs": {"reward_model": "preferences"},
         "train_files": write(folder, "if", problems("obey", "instruction_following", commas))},
        {**rl, "name": "math_rl/a", "domain": "math", "train_files": math_rows,
         "max_new_tokens": 10, "overlong": "mask_loss", "eval_every": 2,
         "filter": {"kind": "batch", "max_rounds": 3}},
        {**rl, "name": "math_rl/b", "domain": "math", "train_files": math_rows,
         "parent": "math_rl/a", "max_new_tokens": 10, "overlong": "exclude",
         "filter": {"kind": "batch", "max_rounds": 1}},
        {**rl, "name": "swe_rl", "domain": "swe", "inputs": {"judge": "judge"},
         "max_new_tokens": 72, "train_files": write(folder, "swe", problems("fix", "swe", patch))},
    ]  # fmt: skip
    benchmark = {"name": "sums", "file": write(folder, "val", problems("total", "math",
                 Answer("7"), 4))[0], "k": 1, "max_new_tokens": 10}  # fmt: skip
    values = {
        "model": str(able_model(folder)),
        "chat": CHAT.model_dump(),
        "stages": stages,
        "benchmarks": [benchmark],
        "local": {"device": "cpu", "dtype": "float32"},
        "verl": VERL.model_dump(mode="json"),
    }
    path = folder / "cascade.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


class Runs:
    """The finished output directories of both engines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = folder / "cascade.yaml"
        if not file.exists():
            cascade_file(folder)
        for engine in ("local", "verl"):
            if not (folder / engine / "report.html").exists():
                assert run(str(file), output=folder / engine, engine=engine) == 0

    def stage(self, engine: str, name: str) -> Path:
        (found,) = (self.folder / engine / "stages").glob(f"{name}-????????????")
        return found

    def events(self, engine: str, name: str, kind: str) -> list[dict[str, Any]]:
        lines = read_lines(self.stage(engine, name) / "events.jsonl")
        return [line for line in lines if line["kind"] == kind]

    def rollouts(self, engine: str, name: str, step: int) -> list[dict[str, Any]]:
        path = self.stage(engine, name) / "rollouts" / f"step-{step:06d}.parquet"
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found

    def model(self, engine: str, name: str) -> Checkpoint:
        path = self.stage(engine, name) / "model"
        return Checkpoint(name, 0, path, weights_digest(path))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    given = os.environ.get(
        "CASCADE_TEST_DOMAINS"
    )  # a directory to go on in, for whoever works here
    folder = Path(given) if given else tmp_path_factory.mktemp("domains")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "job", with_a_key_for_both)
        return Runs(folder)


def with_a_key_for_both(self: Store, *given: Any) -> StageJob:
    """A stage's key says its engine, and keys its random numbers: here they are to be the same."""
    job = JOB(self, *given)
    return replace(job, key=job.config.name)


JOB = Store.job


@pytest.mark.parametrize("name", STEPS)
def test_a_stage_of_every_kind_trains_and_hands_over_what_it_trained(name: str, runs: Runs) -> None:
    steps = runs.events("verl", name, "train")
    assert [e["step"] for e in steps] == list(range(1, STEPS[name] + 1))
    assert all(math.isfinite(e["loss"]) and math.isfinite(e["grad_norm"]) for e in steps)
    digests = {e["when"]: e["digest"] for e in runs.events("verl", name, "params")}
    contract = json.loads((runs.stage("verl", name) / "stage.json").read_text())
    assert contract["weights_digest"] == digests["end"] != digests["start"]
    assert contract["engine"] == "verl" and contract["step"] == STEPS[name]
    if name not in ("sft", "preferences"):
        parent = "math_rl.a" if name == "math_rl.b" else "sft"
        assert digests["start"] == runs.model("verl", parent).weights_digest
    assert of_verl() == set()


@pytest.mark.parametrize("name", STEPS)
def test_a_stage_of_every_kind_ends_where_the_local_engine_does(name: str, runs: Runs) -> None:
    one, other = runs.model("local", name), runs.model("verl", name)
    if name != "preferences":  # its head is new
        start = runs.model("local", "sft") if name != "sft" else None
        path = runs.folder / "able" / "model"
        assert apart(one, start or Checkpoint("start", 0, path, "")) > 1e-4
    assert apart(one, other) < 1e-5
    here, there = (runs.events(engine, name, "train") for engine in ("local", "verl"))
    for key in ("loss", "grad_norm", "learning_rate", "tokens"):
        assert [e[key] for e in there] == pytest.approx([e[key] for e in here], rel=1e-3, abs=1e-5)


SCORED = {"rlhf": "preference", "if_rl": "preference", "swe_rl": "judge"}


@pytest.mark.parametrize("name", SCORED)
def test_reward_model_and_judge_give_the_scores_of_the_local_engine(name: str, runs: Runs) -> None:
    for step in (1, 3):
        here, there = (runs.rollouts(engine, name, step) for engine in ("local", "verl"))
        assert [r["completion"] for r in here] == [r["completion"] for r in there]
        scored = [r[SCORED[name]] for r in here if r[SCORED[name]] is not None]
        assert len({f"{score:.3g}" for score in scored}) > 2  # those of the judge are all small
        for ours, theirs in zip(here, there, strict=True):
            one, other = ours[SCORED[name]], theirs[SCORED[name]]
            assert one == other or other == pytest.approx(one, rel=1e-3)
            for key in ("reward", "advantage"):
                assert theirs[key] == pytest.approx(ours[key], abs=1e-3)


@pytest.mark.parametrize("name", ["math_rl.a", "math_rl.b"])
def test_rounds_admit_groups_of_mixed_outcome_in_the_order_they_were_drawn(
    name: str, runs: Runs
) -> None:
    """As many rounds as fill the batch, or one round and a smaller batch."""
    here, there = (runs.events(engine, name, "train") for engine in ("local", "verl"))
    for key in ("rounds", "admitted", "sampled_groups", "truncation_ratio"):
        assert [e[key] for e in there] == [e[key] for e in here]
    more = name == "math_rl.a"
    assert any(e["rounds"] > 1 if more else 0 < e["admitted"] < 4 for e in there)
    found: list[dict[str, Any]] = []
    for step in (1, 2, 3):
        one, other = (runs.rollouts(engine, name, step) for engine in ("local", "verl"))
        assert [(r["problem_id"], r["completion"], r["learns"]) for r in one] == [
            (r["problem_id"], r["completion"], r["learns"]) for r in other
        ]
        found += other
    assert any(r["finish"] == "length" for r in found)


@pytest.mark.parametrize("name", ["if_rl", "math_rl.a", "math_rl.b", "swe_rl"])
def test_verdicts_are_journaled_as_by_the_local_engine(name: str, runs: Runs) -> None:
    here, there = (
        {line["key"]: line["verdict"]["status"]
         for line in read_lines(runs.stage(engine, name) / "verdicts.jsonl")}
        for engine in ("local", "verl")
    )  # fmt: skip
    assert here == there and here


@pytest.mark.parametrize("name", ["sft", "math_rl.a"])
def test_midway_the_benchmarks_are_run_on_the_weights_of_the_step(name: str, runs: Runs) -> None:
    found = [
        list((runs.stage(engine, name) / "evaluations").glob("step-000002/sums-*.jsonl"))
        for engine in ("local", "verl")
    ]
    here, there = (read_lines(files[0]) for files in found)
    assert here[0]["weights_digest"] != there[0]["weights_digest"]  # by a rounding
    assert [line["text"] for line in there[1:]] == [line["text"] for line in here[1:]]
