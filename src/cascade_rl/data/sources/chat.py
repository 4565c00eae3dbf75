"""Conversations to train on, questions without a reference, and rows that are ours already.

One surprise: an answer's `<think>...</think>` block becomes the turn's `thought`, so that the
chat template writes it in its own form, and a user's trailing ` /think` becomes the turn's mode.
"""

from __future__ import annotations

from typing import Any

from cascade_rl.chat import THINK_OPEN, split_thought
from cascade_rl.data.fields import maybe_text_at
from cascade_rl.data.schema import parse_conversation, parse_problem
from cascade_rl.data.sources.common import (
    Raw,
    Unfit,
    maybe_text,
    problem,
    prompt_of,
    text_of,
    turns_of,
)
from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Preference, Problem


def ours(raw: Raw, source: str) -> Problem:
    """A row of this project or of verl; its ability may be written in capitals."""
    ability = raw.get("ability")
    found = parse_problem({**raw, "ability": ability.lower() if isinstance(ability, str) else ""})
    if not any(turn.role == "user" for turn in found.prompt):
        raise DataError("prompt has no user turn; expected a question")
    return found


def messages(raw: Raw, source: str) -> Conversation:
    """`messages` of role and content, or `conversations` of from and value; perhaps `tools`."""
    key = "messages" if raw.get("messages") is not None else "conversations"
    turns = turns_of(raw.get(key), key)
    system = maybe_text(raw, "system", "system_prompt")
    if system.strip() and turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": system})
    return _conversation(raw, source, turns)


def arena_hard(raw: Raw, source: str) -> Problem:
    """ArenaHard's questions: `turns` of one user turn, or `prompt`; judged against a baseline."""
    turns = raw.get("turns")
    if isinstance(turns, list):
        turns = [{"role": "user", **t} if isinstance(t, dict) else t for t in turns]
    prompt = prompt_of(raw.get("prompt") if turns is None else turns, "turns")
    known = {"category": maybe_text(raw, "category"), "source_id": maybe_text(raw, "uid")}
    extra = {key: value for key, value in known.items() if value}
    return problem(raw, source, "chat", prompt, Preference(), extra)


def prompt_response(raw: Raw, source: str) -> Conversation:
    """One question and its answer, under the usual keys; the question may be a chat list."""
    keys = ("prompt", "instruction", "input", "question")
    key = next((key for key in keys if raw.get(key)), keys[0])
    turns = turns_of(raw.get(key), key)
    if key == "instruction" and maybe_text(raw, "input").strip():
        turns[-1]["content"] += f"\n\n{raw['input']}"
    system = maybe_text(raw, "system", "system_prompt")
    if system.strip() and turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": system})
    answer = {"role": "assistant", "content": text_of(raw, "response", "completion", "output")}
    return _conversation(raw, source, [*turns, answer])


def _conversation(raw: Raw, source: str, turns: list[dict[str, Any]]) -> Conversation:
    turns = [_with_thought(turn) if turn["role"] == "assistant" else turn for turn in turns]
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in turns):
        raise DataError("no user turn has text; expected a question")
    if not any(t["content"].strip() or "tool_calls" in t for t in turns if t["role"] != "user"):
        raise DataError("no answer has text; expected one to train on")
    own = raw.get("id", raw.get("uuid"))
    row = {
        "messages": turns,
        "source": maybe_text_at(raw, "source") or source,
        "id": own if isinstance(own, str | int) else f"{source}/{digest_json(turns)[:12]}",
        **({"tools": raw["tools"]} if raw.get("tools") else {}),
    }
    return parse_conversation(row)


def _with_thought(turn: dict[str, Any]) -> dict[str, Any]:
    """The turn with its thought apart. Raises Unfit for one that never ends."""
    if "thought" in turn:
        return turn
    thought, answer = split_thought(turn["content"])
    if thought is None and THINK_OPEN in answer:
        raise Unfit("unfinished thought", "an answer opens <think> and never closes it")
    return turn if thought is None else {**turn, "thought": thought, "content": answer}
