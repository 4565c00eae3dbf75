"""Rows to token ids and back, under the stage's chat template.

The rule: every length is checked before training starts, so a prompt that does not fit is a
sentence with the row's id and the numbers, never a truncated prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cascade_rl.chat import HFTokenizer, answer_part, render, stop_ids, to_dict
from cascade_rl.config import ChatConfig
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.types import Conversation, Message, Mode

Ids = tuple[int, ...]


class Encoder:
    """Renders messages with our template, or with the model's own (`chat.template: own`)."""

    def __init__(self, tokenizer: Any, chat: ChatConfig) -> None:
        self._tokenizer = tokenizer
        self._chat = chat
        self._plain = HFTokenizer(tokenizer) if chat.template == "cascade" else None

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a completion."""
        if self._plain is not None:
            return stop_ids(self._plain)
        return (self._tokenizer.eos_token_id,)

    def prompt(self, messages: Sequence[Message], mode: Mode | None) -> tuple[int, ...]:
        """Ids up to where the assistant begins; earlier thoughts are dropped."""
        if self._plain is None:
            return self._own(messages, mode, generate=True)
        rendered = render(
            self._plain,
            messages,
            add_generation_prompt=True,
            mode=mode,
            keep_thoughts=False,
            system=self._chat.system,
        )
        return tuple(rendered.ids)

    def conversation(self, row: Conversation) -> tuple[tuple[int, ...], list[bool]]:
        """Ids [T] and loss mask [T]: assistant turns and what ends them."""
        if self._plain is not None:
            found = render(self._plain, row.messages, row.tools, system=self._chat.system)
            return tuple(found.ids), found.loss_mask
        ids = self._own(row.messages, None, generate=False)
        mask = [False] * len(ids)
        for i, message in enumerate(row.messages):
            if message.role == "assistant":
                before = self._own(row.messages[:i], None, generate=True)
                after = self._own(row.messages[: i + 1], None, generate=False)
                if ids[: len(before)] != before or ids[: len(after)] != after:
                    raise ConfigError(
                        f"row {row.id}: the model's own template rewrites earlier turns, so the "
                        "assistant's tokens cannot be told apart",
                        hint="use ours:  --set chat.template=cascade",
                    )
                mask[len(before) : len(after)] = [True] * (len(after) - len(before))
        return ids, mask

    def answer(self, text: str) -> tuple[int, ...]:
        """Ids of an assistant's answer as generation writes it, before what ends it."""
        if self._plain is not None:
            return tuple(self._plain.encode_plain(text))
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def judged(self, prompt: Sequence[Message], text: str) -> tuple[Ids, Ids]:
        """What a reward model scores: the question without mode flag, the answer after `</think>`.

        Without `</think>` the whole text (2512.13607, section 4.3). The ids come as (question,
        answer); the question is empty where a template of the model's own rewrites it.
        """
        turns = [replace(message, mode=None) for message in prompt]
        answered = [*turns, Message("assistant", answer_part(text))]
        question = self.prompt(turns, None)
        if self._plain is None:
            whole = self._own(answered, None, generate=False)
        else:
            system = self._chat.system
            whole = tuple(render(self._plain, answered, keep_thoughts=False, system=system).ids)
        if whole[: len(question)] != question:
            return (), whole
        return question, whole[len(question) :]

    def text(self, ids: Sequence[int]) -> str:
        """Thought and answer as generated, special tokens removed."""
        decoded: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def _own(
        self, messages: Sequence[Message], mode: Mode | None, *, generate: bool
    ) -> tuple[int, ...]:
        if mode is not None or any(message.mode for message in messages):
            raise ConfigError(
                "modes need our chat template; `chat.template: own` has none",
                hint="turn them off:  --set STAGE.modes.think=0 --set STAGE.modes.no_think=0",
            )
        text = self._tokenizer.apply_chat_template(
            [to_dict(message) for message in messages],
            tokenize=False,
            add_generation_prompt=generate,
        )
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def check_prompts(
    lengths: Mapping[str, int], max_prompt: int, max_new: int, context: int, what: str
) -> None:
    """Refuse prompts over the limit or over the model's context. Lengths by problem id."""
    for problem, length in lengths.items():
        if length > max_prompt:
            raise DataError(
                f"{what}: the prompt of row {problem} is {length} tokens; "
                f"the limit is {max_prompt}",
                hint="shorten it, or raise max_prompt_tokens",
            )
        if length + max_new > context:
            raise ConfigError(
                f"{what}: row {problem} has {length} prompt tokens and max_new_tokens is "
                f"{max_new}; the model's context is {context}",
                hint=f"lower max_new_tokens to {max(1, context - length)}",
            )
