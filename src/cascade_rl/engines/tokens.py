"""The tokens of a text, as the tokenizer of a model directory counts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from cascade_rl.errors import CheckpointError


def token_counter(directory: Path) -> Callable[[str], int]:
    """A function from a text to its tokens, without special ones around it.

    Half a surrogate pair, which no tokenizer takes, counts as a question mark. Raises
    CheckpointError where the directory holds no tokenizer.
    """
    file = directory / "tokenizer.json"
    if file.exists():
        fast = Tokenizer.from_file(str(file))
        fast.no_truncation()
        return lambda text: len(fast.encode(_clean(text), add_special_tokens=False).ids)
    try:
        slow = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{directory} holds no tokenizer that can be read: {str(error).splitlines()[0]}",
            hint="name a model directory, or one with a tokenizer.json",
        ) from None
    return lambda text: len(slow.encode(_clean(text), add_special_tokens=False))


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
