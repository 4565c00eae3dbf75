"""Demonstrations for the two SFT stages: correct, and narrower than RL's problems.

Narrow is what leaves RL something to learn: fewer changes, one rule at a time, shorter
programs, smaller repositories; and some words that problems use in one sense are used in two
here, so that only the reward can say which is meant. Stage 1 has chat, instructions, math and
code; stage 2 adds repairs, tool calls and conversations whose mode switches from turn to turn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from cascade_rl.mini import chat, code, instructions, math, swe
from cascade_rl.mini.draw import EVAL_ROWS, Split, digest, generator, user
from cascade_rl.mini.world import TOPICS
from cascade_rl.types import Conversation, Message, Mode, ToolCall

STAGE_1_ROWS = 10000
STAGE_2_ROWS = 10000

Turn = tuple[Message, Message]


def turn(question: str, mode: Mode, thought: str, answer: str) -> Turn:
    """A question and its answer; the thought is shown in think mode only."""
    shown = thought if mode == "think" else None
    return user(question, mode), Message("assistant", answer, thought=shown)


def _chat(rng: random.Random, mode: Mode) -> Turn:
    topics = chat.draw_topics(rng, "train")
    answer = chat.long_winded(rng, topics)
    return turn(chat.question(rng, topics, "train"), mode, " ".join(topics), answer)


def _instructions(rng: random.Random, mode: Mode) -> Turn:
    topic = rng.choice(TOPICS)
    while True:
        rules = instructions.draw_rules(rng, "train", topic, rng.choice((1, 1, 1, 2)))
        if instructions.possible_length(topic, rules):
            break
    answer = instructions.short_enough(rng, topic, rules)
    thought = ", ".join(rule.kind for rule in rules)
    return turn(instructions.worded(rng, topic, rules, "train"), mode, thought, answer)


def _math(rng: random.Random, mode: Mode) -> Turn:
    total = math.draw_total(rng, "train", rng.choice((1, 1, 1, 1, 1, 2, 2, 3)))
    return turn(math.worded(rng, total, "train", demonstration=True), mode, *math.worked(total))


def _code(rng: random.Random, mode: Mode) -> Turn:
    body = code.draw_body(rng, "train", rng.choice((1, 1, 2, 2, 2, 3)))
    program = rng.random() < 0.2
    return turn(
        code.worded(rng, body, "train", program, demonstration=True),
        mode,
        *code.worked(body, program),
    )


def _swe(rng: random.Random, mode: Mode) -> Turn:
    repair = swe.draw_repair(rng, "train", rng.choice(((1,), *swe.LAYOUTS)))
    text = swe.issue(rng, repair, "train", demonstration=True)
    return turn(swe.prompt(text, repair.sources()), mode, repair.thought(), repair.edit())


FIND: Mapping[str, Any] = {
    "type": "function",
    "function": {"name": "find", "parameters": {"topic": {"type": "string"}}},
}


def _tool(rng: random.Random) -> tuple[Message, ...]:
    topic, found = rng.sample(TOPICS, 2)
    question, mode = f"Find out what is by the {topic}.", _mode(rng)
    thought = "find" if mode == "think" else None
    call = Message("assistant", "", thought, None, (ToolCall("find", {"topic": topic}),))
    return (user(question, mode), call, Message("tool", found, name="find"),
            Message("assistant", f"A {found} is by the {topic}."))  # fmt: skip


Draw = Callable[[random.Random, Mode], Turn]
STAGE_1: Mapping[Draw, int] = {_chat: 2, _instructions: 4, _math: 6, _code: 4}
STAGE_2: Mapping[Draw, int] = {_chat: 1, _instructions: 3, _math: 4, _code: 3, _swe: 5}
USUAL_THINK: Mapping[Draw, float] = {
    _chat: 0.8,
    _instructions: 0.2,
    _math: 0.9,
    _code: 0.8,
    _swe: 0.8,
}
"""How often a domain is asked for with a thought; RL asks for its usual mode only."""
TOOL_SHARE, SWITCH_SHARE = 0.02, 0.08


def _mode(rng: random.Random, think: float = 0.5) -> Mode:
    return "think" if rng.random() < think else "no_think"


def _conversation(rng: random.Random, stage: int) -> Conversation:
    domains = STAGE_1 if stage == 1 else STAGE_2
    draws, weights = list(domains), list(domains.values())
    kind = rng.random() if stage == 2 else 1.0
    tools: tuple[Mapping[str, Any], ...] = ()
    messages: tuple[Message, ...]
    if kind < TOOL_SHARE:
        messages, tools = _tool(rng), (FIND,)
    elif kind < TOOL_SHARE + SWITCH_SHARE:
        first, second = rng.choices(draws[:4], k=2)
        messages = (*first(rng, "think"), *second(rng, "no_think"))
    else:
        (draw,) = rng.choices(draws, weights)
        messages = draw(rng, _mode(rng, USUAL_THINK[draw]))
    name = digest("|".join(f"{m.role}:{m.mode}:{m.content}" for m in messages))
    return Conversation(f"sft/{name}", messages, "mini", tools)


def conversations(name: str, data_seed: int) -> list[Conversation]:
    """Rows of `1`, `2` (training) or `val` (both stages' forms, other draws)."""
    rng = generator(f"sft/{name}", data_seed)
    if name == "val":
        return [_conversation(rng, 1 + i % 2) for i in range(EVAL_ROWS)]
    count = STAGE_1_ROWS if name == "1" else STAGE_2_ROWS
    return [_conversation(rng, int(name)) for _ in range(count)]


def texts(data_seed: int, splits: tuple[Split, ...] = ("train",)) -> list[str]:
    """All text of both stages, for the tokenizer."""
    rows = [row for name in ("1", "2") for row in conversations(name, data_seed)]
    return [part for row in rows for m in row.messages for part in (m.content, m.thought or "")]
