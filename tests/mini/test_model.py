"""The start model: an ordinary directory, deterministic, with a tokenizer that fits the rows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from cascade_rl import chat, mini
from cascade_rl.mini.model import PAIRED, build_model
from cascade_rl.types import Problem


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mini") / "model"
    build_model(path, 0)
    return path


def weights(path: Path) -> str:
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()


def test_the_same_seed_builds_the_same_bytes_and_another_does_not(
    built: Path, tmp_path: Path
) -> None:
    build_model(tmp_path / "again", 0)
    build_model(tmp_path / "other", 1)
    assert weights(tmp_path / "again") == weights(built)
    assert weights(tmp_path / "other") != weights(built)
    names = ("again", "other")
    tokenizers = {(tmp_path / name / "tokenizer.json").read_bytes() for name in names}
    assert tokenizers == {(built / "tokenizer.json").read_bytes()}


def test_digits_are_single_tokens_and_think_tags_too(built: Path) -> None:
    tokenizer = chat.HFTokenizer(PreTrainedTokenizerFast.from_pretrained(built))
    assert len(tokenizer.encode_plain("2026")) == 4
    assert len(tokenizer.encode_plain("<think></think>")) == 2


def test_every_prompt_fits_in_256_tokens(built: Path) -> None:
    tokenizer = chat.HFTokenizer(PreTrainedTokenizerFast.from_pretrained(built))
    for domain in mini.DOMAINS:
        for row in mini.rows(f"{domain}/test", 0):
            assert isinstance(row, Problem)
            rendered = chat.render(
                tokenizer, row.prompt, add_generation_prompt=True, mode="think", system=None
            )
            assert len(rendered.ids) <= 256


def test_a_fresh_model_looks_for_what_followed_the_last_token_before(built: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(built, attn_implementation="eager")
    ids = torch.tensor([[600, 610, 620, 630, 640, 610]])
    with torch.no_grad():
        attentions = model(ids, output_attentions=True).attentions[1][0]
    paired_T = attentions[:PAIRED, -1].mean(0)
    assert int(paired_T.argmax()) == 2, paired_T  # 620 stood after 610
