"""Demonstrations for the two SFT stages: correct, and narrower than RL's problems.

Narrow is what leaves RL something to learn: fewer changes, one rule at a time, shorter
programs, smaller repositories; and some words that problems use in one sense are used in two
here, so that only the reward can say which is meant. Stage 1 has chat, instructions, math and
code; stage 2 adds repairs, tool calls and conversations whose mode switches from turn to turn.
No demonstration has the prompt of a problem of any split (`_taken`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

from cascade_rl.data.normal import words
from cascade_rl.mini import chat, code, instructions, math, swe
from cascade_rl.mini.draw import EVAL_ROWS, SPLITS, Split, digest, generator, split_of, user
from cascade_rl.mini.world import TOPICS
from cascade_rl.types import Conversation, Message, Mode, ToolCall

STAGE_1_ROWS = 10000
STAGE_2_ROWS = 10000

Part = Literal["1", "2", "val"]
PARTS: tuple[Part, ...] = ("1", "2", "val")
Turn = tuple[Message, Message]


def turn(question: str, mode: Mode, thought: str, answer: str) -> Turn:
    """A question and its answer; the thought is shown in think mode only."""
    shown = thought if mode == "think" else None
    return user(question, mode), Message("assistant", answer, thought=shown)


def _chat(rng: random.Random, mode: Mode, split: Split) -> Turn:
    topics = chat.draw_topics(rng, split)
    answer = chat.long_winded(rng, topics)
    return turn(chat.question(rng, topics, split), mode, " ".join(topics), answer)


def _instructions(rng: random.Random, mode: Mode, split: Split) -> Turn:
    topic = rng.choice(TOPICS)
    while True:
        rules = instructions.draw_rules(rng, split, topic, rng.choice((1, 1, 1, 2)))
        if instructions.possible_length(topic, rules):
            break
    answer = instructions.short_enough(rng, topic, rules)
    thought = ", ".join(rule.kind for rule in rules)
    return turn(instructions.worded(rng, topic, rules, split), mode, thought, answer)


def _math(rng: random.Random, mode: Mode, split: Split) -> Turn:
    total = math.draw_total(rng, split, rng.choice((1, 1, 1, 1, 1, 2, 2, 3)))
    return turn(math.worded(rng, total, split, demonstration=True), mode, *math.worked(total))


def _code(rng: random.Random, mode: Mode, split: Split) -> Turn:
    body = code.draw_body(rng, split, rng.choice((1, 1, 2, 2, 2, 3)))
    program = rng.random() < 0.2
    return turn(
        code.worded(rng, body, split, program, demonstration=True),
        mode,
        *code.worked(body, program),
    )


def _swe(rng: random.Random, mode: Mode, split: Split) -> Turn:
    repair = swe.draw_repair(rng, split, rng.choice(((1,), *swe.LAYOUTS)))
    text = swe.issue(rng, repair, split, demonstration=True)
    return turn(swe.prompt(text, repair.sources()), mode, repair.thought(), repair.edit())


FIND: Mapping[str, Any] = {
    "type": "function",
    "function": {"name": "find", "parameters": {"topic": {"type": "string"}}},
}


def _tool(rng: random.Random, split: Split) -> tuple[Message, ...]:
    while True:
        topic, found = rng.sample(TOPICS, 2)
        if split_of(f"find:{topic}") == split:
            break
    question, mode = f"Find out what is by the {topic}.", _mode(rng)
    thought = "find" if mode == "think" else None
    call = Message("assistant", "", thought, None, (ToolCall("find", {"topic": topic}),))
    return (user(question, mode), call, Message("tool", found, name="find"),
            Message("assistant", f"A {found} is by the {topic}."))  # fmt: skip


Draw = Callable[[random.Random, Mode, Split], Turn]
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


def _conversation(
    rng: random.Random, stage: int, split: Split, taken: frozenset[str]
) -> Conversation:
    domains = STAGE_1 if stage == 1 else STAGE_2
    draws, weights = list(domains), list(domains.values())
    kind = rng.random() if stage == 2 else 1.0
    tools: tuple[Mapping[str, Any], ...] = ()
    messages: tuple[Message, ...]

    def fresh(draw: Draw, mode: Mode) -> Turn:
        while True:
            drawn = draw(rng, mode, split)
            if _said(drawn[0]) not in taken:
                return drawn

    if kind < TOOL_SHARE:
        messages, tools = _tool(rng, split), (FIND,)
    elif kind < TOOL_SHARE + SWITCH_SHARE:
        first, second = rng.choices(draws[:4], k=2)
        messages = (*fresh(first, "think"), *fresh(second, "no_think"))
    else:
        (draw,) = rng.choices(draws, weights)
        messages = fresh(draw, _mode(rng, USUAL_THINK[draw]))
    name = digest("|".join(f"{m.role}:{m.mode}:{m.content}" for m in messages))
    return Conversation(f"sft/{name}", messages, "mini", tools)


def _said(message: Message) -> str:
    """What a prompt is known by when sets are compared."""
    return " ".join(words(message.content))


@lru_cache(maxsize=2)
def _taken(data_seed: int) -> frozenset[str]:
    """The prompts of all problems.

    Words in two senses make some collide with problems of another structure, even of another
    split; and of chat there are only so many questions.
    """
    return frozenset(
        _said(row.prompt[0])
        for domain in (chat, code, instructions, math, swe)
        for split in SPLITS
        for row in domain.problems(split, data_seed)
    )


def conversations(part: Part, data_seed: int) -> list[Conversation]:
    """Rows of `1`, `2` (training) or `val` (both stages' forms, of prompts that neither has)."""
    rng = generator(f"sft/{part}", data_seed)
    taken = _taken(data_seed)
    if part == "val":
        taken |= {_said(m) for m in _messages(data_seed) if m.role == "user"}
        return [_conversation(rng, 1 + i % 2, "val", taken) for i in range(EVAL_ROWS)]
    count = STAGE_1_ROWS if part == "1" else STAGE_2_ROWS
    return [_conversation(rng, int(part), "train", taken) for _ in range(count)]


def _messages(data_seed: int) -> list[Message]:
    rows = (*conversations("1", data_seed), *conversations("2", data_seed))
    return [message for row in rows for message in row.messages]


def texts(data_seed: int) -> list[str]:
    """All text of both stages, for the tokenizer."""
    return [part for m in _messages(data_seed) for part in (m.content, m.thought or "")]
