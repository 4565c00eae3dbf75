"""The start model: a byte-level tokenizer trained on generated text, and random Qwen2 weights.

Built on the spot and saved as an ordinary Hugging Face directory, so everything downstream
treats it as any other model. The tokenizer does not depend on the seed; the weights do.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from cascade_rl.mini import judge, pairs, sft

VOCABULARY = 896
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tools>", "</tools>",
    "<tool_response>", "</tool_response>",
)  # fmt: skip
# Words with the space before them, single digits, runs of punctuation, white space.
PATTERN = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTEXT = 1024


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over what the cascade reads and writes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKERS),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.add_tokens([AddedToken(m, special=False, normalized=False) for m in MARKERS])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


def _texts() -> list[str]:
    judged = [m.content for row in judge.conversations("val", 0) for m in row.messages]
    preferred = [text for row in pairs.pairs("val", 0) for text in (row.chosen, row.rejected)]
    frame = ["user\n", "assistant\n", " /think", " /no_think"] * 200
    return [*sft.texts(0), *judged, *preferred, *frame]


def build_model(path: Path, seed: int) -> None:
    """Write tokenizer and fp32 weights drawn with `seed` to the directory `path`."""
    tokenizer = train_tokenizer()
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
