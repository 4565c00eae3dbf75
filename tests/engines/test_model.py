from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cascade_rl.config import ChatConfig, LocalConfig
from cascade_rl.digests import weights_digest
from cascade_rl.engines.local.model import (
    FlatParameters,
    load_model,
    load_tokenizer,
    load_weights,
    params_digest,
    save_model,
    save_weights,
    trained_chat,
)
from cascade_rl.errors import CheckpointError, ConfigError
from cascade_rl.types import Checkpoint
from tests.engines.helpers import CHAT, LOCAL, tiny_model


@pytest.mark.parametrize("tied", [True, False])
def test_the_digest_in_memory_is_that_of_the_directory_saved(tmp_path: Path, tied: bool) -> None:
    start = tiny_model(tmp_path / "start", tied=tied)
    model = load_model(start.path, CHAT, LOCAL)
    assert params_digest(model.module) == start.weights_digest
    flat = torch.zeros(2, FlatParameters.size(model.module))
    FlatParameters(model.module, flat[0], flat[1], adopt=False)
    assert params_digest(model.module) == start.weights_digest
    flat[0][7] += 1.0
    save_model(model.module, model.tokenizer, CHAT, tmp_path / "saved")
    assert params_digest(model.module) == weights_digest(tmp_path / "saved")
    assert weights_digest(tmp_path / "saved") != start.weights_digest


def test_a_saved_directory_loads_equal_with_its_chat_settings(
    start: Checkpoint, tmp_path: Path
) -> None:
    model = load_model(start.path, CHAT, LOCAL)
    save_model(model.module, model.tokenizer, CHAT, tmp_path)
    again = load_model(tmp_path, trained_chat(tmp_path), LOCAL)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        assert torch.equal(again.module(ids).logits, model.module(ids).logits)
    assert trained_chat(tmp_path) == CHAT
    assert again.tokenizer.chat_template == model.tokenizer.chat_template


def test_weights_stored_in_bfloat16_become_float32_masters(
    start: Checkpoint, tmp_path: Path
) -> None:
    model = load_model(start.path, CHAT, LOCAL)
    model.module.to(torch.bfloat16).save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    again = load_model(tmp_path, CHAT, LOCAL)
    assert {p.dtype for p in again.module.parameters()} == {torch.float32}


def test_weights_alone_come_back_into_the_same_memory(start: Checkpoint, tmp_path: Path) -> None:
    model = load_model(start.path, CHAT, LOCAL)
    flat = torch.zeros(2, FlatParameters.size(model.module))
    FlatParameters(model.module, flat[0], flat[1], adopt=False)
    save_weights(model.module, tmp_path / "weights.safetensors")
    before = flat[0].clone()
    flat[0].zero_()
    load_weights(model.module, tmp_path / "weights.safetensors")
    assert torch.equal(flat[0], before)


def test_a_fresh_scalar_head_is_zero(start: Checkpoint) -> None:
    model = load_model(start.path, CHAT, LOCAL, "scalar")
    assert not model.module.score.weight.any()


def test_yarn_stretches_the_context(start: Checkpoint) -> None:
    assert load_model(start.path, CHAT, LOCAL, yarn_factor=2.0).context == 512


def test_a_directory_that_is_no_model_or_torn_is_refused(start: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_model(tmp_path, CHAT, LOCAL)
    torn = tiny_model(tmp_path / "torn").path
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read as a model"):
        load_model(torn, CHAT, LOCAL)


def test_a_tokenizer_without_chat_tokens_or_template_is_refused(tmp_path: Path) -> None:
    path = tiny_model(tmp_path).path
    with pytest.raises(ConfigError, match="without a chat template"):
        load_tokenizer(path, ChatConfig(template="own"))
    values = json.loads((path / "tokenizer.json").read_text())
    values["added_tokens"] = values["added_tokens"][:1]
    for token in ("<|im_start|>", "<|im_end|>"):
        del values["model"]["vocab"][token]
    (path / "tokenizer.json").write_text(json.dumps(values))
    (path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no special token"):
        load_tokenizer(path, CHAT)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_refused(start: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        load_model(start.path, CHAT, LocalConfig(device="cuda"))
