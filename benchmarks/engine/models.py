"""Start models of the sizes that are compared: random weights, warmed up until they end answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from cascade_rl import mini
from cascade_rl.config import ChatConfig, LocalConfig, OptimizerConfig, SFTStageConfig
from cascade_rl.digests import weights_digest
from cascade_rl.engines.base import StageJob
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.model import load_tokenizer
from cascade_rl.engines.local.sft import train_sft
from cascade_rl.engines.local.workers import Team
from cascade_rl.mini.model import VOCABULARY, train_tokenizer
from cascade_rl.store.workspace import StageWorkspace
from cascade_rl.types import Checkpoint, Conversation, Problem

CHAT = ChatConfig(system=None)
SHAPES = {
    "1M": {"hidden_size": 160, "num_hidden_layers": 3, "num_attention_heads": 5,
           "num_key_value_heads": 1, "intermediate_size": 512},
    "10M": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6,
            "num_key_value_heads": 1, "intermediate_size": 1024},
    "1M-mha": {"hidden_size": 160, "num_hidden_layers": 3, "num_attention_heads": 5,
               "num_key_value_heads": 5, "intermediate_size": 432},
    "0.5B": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936},
}  # fmt: skip
"""Heads share keys about as Qwen2's 0.5B does, but in `1M-mha`. Of that 0.5B the vocabulary is the
model's alone: the tokenizer stays small."""
CONTEXT = 2048
WARM_STEPS = 60


def build(size: str, path: Path, *, warm: bool) -> Path:
    """Write a model of that size, and with `warm` teach it to answer in a dozen words and stop."""
    tokenizer = train_tokenizer()
    shape = {"vocab_size": VOCABULARY, **SHAPES[size]}
    config = Qwen2Config(
        **shape,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return _warmed(path) if warm else path


def parameters(size: str) -> int:
    """Weights of that size, the tied head once: those that a token is multiplied with."""
    return sum(parameter.numel() for parameter in _empty(size).parameters())


def matrices(size: str) -> list[tuple[int, int]]:
    """Shapes [out, in] of the weights that a token is multiplied with, in one product each."""
    model = _empty(size)
    attention, mlp = model.model.layers[0].self_attn, model.model.layers[0].mlp
    parts = ((attention.q_proj, attention.k_proj, attention.v_proj), (attention.o_proj,),
             (mlp.gate_proj, mlp.up_proj), (mlp.down_proj,))  # fmt: skip
    layer = [(sum(p.out_features for p in some), some[0].in_features) for some in parts]
    head = (model.lm_head.out_features, model.lm_head.in_features)
    return [*layer * len(model.model.layers), head]


def _empty(size: str) -> Qwen2ForCausalLM:
    """A model of that size without memory for its weights."""
    shape = {"vocab_size": VOCABULARY, **SHAPES[size]}
    with torch.device("meta"):
        return Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=True))


def _warmed(path: Path) -> Path:
    rows = [row for row in mini.rows("sft/1", 0) if isinstance(row, Conversation)]
    short = [row for row in rows if row.messages[0].content.startswith("Write")]
    config = SFTStageConfig(
        name="sft",
        train_files=("rows.jsonl",),
        total_training_steps=WARM_STEPS,
        train_batch_size=16,
        learning_rate=2e-3,
        optimizer=OptimizerConfig(warmup_steps=10, schedule="linear"),
        save_every=10**6,
    )
    local = LocalConfig(device="cpu")
    start = Checkpoint("start", 0, path, weights_digest(path))
    with tempfile.TemporaryDirectory() as folder:
        job = StageJob("key", config, short, start, None, {}, 0, CHAT, local)
        train_sft(Team(local), job, StageWorkspace(Path(folder), "sft", "key"))
        (Path(folder) / "model").rename(path.with_name(path.name + "-warm"))
    return path.with_name(path.name + "-warm")


def prompts(path: Path, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What users say, and the same as the chat template renders it."""
    tokenizer = load_tokenizer(path, CHAT)
    encoder = Encoder(tokenizer, CHAT)
    rows = [row for row in mini.rows("instruction_following/train", 0) if isinstance(row, Problem)]
    texts = tuple(row.prompt[0].content for row in rows[:count])
    rendered = tuple(tokenizer.decode(encoder.prompt(row.prompt, None)) for row in rows[:count])
    return texts, rendered
