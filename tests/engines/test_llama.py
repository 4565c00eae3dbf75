"""What `llama` writes out is what transformers computes, for every family and kind of attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from cascade_rl.engines.local import decode, replica, sampler
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.llama import is_llama
from cascade_rl.engines.local.model import Model
from cascade_rl.engines.local.objectives import PolicyObjective
from cascade_rl.engines.local.sampler import Request, SamplingParams, generate, row_key

SHAPE = {
    "vocab_size": 200, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
    "num_attention_heads": 6, "max_position_embeddings": 256, "initializer_range": 0.2,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
        "rope_theta": 10000.0}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 10000.0}  # fmt: skip
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {"num_key_value_heads": 6}),
    "llama, biased": (LlamaConfig, LlamaForCausalLM,
                      {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True}),
    "llama 3": (LlamaConfig, LlamaForCausalLM,
                {"num_key_value_heads": 3, "rope_parameters": LLAMA3}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM,
              {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen2, yarn": (Qwen2Config, Qwen2ForCausalLM,
                    {"num_key_value_heads": 2, "rope_parameters": YARN}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"num_key_value_heads": 2, "head_dim": 16}),
    "mistral": (MistralConfig, MistralForCausalLM,
                {"num_key_value_heads": 2, "sliding_window": None}),
}  # fmt: skip


def build(name: str) -> Model:
    config, kind, values = FAMILIES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = kind(config(**SHAPE, **values)).eval()
        with torch.no_grad():  # biases and norms start as zeros and ones, which would hide a slip
            for parameter in module.parameters():
                if parameter.dim() == 1:
                    parameter += 0.2 * torch.randn_like(parameter)
    return Model(module, None, torch.device("cpu"), torch.float32)


def rows(groups: int = 4, each: int = 3) -> list[Row]:
    rng = np.random.default_rng(0)
    found = []
    for group in range(groups):
        prompt = tuple(rng.integers(3, 200, size=int(rng.integers(1, 30))).tolist())
        for _ in range(each):
            count = int(rng.integers(1, 40))
            weights = np.where(rng.random(count) < 0.8, 0.01, 0.0).astype(np.float32)
            weights[-1] = 0.01
            ids = tuple(rng.integers(3, 200, size=count).tolist())
            found.append(Row(prompt, ids, weights, group, float(rng.normal())))
    return found


def gradient(model: Model, batch: list[Row], shared: bool, budget: int = 4096) -> torch.Tensor:
    model.module.zero_grad()
    objective = PolicyObjective(temperature=0.7, entropy_coef=0.02)
    replica.accumulate(model, batch, objective, budget, shared)
    return torch.cat([p.grad.flatten() for p in model.module.parameters()])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_log_probabilities_of_transformers(name: str) -> None:
    model, batch = build(name), rows()
    assert is_llama(model.module)
    for shared in (True, False):
        found = replica.logprobs_of(model, batch, 0.7, 500, shared)
        for row, line in zip(batch, found, strict=True):
            with torch.no_grad():
                logits = model.module(torch.tensor([(*row.prompt_ids, *row.ids)])).logits[0]
            full = torch.log_softmax(logits[len(row.prompt_ids) - 1 : -1] / 0.7, dim=-1)
            expected = full[torch.arange(len(row.ids)), torch.tensor(row.ids)].numpy()
            weighted = row.weights_T != 0
            np.testing.assert_allclose(line[weighted], expected[weighted], atol=2e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_packed_batch_has_the_gradient_of_padded_rows(name: str) -> None:
    model, batch = build(name), rows()
    packed = [gradient(model, batch, shared) for shared in (True, False)]
    cut = [gradient(model, batch, True, budget) for budget in (300, 120)]
    padded = gradient(replace(model, padded=True), batch, False)
    for found in (*packed, *cut):
        torch.testing.assert_close(found, padded, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("temperature", "top_p", "top_k"), [(1.0, 1.0, 0), (0.6, 0.95, 20)])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_samplers_log_probabilities_are_the_learners(
    name: str,
    compiled: bool,
    temperature: float,
    top_p: float,
    top_k: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if compiled and decode.kernel() is None:
        pytest.skip("the kernel was not built: no C compiler")
    if not compiled:
        monkeypatch.setattr(decode, "kernel", lambda: None)
        monkeypatch.setattr(sampler, "kernel", lambda: None)
    model, params = build(name), SamplingParams(temperature, top_p, top_k, 90)
    rng = np.random.default_rng(1)
    prompts = [tuple(rng.integers(3, 200, size=size).tolist()) for size in (2, 9, 30, 5, 17)]
    asked = [Request(p, tuple(row_key(i, j) for j in range(3))) for i, p in enumerate(prompts)]
    found = list(generate(model, asked, params, (2, 3, 4), 6))
    assert {(g.request, g.sample) for g in found} == {(i, j) for i in range(5) for j in range(3)}
    batch = [
        Row(asked[g.request].prompt_ids, g.ids, np.ones(len(g.ids), np.float32), g.request)
        for g in found
    ]
    learned = replica.logprobs_of(model, batch, params.temperature, 4096, True)
    for generated, line in zip(found, learned, strict=True):
        np.testing.assert_allclose(np.array(generated.logprobs), line, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("mistral", {"sliding_window": 16}), ("llama", {"hidden_act": "gelu"}),
     ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}})],
)  # fmt: skip
def test_what_is_not_written_out_runs_through_transformers(
    kind: str, values: dict[str, Any]
) -> None:
    config, make, usual = FAMILIES[kind]
    module = make(config(**{**SHAPE, **usual, **values}))
    assert not is_llama(module)
