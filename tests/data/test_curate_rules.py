"""Each rule of curation against its table of cases, and on any text."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.data.curate import PRESETS, RULES, Given, choose, no_math_or_code
from cascade_rl.data.curate.rule import Check, kind_of_row
from cascade_rl.data.files import raw_rows
from cascade_rl.data.schema import kind_of, parse_row
from cascade_rl.errors import ConfigError
from cascade_rl.types import Answer, Conversation, Message, Pair, Preference, Problem, Row

CASES = Path(__file__).parents[1] / "cases"
TEXTS = [json.loads(line) for line in (CASES / "curate_math.jsonl").read_text("utf-8").splitlines()]
ROWS = [json.loads(line) for line in (CASES / "curate_rows.jsonl").read_text("utf-8").splitlines()]
Find = Callable[[str], Path]


def problem(text: str, answer: str = "7", **extra: Any) -> Problem:
    return Problem("p", "math", (Message("user", text),), Answer(answer), "t", extra)


def rule(name: str) -> Check:
    return choose([name], Given())[0].check


# --- tables of cases --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [c for c in TEXTS if "text" in c], ids=lambda c: f"{c['rule']}: {c['text'][:40]}"
)
def test_every_text_of_the_table_is_told_as_it_was_judged(case: dict[str, Any]) -> None:
    said = rule(case["rule"])(problem(case["text"], case["answer"]))
    assert (said is not None) == case["hit"], said


@pytest.mark.parametrize(
    "case", [c for c in TEXTS if "file" in c], ids=lambda c: f"{c['rule']}: {c['id']}"
)
def test_every_public_problem_of_the_table_is_told_as_it_was_judged(
    case: dict[str, Any], shared_data: Find
) -> None:
    found = next(row for row in raw_rows(shared_data(case["file"])) if name_of(row) == case["id"])
    said = rule(case["rule"])(problem(found["problem"], str(found["answer"])))
    assert (said is not None) == case["hit"], said


def name_of(row: dict[str, Any]) -> str:
    if "unique_id" in row:
        return str(row["unique_id"])
    return f"{row.get('year')}-{row.get('aime_number')}-{row.get('problem_number')}"


@pytest.mark.parametrize("case", ROWS, ids=[f"{i}-{c['rule']}" for i, c in enumerate(ROWS)])
def test_every_row_of_the_table_gets_the_reason_it_should(case: dict[str, Any]) -> None:
    row = parse_row(case["row"], kind_of(case["row"]))
    said = rule(case["rule"])(row)
    if said is not None and not said.startswith("not recorded"):
        said = said.partition(": ")[0]
    assert said == case["says"]


def test_every_rule_has_cases_both_ways() -> None:
    hits: dict[str, set[bool]] = defaultdict(set)
    for case in TEXTS:
        hits[case["rule"]].add(case["hit"])
    for case in ROWS:
        name = case["rule"].partition("=")[0]
        hits[name].add(case["says"] is not None and "not recorded" not in case["says"])
    assert {name: hits[name] for name in RULES} == {name: {True, False} for name in RULES}


def test_at_least_sixty_math_cases_were_judged_by_hand() -> None:
    own = [case["hit"] for case in TEXTS if "text" in case]
    assert len(own) >= 60 and min(own.count(True), own.count(False)) >= 30


# --- real rows --------------------------------------------------------------------------------

PUBLIC = {
    "math/deepscaler_math500.json": {"multiple_choice": 3, "figure": 43},
    "math/deepscaler_train_aime.json": {"figure": 95},
    "math/gsm8k_test.jsonl": {},
}
"""Hits of the rules on text, each read by a person: none of them is false."""


@pytest.mark.parametrize("file", PUBLIC)
def test_public_problems_are_hit_as_counted_by_hand(file: str, shared_data: Find) -> None:
    rules = {c.name: c.check for c in choose([n for n in RULES if asks_of_text(n)], Given())}
    hits = dict.fromkeys(rules, 0)
    for raw in raw_rows(shared_data(file)):
        answer = str(raw["answer"]).rpartition("####")[2].strip()
        row = problem(raw.get("problem") or raw["question"], answer)
        for name, check in rules.items():
            hits[name] += check(row) is not None
    assert {name: count for name, count in hits.items() if count} == PUBLIC[file]


def asks_of_text(name: str) -> bool:
    return (
        name
        in (
            "multiple_choice true_false proof sub_questions several_questions figure non_english "
            "too_short long_answer complex_answer"
        ).split()
    )


def test_math_and_contest_prompts_are_kept_out_of_rlhf(shared_data: Find) -> None:
    asked = [raw["problem"] for raw in raw_rows(shared_data("math/deepscaler_math500.json"))]
    asked += [raw["question"] for raw in raw_rows(shared_data("math/gsm8k_test.jsonl"))]
    contest = [raw["content"] for raw in raw_rows(shared_data("code/sf_code_contests.jsonl"))]
    other = [raw["prompt"] for raw in raw_rows(shared_data("if/ifeval_input_data.jsonl"))]
    assert share_out(asked) > 0.95
    assert share_out(contest) == 1.0
    assert share_out(other) < 0.02


def share_out(texts: list[str]) -> float:
    rows = [Problem("c", "chat", (Message("user", t),), Preference(), "t") for t in texts]
    return sum(no_math_or_code(row) is not None for row in rows) / len(rows)


# --- any text ---------------------------------------------------------------------------------

ANYTHING = [c.check for c in choose(RULES, Given())]
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.lists(st.one_of(st.text(max_size=30), st.integers(), st.none()), max_size=4),
    st.dictionaries(st.sampled_from(["correct", "total", "text", "rewrite"]), st.floats()),
)  # fmt: skip
KEYS = (
    "attempts outputs pass_rate pass_rates passrate total_rollouts total_correct_rollouts date "
    "response_tokens score overall_preference score_chosen score_rejected off_topic"
).split()
PIECES = st.sampled_from(
    ["(a) ", "(A) ", "B. ", "$", "\\boxed{", "[asy]", "?", "Prove that ", " shown below ", "\n",
     "\\[", "{", "\ud800", "\0", "数", "1 <= n <= 10^5", "Option C ", "\\text{", "true or false"]
)  # fmt: skip
TEXT = st.lists(st.one_of(st.text(max_size=20), PIECES), max_size=12).map("".join)


@settings(max_examples=150, deadline=None)
@given(text=TEXT, answer=TEXT, extra=st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=4))
def test_no_rule_fails_on_any_row(text: str, answer: str, extra: dict[str, Any]) -> None:
    user = (Message("user", text),)
    rows: list[Row] = [
        Problem("p", "math", user, Answer(answer), "t", extra),
        Problem("p", "chat", user, Preference(), "t", extra),
        Conversation("c", (*user, Message("assistant", answer)), "t", (), extra),
        Pair("r", user, text, answer, "t", None, extra),
    ]
    for row in rows:
        for check in ANYTHING:
            assert check(row) is None or check(row)


LONG = (
    "x", "$", "\\text{(A) ", "(a) find (b) ", '"a? ', "[asy]", " ", "\n1. ", "compute the ",
    "求数", "In which case? ", "1+", "find the sum sum ", "\\[", "how many ",
)  # fmt: skip
"""What patterns may be tempted to try at every place, to be repeated up to 10 MB."""


@pytest.mark.parametrize("piece", LONG)
def test_ten_megabytes_take_no_rule_long(piece: str) -> None:
    text = piece * (10_000_000 // len(piece.encode()))
    user = (Message("user", text),)
    rows: list[Row] = [
        Problem("p", "math", user, Answer(text), "t", {"attempts": [text, "2"]}),
        Problem("p", "chat", user, Preference(), "t"),
        Conversation("c", (*user, Message("assistant", text)), "t"),
        Pair("r", user, text, text + "y", "t"),
    ]
    for chosen in choose(RULES, Given()):
        begun = time.process_time()
        for row in rows:
            if kind_of_row(row) in chosen.rule.on:
                chosen.check(row)
        assert time.process_time() - begun < 5, chosen.name


# --- names and values -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("multiple_choise", "did you mean 'multiple_choice'"),
        ("proof=3", "takes no value"),
        ("solved_from=7", "expected a share"),
        ("solved_from=3/0", "expected a share"),
        ("solved_above=17/16", "at most 1"),
        ("too_short=a", "expected a whole number"),
        ("response_thinned=3", "expected as in 2000-4000@50%"),
        ("released_from=soon", "expected a date"),
        ("pair_margin=big", "expected a number"),
    ],
)
def test_a_rule_that_cannot_be_read_is_one_error(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        choose([name], Given())
    assert said in str(found.value)


def test_every_preset_names_rules_and_its_source() -> None:
    for name, preset in PRESETS.items():
        assert choose(preset.rules, Given()), name
        assert preset.source, name
