from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl import CascadedRLTrainer, CascadeRLConfig, StageConfig, trainer
from cascade_rl.config import ChatConfig
from cascade_rl.engines.local.model import load_tokenizer
from cascade_rl.errors import ConfigError
from cascade_rl.mini.model import build_model
from cascade_rl.sandbox.client import ZygoteSandbox
from cascade_rl.store import Run


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
