"""What lies beside the weights in a model directory: settings, tokenizer, template."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, GenerationConfig

from cascade_rl.config import ChatConfig
from cascade_rl.engines.local.model import CHAT_FILE, load_tokenizer


def write_beside_weights(start: Path, chat: ChatConfig, path: Path) -> None:
    """Write the start model's settings, as float32, and its tokenizer with the stage's template."""
    config = AutoConfig.from_pretrained(start, local_files_only=True)
    config.dtype = "float32"
    config.save_pretrained(path)
    if (start / "generation_config.json").exists():
        GenerationConfig.from_pretrained(start, local_files_only=True).save_pretrained(path)
    load_tokenizer(start, chat).save_pretrained(path)
    (path / CHAT_FILE).write_text(chat.model_dump_json(), encoding="utf-8")
