"""Responses of a teacher to prompts, in both modes, several each: what is asked, what is kept.

Two passes over the rows, so that the output depends on the journal alone and not on the order
in which answers came: `requests` says what to ask, `Candidates` reads the answers in the order
of the rows, modes and samples (Nemotron-Cascade, section 3.2: parallel thinking and
non-thinking responses to the same prompts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cascade_rl.chat import THINK_CLOSE, THINK_OPEN, assistant_text, has_open_thought, split_thought
from cascade_rl.data.rows import Reject, iter_rows
from cascade_rl.data.sft.endpoint import Ask, Failure, Reply, with_flag
from cascade_rl.types import Conversation, Message, Mode, Problem, Row

AskMode = Literal["flag", "template", "none"]

NO_PROMPT = "no prompt to answer"
TRUNCATED = "truncated"
NOT_ENDED = "not ended"
TOO_LONG = "longer than the stage allows"
NO_THOUGHT = "no thought in think mode"
THOUGHT = "a thought in no_think mode"
OPEN_THOUGHT = "the thought never ends"
EMPTY = "empty answer"
NOT_TEXT = "half a character"
SAME = "same as an earlier sample"


@dataclass(frozen=True, slots=True)
class Teacher:
    """Who answers, and how it is asked for one mode or the other.

    `models` has a model a mode. `ask_mode`: ` /think` at the end of the user turns (`flag`), the
    template's switch that vLLM and SGLang pass on (`template`), or nothing, where the models
    differ (`none`). `cap` is the most tokens of a response that the SFT stage can hold.
    """

    models: Mapping[Mode, str]
    samples: int = 8
    ask_mode: AskMode = "flag"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    cap: int = 16384
    first_seed: int = 0

    def ask(self, messages: Sequence[Message], mode: Mode, sample: int) -> Ask:
        """The request for one sample."""
        turns = with_flag(messages, mode) if self.ask_mode == "flag" else tuple(messages)
        sampling = dict(self.sampling)
        if self.ask_mode == "template":
            switch = {"chat_template_kwargs": {"enable_thinking": mode == "think"}}
            sampling = {**switch, **sampling}
        return Ask(self.models[mode], turns, sampling, self.first_seed + sample)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an answer is not used: one of the reasons above, and this answer's own detail."""

    reason: str
    detail: Any = ""


def prompt_of(row: Row) -> tuple[Message, ...] | None:
    """The turns up to the last user turn; None for a row that asks nothing plain.

    That is a preference pair, or turns with tool calls: an answer to them needs the tools.
    """
    match row:
        case Problem():
            turns = row.prompt
        case Conversation() if not row.tools:
            turns = row.messages
        case _:
            return None
    last = max((i for i, m in enumerate(turns) if m.role == "user"), default=-1)
    prompt = turns[: last + 1]
    return None if not prompt or any(m.tool_calls or m.role == "tool" for m in prompt) else prompt


def modes_of(prompt: Sequence[Message], modes: Sequence[Mode]) -> tuple[Mode, ...]:
    """The modes to ask this prompt in: where its last turn fixes one, that one only."""
    fixed = prompt[-1].mode
    return tuple(mode for mode in modes if fixed in (None, mode))


def readable(path: Path) -> Iterator[Row]:
    """The rows that can be read; the last pass accounts for the others."""
    return (row for row in iter_rows(path) if not isinstance(row, Reject))


def requests(rows: Iterator[Row], teacher: Teacher) -> Iterator[Ask]:
    """Every request of every row."""
    for row in rows:
        prompt = prompt_of(row)
        for mode in modes_of(prompt, tuple(teacher.models)) if prompt else ():
            for sample in range(teacher.samples):
                yield teacher.ask(prompt or (), mode, sample)


def read_reply(reply: Reply | Failure, mode: Mode, cap: int) -> Message | Refused:
    """The assistant turn of a reply, its reasoning as the thought, or why it is not used."""
    if isinstance(reply, Failure):
        return Refused(reply.reason, reply.detail)
    if reply.finish == "length":
        return Refused(TRUNCATED, f"after {reply.length} tokens")
    if reply.finish != "stop":
        return Refused(NOT_ENDED, reply.finish)
    if reply.length > cap:
        return Refused(TOO_LONG, f"{reply.length} tokens; at most {cap}")
    if has_open_thought(reply.content):
        return Refused(OPEN_THOUGHT)
    thought, answer = split_thought(reply.content)
    thought = "\n".join(part for part in (reply.reasoning.strip(), thought) if part) or None
    answer = answer.strip()
    return _checked(thought, answer, mode)


def _checked(thought: str | None, answer: str, mode: Mode) -> Message | Refused:
    if not answer:
        return Refused(EMPTY)
    if mode == "think" and thought is None:
        return Refused(NO_THOUGHT)
    if mode == "no_think" and thought is not None:
        return Refused(THOUGHT, thought[:200])
    text = answer + (thought or "")
    if text.encode("utf-8", "replace").decode() != text:
        return Refused(NOT_TEXT)
    if THINK_OPEN in text or THINK_CLOSE in text:
        return Refused(OPEN_THOUGHT, "a second thought begins or ends")
    return Message("assistant", answer, thought=thought)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer to one prompt: a conversation to train on, not yet checked.

    `row` is what was asked; the conversation's user turns carry the mode.
    """

    row: Row
    mode: Mode
    sample: int
    conversation: Conversation

    @property
    def text(self) -> str:
        """The response as a model would write it, thought included."""
        return assistant_text(self.conversation.messages[-1])


def candidate(
    row: Row, prompt: Sequence[Message], mode: Mode, sample: int, answer: Message
) -> Candidate:
    """The answer as a conversation; every user turn has a mode, earlier ones their own."""
    turns = tuple(
        Message("user", m.content, mode=mode if m is prompt[-1] else m.mode or mode)
        if m.role == "user"
        else m
        for m in prompt
    )
    name = f"{row.id}/{mode}/{sample}"
    return Candidate(row, mode, sample, Conversation(name, (*turns, answer), row.source))
