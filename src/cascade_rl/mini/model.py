"""The start model: a byte-level tokenizer trained on generated text, and a fresh Qwen2 decoder.

Built on the spot and saved as an ordinary Hugging Face directory, so everything downstream
treats it as any other model. The tokenizer does not depend on the seed; the weights do.
The surprise: the weights are random, but half of the heads start as induction pairs. Copying
from the prompt is what every domain builds on, and a model of this size would spend minutes
on discovering it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from cascade_rl.chat import jinja_template
from cascade_rl.mini import judge, pairs, sft
from cascade_rl.mini.world import FACTS

VOCABULARY = 896
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tools>", "</tools>",
    "<tool_response>", "</tool_response>",
)  # fmt: skip
# Words with the space before them, numbers up to two digits, runs of punctuation, white space.
PATTERN = r" ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTEXT = 1024
HIDDEN, HEADS, HEAD_SIZE = 128, 8, 32
PAIRED = 4
ROPE_THETA = 1_000_000.0
SHARP, BACKWARD = 3, 8.0


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
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = jinja_template(system=None)
    return fast


def _texts() -> list[str]:
    judged = [m.content for row in judge.conversations("val", 0) for m in row.messages]
    preferred = [text for row in pairs.pairs("val", 0) for text in (row.chosen, row.rejected)]
    frame = ["user\n", "assistant\n", " /think", " /no_think"] * 200
    words = [f" {word}" for topic, facts in FACTS.items() for word in (topic, *facts)] * 500
    return [*sft.texts(0), *judged, *preferred, *frame, *words]


def build_model(path: Path, seed: int) -> None:
    """Write tokenizer and fp32 weights drawn with `seed` to the directory `path`."""
    tokenizer = train_tokenizer()
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_SIZE,  # type: ignore[call-arg]
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        initializer_range=0.08,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)  # type: ignore[no-untyped-call]
        _small_residual_steps(model)
        _pair_heads(model)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


@torch.no_grad()
def _small_residual_steps(model: Qwen2ForCausalLM) -> None:
    """What a layer adds starts at a tenth, or it would drown the token embeddings."""
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(0.1)
        layer.mlp.down_proj.weight.mul_(0.1)


@torch.no_grad()
def _pair_heads(model: Qwen2ForCausalLM) -> None:
    """Start `PAIRED` heads of the two layers as induction pairs (Olsson et al., 2022).

    A head of the first layer looks one token back, through its biases alone, and writes down
    what stood there; its partner in the second looks for places before which the current token
    stood, and copies what stands there. All matrices are random, only shared within a pair.
    """
    before, after = (layer.self_attn for layer in model.model.layers)
    frequency = ROPE_THETA ** (-torch.arange(0, HEAD_SIZE, 2) / HEAD_SIZE)
    turned = torch.zeros(HEAD_SIZE)
    still = torch.zeros(HEAD_SIZE)
    for pair in range(SHARP):  # only the fastest rotations tell neighbours apart
        still[pair] = BACKWARD
        turned[pair] = BACKWARD * torch.cos(frequency[pair])
        turned[pair + HEAD_SIZE // 2] = -BACKWARD * torch.sin(frequency[pair])
    for head in range(PAIRED):
        rows = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
        read = torch.randn(HEAD_SIZE, HIDDEN) / HIDDEN**0.5
        write = torch.randn(HIDDEN, HEAD_SIZE) / HEAD_SIZE**0.5
        copied = torch.randn(HEAD_SIZE, HIDDEN) / HIDDEN**0.5
        before.q_proj.weight[rows] *= 0.1
        before.k_proj.weight[rows] *= 0.1
        before.q_proj.bias[rows] = turned
        before.k_proj.bias[rows] = still
        before.v_proj.weight[rows] = read
        before.o_proj.weight[:, rows] = 0.06 * write
        after.q_proj.weight[rows] = 0.9 * read
        after.k_proj.weight[rows] = 0.9 * write.T
        after.v_proj.weight[rows] = copied
        after.o_proj.weight[:, rows] = 0.5 * copied.T
