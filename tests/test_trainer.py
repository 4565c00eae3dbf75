from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cascade_rl import CascadedRLTrainer, CascadeRLConfig, StageConfig, trainer
from cascade_rl.config import ChatConfig
from cascade_rl.engines.local.model import load_tokenizer
from cascade_rl.errors import ConfigError
from cascade_rl.mini.model import build_model
from cascade_rl.sandbox.client import ZygoteSandbox
from cascade_rl.store import Run, Store


def config_of(folder: Path, domain: str = "math") -> CascadeRLConfig:
    stage = StageConfig(
        name="some_rl",
        domain=domain,
        train_files=(f"mini:{domain}/train",),
        total_training_steps=1,
        train_batch_size=2,
        rollout_n=2,
        max_new_tokens=8,
        max_prompt_tokens=128,
    )
    return CascadeRLConfig(
        stages=[stage],
        model=str(folder / "start"),
        chat=ChatConfig(system=None),
        cascade_checkpoint_dir=str(folder / "out"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build_model(tmp_path / "start", 0)
    return tmp_path


def test_the_documented_snippet_trains(folder: Path) -> None:
    config = config_of(folder)
    tokenizer = load_tokenizer(folder / "start", config.chat)
    final = CascadedRLTrainer(cascade_config=config, tokenizer=tokenizer).fit()
    assert (final.path / "model.safetensors").exists()
    assert [s.name for s in Run(folder / "out").stages() if s.done] == ["start", "some_rl"]


def test_a_tokenizer_of_another_vocabulary_is_refused(folder: Path) -> None:
    config = config_of(folder)
    tokenizer = load_tokenizer(folder / "start", config.chat)
    tokenizer.add_tokens(["<|one_more|>"])
    with pytest.raises(ConfigError, match="differs from that of"):
        CascadedRLTrainer(cascade_config=config, tokenizer=tokenizer).fit()


def test_code_stages_are_refused_where_only_limits_would_hold_a_program(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = ZygoteSandbox("T3")
    monkeypatch.setattr(trainer, "default_sandbox", lambda: weak)
    try:
        with pytest.raises(ConfigError, match="allow_unsafe_sandbox=true"):
            CascadedRLTrainer(cascade_config=config_of(folder, "code")).fit()
        trainer.refuse_weak_sandbox(config_of(folder, "math"))
    finally:
        weak.close()


def test_a_trainer_with_nowhere_to_write_says_how_to_name_a_place(folder: Path) -> None:
    config = config_of(folder).model_copy(update={"cascade_checkpoint_dir": None})
    with pytest.raises(ConfigError, match="cascade_checkpoint_dir"):
        CascadedRLTrainer(cascade_config=config)


@dataclass
class Pools:
    """As verl's ResourcePoolManager: processes of every node, by the pool's name."""

    resource_pool_spec: dict[str, list[int]]


def test_a_resource_pool_says_how_many_nodes_and_gpus_a_stage_on_verl_has(folder: Path) -> None:
    config = config_of(folder).model_copy(update={"engine": "verl"})
    made = CascadedRLTrainer(
        cascade_config=config,
        role_worker_mapping={"actor": object},
        resource_pool_manager=Pools({"global_pool": [4, 4]}),
    )
    assert (made.config.verl.nodes, made.config.verl.gpus_per_node) == (2, 4)
    assert CascadedRLTrainer(cascade_config=config).config == config
    local = config_of(folder)
    assert CascadedRLTrainer(local, None, {}, Pools({"a": [1], "b": [1]})).config == local


@pytest.mark.parametrize("spec", [{"a": [8], "b": [8]}, {"a": [8, 4]}, {}])
def test_pools_that_are_not_one_are_refused(folder: Path, spec: dict[str, list[int]]) -> None:
    config = config_of(folder).model_copy(update={"engine": "verl"})
    with pytest.raises(ConfigError, match="expected one pool"):
        CascadedRLTrainer(cascade_config=config, resource_pool_manager=Pools(spec))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of nothing, in a process that SIGTERM does not end."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with Store(tmp_path / "out") as found:
            yield found
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_for_a_save_and_the_second_stops_at_once(
    number: signal.Signals, store: Store
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(one) for one in numbers]
    with trainer.saving_on_interrupt(store):
        signal.raise_signal(number)
        assert store.stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert [signal.getsignal(one) for one in numbers] == before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_of_the_trainer_can_be_ended_from_outside(store: Store) -> None:
    ready, tell = os.pipe()
    with trainer.saving_on_interrupt(store):
        child = os.fork()
        if not child:
            os.write(tell, b"!")  # Python drops what arrives while it forks
            time.sleep(30)
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM
