"""Preference pairs for the reward model: two answers to one question, ordered by the utility.

The answers differ in what a policy can change: how much they say, how often they repeat
themselves, whether they keep to the topics, and whether they say anything at all.
"""

from __future__ import annotations

import random

from cascade_rl.mini import chat
from cascade_rl.mini.draw import EVAL_ROWS, TRAIN_ROWS, Split, digest, generator, user
from cascade_rl.mini.utility import utility
from cascade_rl.mini.world import FACTS, FILLERS, TOPICS
from cascade_rl.types import Pair

MARGIN = 0.25
"""Pairs closer than this in utility are not asked of anyone."""

TWINS = 0.75
"""Share of drawn pairs that differ in topic alone."""


def candidate(rng: random.Random, topics: tuple[str, str]) -> str:
    """An answer somebody might give."""
    subjects = list(topics)
    if rng.random() < 0.35:
        subjects[rng.randrange(2)] = rng.choice(TOPICS)
    kind = rng.random()
    if kind < 0.06:
        return rng.choice(FILLERS)
    if kind < 0.12:
        return " ".join(
            rng.choices([*FACTS[subjects[0]], *subjects, "the", "a"], k=rng.randint(1, 9))
        )
    first, second = subjects
    text = chat.ramble(rng, (first, second), rng.choice((1, 2, 2, 3, 4, 5)), rng.choice((0.0, 0.4)))
    if kind < 0.3:
        words = text.split()
        return " ".join(words[: rng.randint(1, len(words))])
    return text


def two_answers(rng: random.Random, topics: tuple[str, str]) -> tuple[str, str]:
    """Two candidates; mostly twins of one length, the second of them off the topic.

    Without the twins length alone tells most pairs apart, and a policy learns to be short about
    anything (the reward model then attends to style only, section 4.2).
    """
    if rng.random() >= TWINS:
        return candidate(rng, topics), candidate(rng, topics)
    away = list(topics)
    for place in rng.choice(((0,), (1,), (0, 1), (0, 1))):
        away[place] = rng.choice(TOPICS)
    length = rng.choice((2, 3, 4, 4))  # in short twins alone the topic is found late or never
    there, elsewhere = topics, (away[0], away[1])
    return chat.ramble(rng, there, length, 0.0), chat.ramble(rng, elsewhere, length, 0.0)


def pairs(split: Split, data_seed: int) -> list[Pair]:
    """Pairs over the questions of a split, at least `MARGIN` apart."""
    rng = generator(f"pairs/{split}", data_seed)
    found: list[Pair] = []
    while len(found) < (TRAIN_ROWS if split == "train" else EVAL_ROWS):
        topics = chat.draw_topics(rng, split)
        facts = [FACTS[topic] for topic in topics]
        scored = sorted((utility(text, facts), text) for text in two_answers(rng, topics))
        (low, rejected), (high, chosen) = scored
        if high - low >= MARGIN:
            prompt = (user(chat.question(rng, topics, split)),)
            name = digest(f"{prompt[0].content}|{chosen}|{rejected}")
            found.append(Pair(f"pairs/{name}", prompt, chosen, rejected, "mini", "chat"))
    return found
