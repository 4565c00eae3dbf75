"""Write about a topic under two or three constraints that a program can check.

The ids and keyword arguments are IFEval's. The structure is the set of constraint kinds, so a
test asks for combinations that were never trained; demonstrations (`comply`) keep every
constraint, but mostly one at a time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Any

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
from cascade_rl.mini.world import FACTS, TOPICS, sentence
from cascade_rl.types import Constraints, Problem

TASKS = (
    "Write about the {t}. {rules}",
    "Write of the {t}: {rules}",
    "Write this: {rules} It is about the {t}.",
    "Write a text. {rules} Its topic: the {t}.",
)
ENDINGS = ("The end.", "Good night.")
EXCLUSIVE = frozenset({("bullets", "quotes"), ("at least", "less than"), ("include", "often")})
"""Kinds that contradict each other, or that together take a third sentence.

Nothing here needs more than two: where it does, the whole model learns to be long, and chat
pays for it (`docs/log.md`).
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One constraint: how the prompt says it, and IFEval's id and arguments for it."""

    kind: str
    words: str
    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def _rule(rng: random.Random, kind: str, topic: str) -> Rule:
    other = rng.choice(FACTS[rng.choice(TOPICS)])
    arguments: dict[str, Any]
    match kind:
        case "include":
            return Rule(kind, f"Use {other}.", "keywords:existence", {"keywords": [other]})
        case "avoid":
            word = rng.choice(FACTS[topic])
            arguments = {"forbidden_words": [word]}
            return Rule(kind, f"Avoid {word}.", "keywords:forbidden_words", arguments)
        case "often":
            n = 2
            arguments = {"keyword": other, "frequency": n, "relation": "at least"}
            return Rule(kind, f"Say {other} {n} times.", "keywords:frequency", arguments)
        case "at least" | "less than":
            n = rng.choice((6, 8)) if kind == "at least" else 9
            arguments = {"num_words": n, "relation": kind}
            return Rule(
                kind,
                f"{kind.capitalize()} {n} words.",
                "length_constraints:number_words",
                arguments,
            )
        case "lowercase":
            return Rule(kind, "All lowercase.", "change_case:english_lowercase")
        case "no comma":
            return Rule(kind, "No commas.", "punctuation:no_comma")
        case "ending":
            end = rng.choice(ENDINGS)
            return Rule(kind, f"End with: {end}", "startend:end_checker", {"end_phrase": end})
        case "quotes":
            return Rule(kind, "Put it in quotes.", "startend:quotation")
        case _:
            n = 2
            arguments = {"num_bullets": n}
            return Rule(
                kind, f"Use {n} bullets.", "detectable_format:number_bullet_lists", arguments
            )


KINDS = ("include", "often", "at least", "lowercase", "no comma", "ending", "quotes", "bullets")


def _possible(kinds: Sequence[str]) -> bool:
    return not any(pair in EXCLUSIVE for pair in combinations(sorted(kinds), 2))


def draw_rules(rng: random.Random, split: Split, topic: str, count: int) -> list[Rule]:
    """`count` compatible constraints whose combination, arguments and all, is of the split.

    One alone belongs to no split: problems have two or more.
    """
    while True:
        kinds = rng.sample(KINDS, count)
        rules = [_rule(rng, kind, topic) for kind in kinds]
        if _possible(kinds) and (count == 1 or split_of(structure(rules)) == split):
            return rules


def structure(rules: Sequence[Rule]) -> str:
    """The combination of constraints with their arguments, whatever their order."""
    return "rules: " + " ".join(sorted(rule.words for rule in rules))


def comply(rng: random.Random, topic: str, rules: Sequence[Rule]) -> str:
    """A text about the topic that keeps every rule."""
    by_kind = {rule.kind: rule for rule in rules}
    facts = [
        f for f in FACTS[topic] if "avoid" not in by_kind or by_kind["avoid"].words != f"Avoid {f}."
    ]
    words = [rule.kwargs["keywords"][0] for rule in rules if rule.kind == "include"]
    if "often" in by_kind:
        words += [by_kind["often"].kwargs["keyword"]] * by_kind["often"].kwargs["frequency"]
    lines = [
        sentence(rng, topic, w, "no comma" not in by_kind) for w in words or [rng.choice(facts)]
    ]
    if "at least" in by_kind:
        needed = by_kind["at least"].kwargs["num_words"]
        while len(" ".join(lines).split()) < needed:
            lines.append(sentence(rng, topic, rng.choice(facts), "no comma" not in by_kind))
    if "bullets" in by_kind:
        count = by_kind["bullets"].kwargs["num_bullets"]
        while len(lines) < count:
            lines.append(sentence(rng, topic, rng.choice(facts), "no comma" not in by_kind))
        lines = [*lines[: count - 1], " ".join(lines[count - 1 :])]
    if "ending" in by_kind:
        end = by_kind["ending"].kwargs["end_phrase"]
        lines = [*lines[:-1], f"{lines[-1]} {end}"] if "bullets" in by_kind else [*lines, end]
    text = "\n".join(f"* {line}" for line in lines) if "bullets" in by_kind else " ".join(lines)
    text = text.lower() if "lowercase" in by_kind else text
    return f'"{text}"' if "quotes" in by_kind else text


def possible_length(topic: str, rules: Sequence[Rule]) -> bool:
    """Whether the shortest compliant text stays under `less than`, with two words to spare."""
    limit = next((r.kwargs["num_words"] for r in rules if r.kind == "less than"), None)
    if limit is None:
        return True
    shortest = min(len(comply(random.Random(i), topic, rules).split()) for i in range(8))
    return bool(shortest < limit)


def short_enough(rng: random.Random, topic: str, rules: Sequence[Rule]) -> str:
    """A demonstration: a compliant text, drawn again until it is under any `less than`."""
    limit = next((r.kwargs["num_words"] for r in rules if r.kind == "less than"), None)
    while True:
        text = comply(rng, topic, rules)
        if limit is None or len(text.split()) < limit:
            return text


def worded(rng: random.Random, topic: str, rules: Sequence[Rule], split: Split) -> str:
    """The prompt."""
    return family(rng, TASKS, split).format(t=topic, rules=" ".join(r.words for r in rules))


def reference(rules: Sequence[Rule]) -> Constraints:
    """The rules as IFEval says them."""
    return Constraints(tuple(r.id for r in rules), tuple(r.kwargs for r in rules))


@lru_cache(maxsize=len(SPLITS))
def problems(split: Split, data_seed: int) -> tuple[Problem, ...]:
    """Two or three rules over one topic."""
    rng = generator(f"instruction_following/{split}", data_seed)

    def draw() -> Problem | None:
        topic = rng.choice(TOPICS)
        rules = draw_rules(rng, split, topic, rng.choice((2, 3)))
        if not possible_length(topic, rules):
            return None
        text = worded(rng, topic, rules, split)
        name = f"instruction_following/{digest(text)}"
        extra = {"split": split, "structure": structure(rules)}
        return Problem(
            name, "instruction_following", (user(text),), reference(rules), "mini", extra
        )

    return collect(draw, TRAIN_ROWS if split == "train" else EVAL_ROWS)
