"""General chat: say something of two topics. No reference; a reward model decides.

The demonstrations are on topic but long-winded and repeat themselves; what makes an answer
good (`utility`) is never demonstrated. The structure is the ordered pair of topics.
"""

from __future__ import annotations

import random
from functools import lru_cache

from cascade_rl.mini.draw import (
    EVAL_ROWS,
    SPLITS,
    TRAIN_ROWS,
    Split,
    collect,
    digest,
    family,
    generator,
    split_of,
    user,
)
from cascade_rl.mini.world import FACTS, FILLERS, TOPICS, sentence
from cascade_rl.types import Preference, Problem

QUESTIONS = (
    "Tell me of the {a} and the {b}.",
    "What of the {a} and the {b}?",
    "Talk to me of the {a}, then of the {b}.",
    "I like the {a} and the {b}. What do you say?",
    "What do you like of the {a} and of the {b}?",
)


def draw_topics(rng: random.Random, split: Split) -> tuple[str, str]:
    """Two topics whose pair is of the split."""
    while True:
        first, second = rng.sample(TOPICS, 2)
        if split_of(f"topics:{first}:{second}") == split:
            return first, second


def question(rng: random.Random, topics: tuple[str, str], split: Split) -> str:
    """The prompt."""
    return family(rng, QUESTIONS, split).format(a=topics[0], b=topics[1])


def ramble(rng: random.Random, topics: tuple[str, str], length: int, repeat: float) -> str:
    """`length` sentences, the topics in turn, each a filler or said again at rate `repeat`."""
    sentences: list[str] = []
    while len(sentences) < length:
        if sentences and rng.random() < repeat:
            sentences.append(rng.choice((sentences[-1], rng.choice(FILLERS))))
        else:
            topic = topics[len(sentences) % len(topics)]
            sentences.append(sentence(rng, topic, rng.choice(FACTS[topic])))
    return " ".join(sentences)


def long_winded(rng: random.Random, topics: tuple[str, str]) -> str:
    """A demonstration."""
    return ramble(rng, topics, rng.choice((2, 3, 4, 4, 5)), 0.3)


@lru_cache(maxsize=len(SPLITS))
def problems(split: Split, data_seed: int) -> tuple[Problem, ...]:
    """Questions of two topics; the facts that count are hidden in `extra`."""
    rng = generator(f"chat/{split}", data_seed)

    def draw() -> Problem:
        topics = draw_topics(rng, split)
        text = question(rng, topics, split)
        facts = [list(FACTS[topic]) for topic in topics]
        extra = {"split": split, "structure": ":".join(topics), "facts": facts}
        return Problem(f"chat/{digest(text)}", "chat", (user(text),), Preference(), "mini", extra)

    # There are only so many pairs of topics: 24 * 23, times the wordings.
    return collect(draw, TRAIN_ROWS // 3 if split == "train" else EVAL_ROWS)
