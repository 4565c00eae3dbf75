"""The hidden utility of a chat answer: on topic, short, no repetition.

Training never reads it: the reward model sees pairs that were ordered by it, and evaluation
reports it. An answer that says one fact of every topic asked for, in at most `SHORT` words
that differ, scores 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from cascade_rl.types import Problem, Verdict, partial

SHORT, LONG = 14, 40
"""Words up to which an answer is short, and from which it is worth nothing."""


def utility(text: str, facts: Sequence[Sequence[str]]) -> float:
    """Score in [0, 1]: the product of three shares.

    Topic: the share of topics of which a fact is named. Brevity: 1 up to `SHORT` words, 0 from
    `LONG`. Novelty: the share of the pairs of neighbouring words that occur the first time.
    """
    words = re.findall(r"[a-z]+", text.lower())
    if not words:
        return 0.0
    topic = sum(any(fact in words for fact in of_topic) for of_topic in facts) / len(facts)
    brevity = min(1.0, max(0.0, (LONG - len(words)) / (LONG - SHORT)))
    neighbours = list(pairwise(words)) or [(words[0], "")]
    novelty = len(set(neighbours)) / len(neighbours)
    return topic * brevity * novelty


def chat_utility(problem: Problem, text: str) -> Verdict:
    """The utility of an answer; `text` is the completion without its thought."""
    score = utility(text, problem.extra["facts"])
    return partial(round(score, 6), f"utility {score:.2f}")
