from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
import torch

from cascade_rl.config import LoRAConfig, OptimizerConfig
from cascade_rl.engines.local import room
from cascade_rl.engines.local.model import load_model
from cascade_rl.engines.local.room import bytes_to_train, refuse_what_does_not_fit, weights_in
from cascade_rl.errors import ConfigError
from cascade_rl.types import Checkpoint
from tests.engines.helpers import CHAT, LOCAL, tiny_model

CPU = torch.device("cpu")


def test_weights_are_counted_from_the_headers(start: Checkpoint) -> None:
    module = load_model(start.path, CHAT, LOCAL).module
    assert weights_in(start.path) == sum(p.numel() for p in module.parameters())


def test_what_does_not_fit_is_refused_with_the_ways_out(
    start: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_what_does_not_fit(start.path, CPU, OptimizerConfig(), None)
    monkeypatch.setattr(room, "weights_in", lambda path: 70_000_000_000)
    with pytest.raises(ConfigError, match=r"1120\.0 GB to train.* GB free") as error:
        refuse_what_does_not_fit(start.path, CPU, OptimizerConfig(), None)
    assert "lora.rank" in (error.value.hint or "") and "moments=int8" in (error.value.hint or "")
    monkeypatch.setattr(room, "weights_in", lambda path: psutil.virtual_memory().available // 12)
    with pytest.raises(ConfigError):
        refuse_what_does_not_fit(start.path, CPU, OptimizerConfig(), None)
    refuse_what_does_not_fit(start.path, CPU, OptimizerConfig(moments="int8"), None)
    refuse_what_does_not_fit(start.path, CPU, OptimizerConfig(), LoRAConfig())


def test_gpus_share_what_one_could_not_hold(
    start: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "weights_in", lambda path: 8_190_000_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (79 << 30, 80 << 30))
    cuda = torch.device("cuda")
    with pytest.raises(ConfigError):
        refuse_what_does_not_fit(start.path, cuda, OptimizerConfig(), None, ranks=1)
    refuse_what_does_not_fit(start.path, cuda, OptimizerConfig(), None, ranks=8)


def test_less_is_counted_for_8_bits_and_for_lora() -> None:
    whole = bytes_to_train(1000, OptimizerConfig(), None)
    assert whole == 16_000
    assert bytes_to_train(1000, OptimizerConfig(moments="int8"), None) == 10_100
    assert bytes_to_train(1000, OptimizerConfig(), LoRAConfig()) == 8_000


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    start = tiny_model(tmp_path / "model")
    file = start.path / "tokenizer.json"
    values = json.loads(file.read_text())
    added = {**values["added_tokens"][0], "id": 5000, "content": "<|late|>"}
    values["added_tokens"].append(added)
    values["model"]["vocab"]["<|late|>"] = 5000
    file.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"1 tokens that the model has no embedding for.*5000"):
        load_model(start.path, CHAT, LOCAL)
