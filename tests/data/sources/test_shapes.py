"""Rows in every published shape go to the right ability, or are rejects with a true reason."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cascade_rl import mini
from cascade_rl.data.references import ground_truth
from cascade_rl.data.schema import parse_row, row_dict
from cascade_rl.data.sources import SOURCES, convert, recognised, source_named
from cascade_rl.data.sources.common import Unfit
from cascade_rl.data.sources.dolci import VERIFIERS
from cascade_rl.data.sources.preferences import joined
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Pair, Problem

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "cases" / "sources.jsonl").read_text().splitlines()
]


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def filled(value: Any) -> Any:
    """The case with `PACKED json` packed as LiveCodeBench does, and a pickle that names code."""
    if isinstance(value, str) and value.startswith("PACKED "):
        return packed(value.removeprefix("PACKED "))
    if value == "PICKLED os.getcwd":
        return packed(os.getcwd)
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    return [filled(item) for item in value] if isinstance(value, list) else value


def named(case: dict[str, Any]) -> str:
    return str(case["case"])


@pytest.mark.parametrize("case", [c for c in CASES if "ability" in c], ids=named)
def test_a_row_of_a_known_shape_has_the_right_ability(case: dict[str, Any]) -> None:
    raw = filled(case["raw"])
    row = convert(raw, case.get("named"))
    assert isinstance(row, Problem)
    assert "named" in case or recognised(raw) == case["source"]
    assert (row.domain, row.source) == (case["ability"], case.get("data_source", case["source"]))
    written = row_dict(row, 0)
    again = parse_row(json.loads(json.dumps(written)), "problem")
    assert isinstance(again, Problem)
    assert (again.id, again.prompt, again.reference) == (row.id, row.prompt, row.reference)
    assert written["reward_model"]["style"] == ("model" if row.domain == "chat" else "rule")
    assert row.prompt[-1].content == case.get("prompt", row.prompt[-1].content)
    assert [turn.role for turn in row.prompt] == case.get("turns", [t.role for t in row.prompt])
    truth = ground_truth(row.reference)
    assert truth == case.get("truth", truth) and case.get("truth_has", "") in truth
    assert {key: row.extra.get(key) for key in case.get("extra", {})} == case.get("extra", {})


@pytest.mark.parametrize("case", [c for c in CASES if "ability" not in c], ids=named)
def test_a_row_that_is_none_says_what_was_found_and_expected(case: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        convert(filled(case["raw"]), case.get("named"))
    assert case.get("said", "") in caught.value.message
    assert getattr(caught.value, "reason", None) == case.get("reason")


def test_every_verifier_of_dolci_has_a_case() -> None:
    tried = {str(v).lower() for c in CASES for v in _names(c["raw"]) if "ability" in c}
    assert set(VERIFIERS) <= tried


def _names(raw: Any) -> list[Any]:
    found = raw.get("dataset", []) if isinstance(raw, dict) else []
    return found if isinstance(found, list) else [found]


def test_a_shape_that_contains_another_stands_before_it() -> None:
    shapes = [(name, set(s)) for name, source in SOURCES.items() for s in source.shapes]
    for place, (name, shape) in enumerate(shapes):
        for before, smaller in shapes[:place]:
            assert not smaller <= shape or before == name, f"{name} is never reached: {before}"


def test_an_unknown_source_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(DataError) as caught:
        source_named("dolcy")
    assert all(name in caught.value.hint for name in SOURCES)


@pytest.mark.parametrize("name", mini.NAMES)
def test_a_row_of_ours_stays_as_it_is(name: str) -> None:
    for row in mini.rows(name, 0)[:200]:
        again = convert(json.loads(json.dumps(row_dict(row, 0))))
        if isinstance(again, Problem):
            kept = {key: value for key, value in again.extra.items() if key not in ("index", "id")}
            again = replace(again, extra=kept)
        assert again == row


# --- preferences ------------------------------------------------------------------------------

PAIRS: dict[str, tuple[dict[str, Any], str, str]] = {
    "helpsteer3, the second": (
        {"context": [{"role": "user", "content": "q"}], "response1": "a", "response2": "b",
         "overall_preference": 2, "domain": "code"}, "b", "a"),
    "helpsteer3, the first": (
        {"context": [{"role": "user", "content": "q"}], "response1": "a", "response2": "b",
         "overall_preference": -1}, "a", "b"),
    "helpsteer2": (
        {"prompt": "q", "response_1": "a", "response_2": "b", "preference_strength": 1}, "b", "a"),
    "texts": ({"prompt": "q", "chosen": "a", "rejected": "b"}, "a", "b"),
    "chat lists": (
        {"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
         "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
         "score_chosen": 8.0, "score_rejected": 3.0}, "a", "b"),
    "spoken": (
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        "a", "b"),
    "ours": ({"prompt": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b",
              "source": "mine", "category": "x", "id": "7"}, "a", "b"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_the_better_answer_of_a_pair_is_chosen(name: str) -> None:
    raw, chosen, rejected = PAIRS[name]
    pair = convert(raw)
    assert isinstance(pair, Pair)
    assert (pair.chosen, pair.rejected, pair.prompt[0].content) == (chosen, rejected, "q")
    assert pair.category == raw.get("domain", raw.get("category"))
    assert pair.source == raw.get("source", recognised(raw))


TIES = [
    {"context": "q", "response1": "a", "response2": "b", "overall_preference": 0},
    {"prompt": "q", "response_1": "a", "response_2": "b", "preference_strength": 0},
    {"prompt": "q", "chosen": "a", "rejected": "a "},
    {"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 5, "score_rejected": 5},
]


@pytest.mark.parametrize("raw", TIES)
def test_a_tie_is_dropped_as_a_tie(raw: dict[str, Any]) -> None:
    with pytest.raises(Unfit) as caught:
        convert(raw)
    assert caught.value.reason == "tie"


def test_helpsteer2_turns_are_told_apart() -> None:
    prompt = "one\n<extra_id_1>Assistant\ntwo\n<extra_id_1>User\nthree"
    raw = {"prompt": prompt, "response_1": "a", "response_2": "b", "preference_strength": 1}
    pair = convert(raw)
    assert isinstance(pair, Pair)
    assert [(m.role, m.content) for m in pair.prompt] == [
        ("user", "one"), ("assistant", "two"), ("user", "three"),
    ]  # fmt: skip


def test_neighbouring_ratings_of_one_prompt_become_a_pair() -> None:
    def rated(prompt: str, response: str, helpfulness: int) -> dict[str, Any]:
        return {"prompt": prompt, "response": response, "helpfulness": helpfulness}

    rows = [
        rated("p", "a", 1),
        rated("p", "b", 4),
        rated("q", "c", 2),
        {"x": 1},
        rated("r", "d", 1),
    ]
    pair, single, other, last = joined(iter(rows))
    found = convert(pair)
    assert isinstance(found, Pair) and (found.chosen, found.rejected) == ("b", "a")
    for lonely in (single, last):
        with pytest.raises(Unfit, match="another prompt"):
            convert(lonely)
    assert other == {"x": 1}
    tie = next(joined(iter([rated("p", "a", 1), rated("p", "b", 1)])))
    with pytest.raises(Unfit, match="as good as"):
        convert(tie)


# --- conversations ----------------------------------------------------------------------------

CHATS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [{"role": "user", "content": "q /think"},
                              {"role": "assistant", "content": "<think>\nhm\n</think>\n\na"}]},
    "conversations": {"conversations": [{"from": "human", "value": "q /think"},
                                        {"from": "gpt", "value": "<think>hm</think>a"}]},
    "prompt and response": {"prompt": "q /think", "response": "hm</think>a"},
    "instruction and output": {"instruction": "q /think", "output": "<think>hm</think>a"},
    "input and output": {"input": [{"role": "user", "content": "q /think"}],
                         "output": "<think>hm</think>a"},
    "ours": {"messages": [{"role": "user", "content": "q", "mode": "think"},
                          {"role": "assistant", "content": "a", "thought": "hm"}]},
}  # fmt: skip


@pytest.mark.parametrize("name", CHATS)
def test_a_conversation_has_its_thought_and_its_mode_apart(name: str) -> None:
    row = convert(CHATS[name])
    assert isinstance(row, Conversation)
    question, answer = row.messages
    assert (question.content, question.mode) == ("q", "think")
    assert (answer.content, answer.thought) == ("a", "hm")


def test_a_tool_call_keeps_its_arguments() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "2"},
    ]
    row = convert({"messages": turns, "tools": json.dumps([{"type": "function"}])})
    assert isinstance(row, Conversation)
    assert row.messages[1].tool_calls[0].arguments == {"x": 1} and row.tools


UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "no answer": ({"messages": [{"role": "user", "content": "q"}]}, "no answer"),
    "no question": ({"messages": [{"role": "assistant", "content": "a"}]}, "no user turn"),
    "an open thought": ({"prompt": "q", "response": "<think>hm"}, "never closes"),
    "a role nobody knows": ({"messages": [{"role": "narrator", "content": "q"}]}, "narrator"),
    "another prompt": (
        {"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
         "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "b"}]},
        "differ before"),
    "no prompt": ({"chosen": "a", "rejected": "b"}, "prompt is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_trained_on_is_refused(name: str) -> None:
    raw, said = UNUSABLE[name]
    with pytest.raises(DataError, match=said):
        convert(raw)
