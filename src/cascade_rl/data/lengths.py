"""How many tokens a row is: the estimate where no tokenizer is given.

One rule: the estimate errs on the long side. Tokenizers of the models in question make one token
of four bytes of English and of three of code, formulas and most other scripts; three are assumed
for all. Exact lengths come from the tokenizer itself (`cli/data/tokens.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from cascade_rl.chat import DEFAULT_SYSTEM
from cascade_rl.types import Conversation, Message, Pair, Problem, Row

Count = Callable[[Row], int]
"""Tokens of a row: of a conversation all, of a problem its prompt, of a pair the longer side."""

BYTES_A_TOKEN = 3
TURN = 5
"""Tokens around a turn: `<|im_start|>`, the role, line ends, `<|im_end|>`."""


def estimated_tokens(text: str) -> int:
    """About the tokens of a text, rather too many."""
    return -(-_bytes(text) // BYTES_A_TOKEN)


def estimate(row: Row) -> int:
    """Tokens of a row in our chat template, from its bytes."""
    match row:
        case Conversation():
            tools = sum(_bytes(json.dumps(tool, default=str)) for tool in row.tools)
            return _turns(row.messages) + -(-tools // BYTES_A_TOKEN)
        case Problem():
            return _turns(row.prompt) + TURN
        case Pair():
            longer = max(_bytes(row.chosen), _bytes(row.rejected))
            return _turns(row.prompt) + TURN + -(-longer // BYTES_A_TOKEN)


def _turns(messages: Sequence[Message]) -> int:
    system = (
        0 if messages and messages[0].role == "system" else TURN + estimated_tokens(DEFAULT_SYSTEM)
    )
    return system + sum(TURN + _message(message) for message in messages)


def _message(message: Message) -> int:
    calls = "".join(json.dumps([c.name, c.arguments], default=str) for c in message.tool_calls)
    return estimated_tokens(message.content + (message.thought or "") + calls)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
