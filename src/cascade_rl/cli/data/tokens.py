"""The `--tokenizer` of data commands: how long a row is in the template that training uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascade_rl.data.lengths import Count
    from cascade_rl.engines.local.encoder import Encoder
    from cascade_rl.types import Row

ESTIMATE = "bytes"
"""The name of the estimate, which needs no tokenizer."""
HELP = "directory of a tokenizer or model; `bytes` takes a token for every three bytes"


def counter(tokenizer: str, system: bool = True) -> Count:
    """Tokens of a row: estimated, or exactly as the local engine encodes it.

    Without `system` no default system turn is added, as `chat.system: null` does in a config.
    Raises DataError where there is no tokenizer, ConfigError for one that cannot hold ChatML.
    """
    from cascade_rl.data.lengths import estimate
    from cascade_rl.errors import DataError

    if tokenizer == ESTIMATE:
        return estimate
    folder = Path(tokenizer)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise DataError(
            f"--tokenizer {tokenizer} holds no tokenizer.json; expected the directory of a model",
            hint=f"or estimate lengths:  --tokenizer {ESTIMATE}",
        )
    from cascade_rl.config import ChatConfig
    from cascade_rl.engines.local.encoder import Encoder
    from cascade_rl.engines.local.model import load_tokenizer

    chat = ChatConfig() if system else ChatConfig(system=None)
    encoder = Encoder(load_tokenizer(folder, chat), chat)
    return lambda row: _tokens(encoder, row)


def _tokens(encoder: Encoder, row: Row) -> int:
    from cascade_rl.types import Conversation, Problem

    match row:
        case Conversation():
            return len(encoder.conversation(row)[0])
        case Problem():
            return len(encoder.prompt(row.prompt, None))
    longer = max(len(encoder.answer(text)) for text in (row.chosen, row.rejected))
    return len(encoder.prompt(row.prompt, None)) + longer
