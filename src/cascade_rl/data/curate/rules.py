"""The table of all rules, and how one is named: `NAME`, or `NAME=VALUE` where it takes a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cascade_rl.data.curate import (
    code_text,
    difficulty,
    lengths,
    math_text,
    pairs,
    prompts,
    science,
    vote,
)
from cascade_rl.data.curate.rule import Check, Given, Kind, Rule, plain
from cascade_rl.errors import ConfigError

MATH: tuple[Kind, ...] = ("math",)
CODE: tuple[Kind, ...] = ("code",)
VERIFIED: tuple[Kind, ...] = ("math", "code", "instruction_following", "swe")
PROBLEMS: tuple[Kind, ...] = (*VERIFIED, "chat")
ANSWERED: tuple[Kind, ...] = (*VERIFIED, "conversation")
PAIRS: tuple[Kind, ...] = ("pair",)

RULES: Mapping[str, Rule] = {
    # math_text.py: math problems by their text and reference
    "multiple_choice": Rule(
        "answers to choose from", (*MATH, "conversation"), plain(math_text.multiple_choice)
    ),
    "true_false": Rule("yes or no, true or false", MATH, plain(math_text.true_false)),
    "proof": Rule("asks for a proof", MATH, plain(math_text.proof)),
    "sub_questions": Rule("parts (a), (b) that ask", MATH, plain(math_text.sub_questions)),
    "several_questions": Rule("two questions", MATH, plain(math_text.several_questions)),
    "figure": Rule("a drawing, or speaks of one", (*MATH, *CODE), plain(math_text.figure)),
    "non_english": Rule("another language", (*MATH, *CODE), plain(math_text.non_english)),
    "too_short": Rule("a prompt below VALUE characters", MATH, math_text.too_short, "15"),
    "long_answer": Rule("a reference above VALUE characters", MATH, math_text.long_answer, "100"),
    "complex_answer": Rule("a reference in prose or cases", MATH, plain(math_text.complex_answer)),
    # vote.py: recorded attempts
    "majority_vote": Rule(
        "most attempts differ from the reference", MATH, plain(vote.majority_vote)
    ),
    # difficulty.py: recorded pass rates
    "solved_from": Rule(
        "solved in VALUE of attempts or more", VERIFIED, difficulty.solved_from, "75%"
    ),
    "solved_above": Rule("solved in more than VALUE", VERIFIED, difficulty.solved_above, "6/16"),
    "never_solved": Rule("solved in no attempt", VERIFIED, difficulty.never_solved, "any"),
    "level_above": Rule("more than VALUE failures of 8", VERIFIED, difficulty.level_above, "7"),
    # lengths.py: recorded responses
    "response_short": Rule("answered below VALUE tokens", ANSWERED, lengths.response_short, "2000"),
    "response_thinned": Rule(
        "between two lengths, all but a share", ANSWERED, lengths.response_thinned, "2000-4000@50%"
    ),
    "response_long": Rule("answered above VALUE tokens", ANSWERED, lengths.response_long, "16384"),
    # science.py, code_text.py, prompts.py
    "option_analysis": Rule(
        "options are analysed, nothing is solved", ANSWERED, plain(science.option_analysis)
    ),
    "released_from": Rule(
        "released on VALUE or later", CODE, code_text.released_from, "2024-08-01"
    ),
    "no_math_or_code": Rule(
        "a math or competitive programming prompt", PROBLEMS, plain(prompts.no_math_or_code)
    ),
    # pairs.py: preference pairs
    "pair_tie": Rule("neither answer is preferred", PAIRS, plain(pairs.pair_tie)),
    "pair_margin": Rule("preferred by less than VALUE", PAIRS, pairs.pair_margin, "1"),
    "pair_identical": Rule("the same answer twice", PAIRS, plain(pairs.pair_identical)),
    "pair_empty": Rule("an answer without text", PAIRS, plain(pairs.pair_empty)),
}
"""`meaning` completes: a row goes when it has, is or was ..."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A rule with the value it has in this run."""

    name: str
    value: str
    rule: Rule
    check: Check

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.name}={self.value}" if self.value else self.name


def choose(names: Iterable[str], given: Given) -> list[Chosen]:
    """The rules of that name in order; a later one replaces an earlier one in its place.

    Raises ConfigError for an unknown name, or a value that the rule cannot read or does not take.
    """
    found: dict[str, Chosen] = {}
    for text in names:
        name, _, value = text.strip().partition("=")
        rule = RULES.get(name)
        if rule is None:
            near = difflib.get_close_matches(name, RULES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see them:  cascade data curate --list"
            raise ConfigError(f"no rule is called {name!r}", hint=hint)
        if value and not rule.default:
            raise ConfigError(f"the rule {name} takes no value; found {value!r}")
        value = value or rule.default
        found[name] = Chosen(name, value, rule, rule.build(value, given))
    return list(found.values())
