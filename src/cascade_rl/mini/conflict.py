"""Two stages that want opposite things, and their twin in which they never meet.

In the conflict one set of questions is trained twice: a reward model prefers short answers to
them, and an instruction set demands at least `LONG_ENOUGH` words of the very same ones. Whichever
comes last undoes the other, and a ledger that does not say so is broken. In the disjoint twin
the amounts are the same, but the demand for length stands in prompts of its own, which ask for
lists: where the same prose answers both, a model this small shortens the one with the other.
"""

from __future__ import annotations

import random

from cascade_rl.mini import chat
from cascade_rl.mini.draw import (
    EVAL_ROWS,
    TRAIN_ROWS,
    Split,
    collect,
    digest,
    generator,
    split_of,
    user,
)
from cascade_rl.mini.world import TOPICS
from cascade_rl.types import Constraints, Conversation, Message, Pair, Problem

LONG_ENOUGH = 14
"""Words that an answer must have; two sentences of the preferred kind stay under it."""
CONVERSATIONS = 4000


def _own_wording(rng: random.Random, split: Split) -> tuple[str, tuple[str, str]]:
    """A question of the twin: a list, in other words than chat's, topics of its own draw."""
    while True:
        first, second = rng.sample(TOPICS, 2)
        if split_of(f"long:{first}:{second}") == split:
            return f"List all: {first}, {second}.", (first, second)


def _question(rng: random.Random, split: Split, disjoint: bool) -> tuple[str, tuple[str, str]]:
    if disjoint:
        return _own_wording(rng, split)
    topics = chat.draw_topics(rng, split)
    return chat.question(rng, topics, split), topics


def instructions(split: Split, data_seed: int, disjoint: bool) -> tuple[Problem, ...]:
    """At least `LONG_ENOUGH` words, of chat's own questions or of the twin's."""
    name = "conflict/disjoint-instructions" if disjoint else "conflict/instructions"
    rng = generator(f"{name}/{split}", data_seed)
    rule = {"num_words": LONG_ENOUGH, "relation": "at least"}
    reference = Constraints(("length_constraints:number_words",), (rule,))

    def draw() -> Problem:
        text, topics = _question(rng, split, disjoint)
        extra = {"split": split, "structure": ":".join(topics)}
        name = f"conflict/{digest(text)}"
        return Problem(name, "instruction_following", (user(text),), reference, "mini", extra)

    return collect(draw, TRAIN_ROWS // 10 if split == "train" else EVAL_ROWS // 5)


def pairs(split: Split, data_seed: int) -> list[Pair]:
    """The short answer is preferred to the long one, whatever they say."""
    rng = generator(f"conflict/pairs/{split}", data_seed)
    found = []
    for _ in range(TRAIN_ROWS // 2 if split == "train" else EVAL_ROWS):
        topics = chat.draw_topics(rng, split)
        prompt = (user(chat.question(rng, topics, split)),)
        short, long = sorted(rng.sample(range(1, 6), 2))
        chosen, rejected = (chat.ramble(rng, topics, length, 0.2) for length in (short, long))
        name = digest(f"{prompt[0].content}|{chosen}|{rejected}")
        found.append(Pair(f"pairs/{name}", prompt, chosen, rejected, "mini", "brevity"))
    return found


def demonstrations(data_seed: int) -> list[Conversation]:
    """Answers of one to five sentences in prose or as a list: the start of both orders.

    To no question that a stage after it is asked.
    """
    rng = generator("conflict/sft", data_seed)
    rows = [*chat.problems("train", data_seed)]
    for disjoint in (False, True):
        rows += instructions("train", data_seed, disjoint)
    taken = {row.prompt[0].content for row in rows}
    found = []
    for i in range(CONVERSATIONS):
        disjoint = rng.random() < 0.5
        text, topics = _question(rng, "train", disjoint)
        while text in taken:
            text, topics = _question(rng, "train", disjoint)
        answer = chat.ramble(rng, topics, rng.randint(1, 5), 0.2)
        if disjoint:
            answer = "* " + answer.replace(". ", ".\n* ")
        messages = (user(text, "no_think"), Message("assistant", answer))
        found.append(Conversation(f"conflict/sft-{i:05d}", messages, "mini"))
    return found
