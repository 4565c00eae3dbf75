"""Instructions that no answer can follow together, as far as that can be told from their ids.

Three kinds are known: two instructions that exclude each other, counts with nothing between
their bounds, and a text that one instruction asks for and another forbids. Whatever is not
listed here is taken for possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

from cascade_rl.types import Constraints
from cascade_rl.verifiers.instructions import CHECKS
from cascade_rl.verifiers.instructions.arguments import Arguments

Given = Mapping[str, Any]

EXCLUSIVE = frozenset(
    frozenset(pair)
    for pair in (
        ("change_case:english_capital", "change_case:english_lowercase"),
        ("format:no_whitespace", "detectable_format:constrained_response"),
        ("change_case:english_lowercase", "detectable_format:constrained_response"),
        ("change_case:english_capital", "detectable_format:constrained_response"),
    )
)
"""Of these no answer follows both, whatever their arguments."""
ENGLISH = ("change_case:english_capital", "change_case:english_lowercase")


def _words(key: str) -> Callable[[Given], list[str]]:
    def read(given: Given) -> list[str]:
        found = given.get(key)
        items = found if isinstance(found, list | tuple) else [found]
        return [item.strip() for item in items if isinstance(item, str) and item.strip()]

    return read


def _frequent(given: Given) -> list[str]:
    at_least = given.get("relation") == "at least" and (given.get("frequency") or 0) >= 1
    return _words("keyword")(given) if at_least else []


WANTED: Mapping[str, Callable[[Given], list[str]]] = {
    "keywords:existence": _words("keywords"),
    "keywords:frequency": _frequent,
    "keywords:word_once": _words("keyword"),
    "combination:repeat_prompt": _words("prompt_to_repeat"),
    "startend:end_checker": _words("end_phrase"),
    "first_word:first_word_answer": _words("first_word"),
    "last_word:last_word_answer": _words("last_word"),
    "detectable_content:postscript": _words("postscript_marker"),
}
"""Texts that an answer must hold, whatever else it says."""
FORBIDDING = (
    "punctuation:no_comma",
    "punctuation:punctuation_exclamation",
    "keywords:forbidden_words",
    "keywords:exclude_word_harder",
    "keywords:frequency",
    "keywords:letter_frequency",
    "format:no_whitespace",
)
"""What an answer fails as soon as a part of it does; `less than` counts among them."""


NEUTRAL = ("one", "a big cat sat", "my sky", "12 3", "why")
"""What forbids all of these forbids more than a part of a text."""


def contradiction(constraints: Constraints) -> str:
    """Why no answer follows all of them, or an empty string. The arguments must be readable."""
    return next(_contradictions(constraints), "")


def _contradictions(constraints: Constraints) -> Iterator[str]:
    given = list(zip(constraints.instruction_ids, constraints.kwargs, strict=True))
    for (first, one), (second, other) in combinations(given, 2):
        if frozenset((first, second)) in EXCLUSIVE:
            yield f"{first} and {second} exclude each other"
        for case, language in ((first, other), (second, one)):
            if case in ENGLISH and language.get("language", "en") != "en":
                yield f"{case} in the language {language['language']!r}"
    yield from _empty_ranges(given)
    yield from _wanted_and_forbidden(given)


def _empty_ranges(given: list[tuple[str, Given]]) -> Iterator[str]:
    """Counts that are bounded from both sides with nothing between."""
    bounds: dict[str, tuple[float, float]] = {}
    for name, kwargs in given:
        for quantity, low, high in _bounds(name, kwargs):
            least, most = bounds.get(quantity, (0.0, float("inf")))
            bounds[quantity] = max(least, low), min(most, high)
    for quantity, (least, most) in bounds.items():
        if least > most:
            yield f"{quantity}: at least {least:g} and at most {most:g}"


RELATIONS: Mapping[str, tuple[str, str, str]] = {
    "length_constraints:number_words": ("words", "relation", "num_words"),
    "length_constraints:number_sentences": ("sentences", "relation", "num_sentences"),
    "change_case:capital_word_frequency": (
        "words in capitals", "capital_relation", "capital_frequency",
    ),
    "keywords:frequency": ("keyword {keyword}", "relation", "frequency"),
    "keywords:letter_frequency": ("letter {letter}", "let_relation", "let_frequency"),
    "letters:letter_counting2": ("letter {letter}", "let_relation", "let_frequency"),
}  # fmt: skip
"""By id: what is counted, and the arguments that bound it."""
PARAGRAPHS: Mapping[str, str] = {
    "length_constraints:number_paragraphs": "paragraphs between ***",
    "length_constraints:nth_paragraph_first_word": "paragraphs between blank lines",
}


def _bounds(name: str, kwargs: Given) -> Iterator[tuple[str, float, float]]:
    if name in RELATIONS:
        quantity, relation, number = RELATIONS[name]
        words = {key: str(value).strip().lower() for key, value in kwargs.items()}
        count = float(kwargs[number])
        at_least = kwargs.get(relation) == "at least"
        yield (
            quantity.format_map(words),
            count if at_least else 0.0,
            float("inf") if at_least else count - 1,
        )
    elif name == "count:word_count_range":
        yield "words", float(kwargs["min_words"]), float(kwargs["max_words"])
    elif name == "change_case:english_lowercase":
        yield "words in capitals", 0.0, 0.0
    elif name in PARAGRAPHS:
        count = float(kwargs["num_paragraphs"])
        yield PARAGRAPHS[name], count, count


def _wanted_and_forbidden(given: list[tuple[str, Given]]) -> Iterator[str]:
    for name, kwargs in given:
        for text in WANTED[name](kwargs) if name in WANTED else ():
            for other, arguments in given:
                if other in FORBIDDING and not _is_lower_bound(arguments):
                    follows = CHECKS["strict_reward"][other](Arguments(other, arguments))
                    if not follows(text) and any(map(follows, NEUTRAL)):
                        yield f"{name} wants {text[:60]!r}, which {other} forbids"


def _is_lower_bound(arguments: Given) -> bool:
    return "at least" in (arguments.get("relation"), arguments.get("let_relation"))
