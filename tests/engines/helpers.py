"""A model of 30 thousand parameters, rows it can learn from, and jobs over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from cascade_rl.config import (
    ChatConfig,
    LocalConfig,
    RewardModelStageConfig,
    SFTStageConfig,
    StageConfig,
)
from cascade_rl.digests import weights_digest
from cascade_rl.engines.base import StageJob
from cascade_rl.store.workspace import StageWorkspace
from cascade_rl.types import (
    Checkpoint,
    Constraints,
    Conversation,
    Message,
    Pair,
    Preference,
    Problem,
    Row,
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT = ChatConfig(system=None)
LOCAL = LocalConfig(micro_batch_tokens=2048, sample_batch=64)
FILES: dict[str, Any] = {"train_files": ("rows.jsonl",)}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )


def tiny_model(
    path: Path, seed: int = 0, tied: bool = True, context: int = 256, head_dim: int = 8
) -> Checkpoint:
    """A start model on disk, of four heads."""
    config = Qwen2Config(
        vocab_size=len(SPECIAL) + 256,
        hidden_size=4 * head_dim,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=tied,
        initializer_range=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Qwen2ForCausalLM(config).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return Checkpoint(f"start-{seed}", 0, path, weights_digest(path))


def comma_problems(count: int) -> list[Problem]:
    """Prompts whose answer must hold no comma: a random model is right about as often as not."""
    constraint = Constraints(("punctuation:no_comma",), ({},))
    return [
        Problem(f"p{i}", "instruction_following", (user(f"say {i}"),), constraint, "test")
        for i in range(count)
    ]


def chat_problems(count: int) -> list[Problem]:
    return [
        Problem(f"c{i}", "chat", (user(f"hi {i}"),), Preference(), "test") for i in range(count)
    ]


def conversations(count: int) -> list[Conversation]:
    return [
        Conversation(f"s{i}", (user(f"say {i}"), Message("assistant", "ab" * (1 + i % 5))), "test")
        for i in range(count)
    ]


def pairs(count: int) -> list[Pair]:
    """The chosen answer is all b, the rejected all a."""
    return [
        Pair(f"r{i}", (user(f"say {i}"),), "b" * (3 + i % 4), "a" * (3 + i % 3), "test")
        for i in range(count)
    ]


def user(text: str) -> Message:
    return Message("user", text)


def sft_stage(**values: Any) -> SFTStageConfig:
    defaults = {
        "name": "sft", "total_training_steps": 6, "train_batch_size": 4, "learning_rate": 1e-2,
        "save_every": 2,
    }  # fmt: skip
    return SFTStageConfig(**FILES | defaults | values)


def reward_model_stage(**values: Any) -> RewardModelStageConfig:
    defaults = {
        "name": "rm", "total_training_steps": 6, "train_batch_size": 4, "learning_rate": 1e-2,
        "save_every": 2,
    }  # fmt: skip
    return RewardModelStageConfig(**FILES | defaults | values)


def rl_stage(**values: Any) -> StageConfig:
    defaults = {
        "name": "if_rl", "domain": "instruction_following", "total_training_steps": 4,
        "train_batch_size": 4, "rollout_n": 4, "learning_rate": 1e-2, "save_every": 2,
        "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 24,
        "modes": {"think": 0.0, "no_think": 0.0},
    }  # fmt: skip
    return StageConfig(**FILES | defaults | values)


def job_of(
    start: Checkpoint, config: Any, rows: Sequence[Row], local: LocalConfig = LOCAL, **values: Any
) -> StageJob:
    fields = {
        "key": config.name, "config": config, "rows": rows, "start": start, "carry": None,
        "inputs": {}, "seed": 0, "chat": CHAT, "local": local,
    }  # fmt: skip
    return StageJob(**(fields | values))


class Recording(StageWorkspace):
    """The store's own workspace, keeping its events, and raising where a test says."""

    def __init__(self, directory: Path, die_at: tuple[str, int] | None = None) -> None:
        super().__init__(directory, "stage", "key")
        self.events: list[dict[str, Any]] = []
        self._die_at = die_at

    def emit(self, event: Any) -> None:
        super().emit(event)
        self.events.append(dict(event))
        if (event["kind"], event["step"]) == self._die_at:
            raise ConnectionAbortedError("killed here by the test")

    def metric(self, name: str) -> list[Any]:
        return [event[name] for event in self.events if event["kind"] == "train"]
