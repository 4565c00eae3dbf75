from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.config import CascadeRLConfig
from cascade_rl.configfile import parse_config
from cascade_rl.errors import CheckpointError, ConfigError, GateFailed, OutputError
from cascade_rl.evaluation.ledger import Ledger, build_ledger
from cascade_rl.loop import run_cascade
from cascade_rl.plan import make_plan
from cascade_rl.store import Run, Store
from tests.support import ArithmeticEngine, make_config, make_model

Probe = Callable[[str], None]


class Crash(BaseException):
    """Nobody catches this: the next thing that happens is the next run."""


def run(
    config: CascadeRLConfig, output: Path, probe: Probe = lambda name: None, only: Any = ()
) -> ArithmeticEngine:
    engine = ArithmeticEngine(probe)
    with Store(output) as store:
        run_cascade(config, store, {"local": engine}, only)
    return engine


def outcome(output: Path) -> tuple[list[str], Ledger]:
    reading = Run(output)
    digests = [str((s.contract or {}).get("weights_digest")) for s in reading.stages()]
    return digests, build_ledger(reading.scores())


def test_each_stage_starts_from_where_its_parent_ended(tmp_path: Path) -> None:
    run(make_config(tmp_path), tmp_path / "out")
    start, first, second = Run(tmp_path / "out").stages()
    assert first.contract and second.contract
    assert second.contract["edges"]["parent"] == first.contract["weights_digest"]
    assert second.parent == first.key and first.parent == start.key


def test_the_same_command_again_trains_nothing(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert run(config, tmp_path / "out").trained == ["math_rl", "code_rl"]
    assert run(config, tmp_path / "out").trained == []


def test_a_changed_stage_is_trained_again_and_its_prefix_is_reused(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    run(config, tmp_path / "out")
    other = parse_config(config.model_dump(), ["code_rl.learning_rate=0.5"])
    assert run(other, tmp_path / "out").trained == ["code_rl"]


def test_crashed_at_every_single_point_and_started_again_it_ends_the_same(tmp_path: Path) -> None:
    config = make_config(
        tmp_path, benchmarks=[{"name": "m", "file": "val.jsonl", "k": 1, "limit": 3}]
    )
    run(config, tmp_path / "whole")
    expected = outcome(tmp_path / "whole")
    crashes = 0
    for point in itertools.count():
        output = tmp_path / f"crash-{point}"
        calls = iter(range(point + 1))

        def probe(name: str, calls: Iterator[int] = calls) -> None:
            if next(calls, None) is None:
                raise Crash(name)

        try:
            run(config, output, probe)
        except Crash:
            crashes += 1
            run(config, output)
            assert outcome(output) == expected
            shutil.rmtree(output)
            continue
        break
    assert crashes > 30


def test_after_a_rewind_no_event_is_there_twice(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    steps = iter(range(5))

    def probe(name: str) -> None:
        if name == "step" and next(steps, None) is None:
            raise Crash

    with pytest.raises(Crash):
        run(config, output, probe)
    run(config, output)
    stage = Run(output).stages()[1]
    assert [e["step"] for e in Run(output).events(stage)] == [1, 2, 3, 4, 5, 6]


def test_an_interrupt_saves_and_the_same_command_goes_on_from_there(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    with Store(output) as store:
        engine = ArithmeticEngine(lambda name: store.stop.set() if name == "step" else None)
        with pytest.raises(KeyboardInterrupt):
            run_cascade(config, store, {"local": engine})
    assert run(config, output).trained == ["code_rl"]  # math_rl went on from its saved step


def test_a_directory_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a cascade's output"):
        run(config, output)
    assert (output / "thesis.txt").read_text() == "mine"


def test_a_directory_in_use_is_refused_with_its_holder(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    with Store(output), pytest.raises(OutputError, match=r"is in use by .*process"):
        run(config, output)
    run(config, output)


def test_a_truncated_training_checkpoint_is_named_and_never_restarted_in_silence(
    tmp_path: Path,
) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    calls = iter(range(5))

    def probe(name: str) -> None:
        if name == "step" and next(calls, None) is None:
            raise Crash

    with pytest.raises(Crash):
        run(config, output, probe)
    [file] = output.glob("stages/math_rl-*/checkpoints/step-000004/model.safetensors")
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="is truncated") as error:
        run(config, output)
    assert "--resume math_rl" in str(error.value)
    shutil.rmtree(file.parent)
    run(config, output)  # the checkpoint before it is still there


def test_a_damaged_finished_model_stops_the_run_and_touches_nothing(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    run(config, output)
    [file] = output.glob("stages/math_rl-*/model/model.safetensors")
    file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is truncated: 0 bytes"):
        run(config, output)


def test_a_start_model_that_changed_gives_other_keys_and_trains_anew(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    run(config, output)
    shutil.rmtree(tmp_path / "start")
    make_model(tmp_path / "start", 0.3)
    assert run(config, output).trained == ["math_rl", "code_rl"]


def test_selected_stages_need_their_parents_finished(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    with pytest.raises(ConfigError, match="needs math_rl, which is not finished"):
        run(config, output, only=["code_rl"])
    assert run(config, output, only=["math_rl"]).trained == ["math_rl"]
    assert run(config, output, only=["code_rl"]).trained == ["code_rl"]


def falling(action: str) -> tuple[dict[str, Any], ...]:
    drop = {"gate": {"max_drop": 0.05, "action": action}, "learning_rate": 0.01}
    return (
        {"name": "math_rl", "learning_rate": 0.1},
        {**drop, "name": "bad_rl"},
        {"name": "code_rl"},
    )


class FallingEngine(ArithmeticEngine):
    """Unlearns in the stage called bad_rl."""

    def train(self, job: Any, workspace: Any) -> Any:
        if job.config.name == "bad_rl":
            down = job.config.model_copy(update={"learning_rate": -0.1})
            job = type(job)(**{f: getattr(job, f) for f in job.__slots__} | {"config": down})
        return super().train(job, workspace)


def test_a_gate_that_stops_keeps_the_stage_and_says_what_fell(tmp_path: Path) -> None:
    config = make_config(tmp_path, *falling("stop"))
    with Store(tmp_path / "out") as store, pytest.raises(GateFailed, match="math fell by"):
        run_cascade(config, store, {"local": FallingEngine()})


def test_a_gate_that_rolls_back_goes_on_from_the_stages_parent(tmp_path: Path) -> None:
    config, engine = make_config(tmp_path, *falling("rollback")), FallingEngine()
    with Store(tmp_path / "out") as store:
        run_cascade(config, store, {"local": engine})
        assert engine.trained == ["math_rl", "bad_rl", "code_rl"]
        names = [s.name for s in Run(tmp_path / "out").stages()]
        assert names == ["start", "math_rl", "code_rl"]
        again = FallingEngine()
        run_cascade(config, store, {"local": again})
        assert again.trained == []


def test_replaced_stages_are_kept_aside_with_their_dependents(tmp_path: Path) -> None:
    config, output = make_config(tmp_path), tmp_path / "out"
    run(config, output)
    with Store(output) as store:
        plan = make_plan(config)
        moved = store.replace(plan.dependents({"math_rl"}))
    assert moved and len(list(moved.iterdir())) == 2
    assert run(config, output).trained == ["math_rl", "code_rl"]
