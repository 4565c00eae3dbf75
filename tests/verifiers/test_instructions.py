"""Each instruction, what it accepts and refuses under each policy, in bounded time."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.types import Constraints, Problem, Verdict
from cascade_rl.verifiers.instructions import (
    CHECKS,
    LONGEST,
    check_instructions,
    verify_instructions,
)
from cascade_rl.verifiers.instructions.text import sentences, tokens

CASES = Path(__file__).resolve().parents[1] / "cases" / "instructions.jsonl"
ROWS = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
POLICIES = ("strict_reward", "official")


def problem(*pairs: tuple[str, dict[str, Any]]) -> Problem:
    ids, kwargs = tuple(i for i, _ in pairs), tuple(k for _, k in pairs)
    return Problem("p", "instruction_following", (), Constraints(ids, kwargs), "test")


def verdict(row: dict[str, Any]) -> Verdict:
    policy = row.get("policy", "strict_reward")
    return verify_instructions(problem((row["id"], row["kwargs"])), row["text"], policy=policy)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['id']} {row['text'][:20]!r}")
def test_the_verdict_on(row: dict[str, Any]) -> None:
    assert verdict(row).status == row["status"]


def test_ifeval_has_25_instructions_ifbench_58_and_29_families_under_each_policy() -> None:
    assert set(CHECKS["official"]) == set(CHECKS["strict_reward"])
    assert len(CHECKS["official"]) == 25 + 58 + 29


def test_every_instruction_has_a_case_that_holds_one_that_does_not_and_a_third() -> None:
    default = [row for row in ROWS if "policy" not in row]
    seen = {(row["id"], row["status"]) for row in default}
    count = Counter(row["id"] for row in default)
    for name in CHECKS["strict_reward"]:
        assert (name, "right") in seen and (name, "wrong") in seen and count[name] >= 3, name


def test_one_broken_instruction_makes_the_answer_wrong_and_is_named() -> None:
    rules = problem(("punctuation:no_comma", {}), ("startend:quotation", {}))
    assert verify_instructions(rules, '"fine"').outcome is True
    verdict = verify_instructions(rules, '"not, fine"')
    assert (verdict.outcome, verdict.answer) == (False, "punctuation:no_comma")


def test_only_the_answer_counts() -> None:
    rule = problem(("punctuation:no_comma", {}))
    assert verify_instructions(rule, "<think>a, b</think>c").outcome is True
    assert verify_instructions(rule, "<think>a b").outcome is False


def test_an_unknown_instruction_is_invalid_whatever_the_answer() -> None:
    rules = problem(("punctuation:no_comma", {}), ("keywords:unknown", {}))
    for text in ("", "a", "<think>", "a" * (LONGEST + 1)):
        for policy in POLICIES:
            verdict = verify_instructions(rules, text, policy=policy)
            assert (verdict.status, verdict.score) == ("invalid", None)
            assert "keywords:unknown" in verdict.reason


def test_loose_forgives_a_first_line_and_asterisks() -> None:
    rule = Constraints(("startend:quotation",), ({},))
    text = 'Sure:\n*"yes"*'
    assert check_instructions(rule, text) == [False]
    assert check_instructions(rule, text, loose=True) == [True]


def test_policy_and_looseness_are_options_of_a_verifier_that_pickles() -> None:
    verifier = partial(verify_instructions, policy="official", loose=True)
    rule = problem(("keywords:existence", {"keywords": ["cat"]}))
    assert pickle.loads(pickle.dumps(verifier))(rule, "concatenate").outcome is True
    assert verify_instructions(rule, "concatenate").outcome is False


def test_languages_are_loaded_at_the_first_question() -> None:
    code = (
        "import sys, cascade_rl.verifiers.instructions as v\n"
        "from cascade_rl.types import Constraints\n"
        "v.check_instructions(Constraints(('punctuation:no_comma',), ({},)), 'a')\n"
        "print([name for name in ('langdetect', 'nltk') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SENTENCES = {
    "One. Two! Three?": ["One.", "Two!", "Three?"],
    'He said "Stop." Then left.': ['He said "Stop."', "Then left."],
    "It is 3. next": ["It is 3. next"],
    "J. Smith came... and went.": ["J. Smith came... and went."],
    "Wait!! (Really?) Yes": ["Wait!!", "(Really?)", "Yes"],
    "a.b c": ["a.b c"],
    "  ": [],
}
TOKENS = {
    "Don't go, it's 3,000!": ["Do", "n't", "go", ",", "it", "'s", "3,000", "!"],
    "The U.S. won. I cannot...": ["The", "U.S", ".", "won", ".", "I", "can", "not", "..."],
    "(so-called \"x\")": ["(", "so-called", "``", "x", "''", ")"],
}  # fmt: skip


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_are_those_of_punkt_without_a_model(text: str) -> None:
    assert list(sentences(text)) == SENTENCES[text]


@pytest.mark.parametrize("text", TOKENS)
def test_tokens_are_those_of_the_penn_treebank(text: str) -> None:
    assert list(tokens(text)) == TOKENS[text]


KWARGS = {
    "keywords": ["a"], "forbidden_words": ["a"], "keyword": "a", "relation": "at least",
    "frequency": 3, "letter": "a", "let_relation": "at least", "let_frequency": 3, "num_words": 3,
    "num_sentences": 3, "num_paragraphs": 3, "nth_paragraph": 1, "first_word": "a",
    "last_word": "a", "capital_relation": "at least", "capital_frequency": 3, "end_phrase": "a",
    "num_bullets": 3, "num_highlights": 3, "section_spliter": "S", "num_sections": 3,
    "num_placeholders": 3, "postscript_marker": "P.S.", "prompt_to_repeat": "a b c d e",
    "language": "de", "N": 3, "n": 1, "m": 1, "n_start": 0, "n_end": 3, "n_sent": 2, "n_words": 2,
    "small_n": 2, "min_words": 1, "max_words": 9, "percentage": 50, "reference_text": "a b c",
    "options": "yes/no", "sep": "*", "word": "a", "phrase": "a b c", "keyword1": "a",
    "keyword2": "b", "keyword3": "c", "keyword4": "d", "keyword5": "e",
}  # fmt: skip
HOSTILE = {
    "angles": "<<" * 50_000, "brackets": "[" * 65_536, "stars": "*" * 65_536,
    "blanks": " " * 65_536 + "x", "newlines": "\n" * 65_536 + "-", "abbreviations": "p." * 32_768,
    "words": "a b c " * 11_000, "braces": "{" * 65_536, "dots": "." * 65_536,
    "surrogates": "\ud800\0" * 32_768, "quotes": "\"'" * 32_768, "marks": "a! " * 22_000,
    "one word": "a" * 65_536, "dashes": "--- " * 16_384, "numbers": "1. " * 22_000,
    "questions": "Question 1\n" * 6_000, "combining": "a" + "\u0301" * 65_536,
    "cyrillic": "ж " * 32_768, "japanese": "日本" * 32_768, "marked": "a.(" * 22_000,
    "bullets": "\n*" * 32_768, "invisible": "\u200b" * 65_536, "commas": "a," * 32_768,
    "addresses": "a@" * 32_768, "binary": "".join(map(chr, range(256))) * 256,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_judged_by_every_instruction_in_linear_time(name: str) -> None:
    slow = {}
    for policy in POLICIES:
        for instruction in CHECKS[policy]:
            started = time.process_time()
            rule = Constraints((instruction,), (KWARGS,))
            check_instructions(rule, HOSTILE[name], policy=policy)
            if (took := time.process_time() - started) > 1:
                slow[policy, instruction] = took
    assert not slow


def test_an_answer_of_ten_megabytes_is_wrong_at_once() -> None:
    rules = problem(*[(name, KWARGS) for name in CHECKS["strict_reward"]])
    for text in ("a" * 10_000_000, "\x00\xff" * 5_000_000, "<think>" + "b " * 5_000_000):
        started = time.process_time()
        for policy in POLICIES:
            assert verify_instructions(rules, text, policy=policy, loose=True).outcome is False
        assert time.process_time() - started < 2
