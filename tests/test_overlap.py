"""Sets that must not overlap are refused by name; what the recipe shares is only reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade_rl import overlap
from cascade_rl.config import CascadeRLConfig
from cascade_rl.configfile import parse_config
from cascade_rl.data.rows import write_rows
from cascade_rl.errors import ConfigError
from cascade_rl.overlap import check_overlap, edges, overlaps
from cascade_rl.plan import make_plan
from cascade_rl.presets import PRESETS
from cascade_rl.types import Conversation, Message, Pair, Preference, Problem
from tests.support import make_config, make_rows

LEAKY = "Tell me how the old ferryman crosses the wide river when there is no wind at all."
MATH: dict[str, Any] = {"name": "math_rl"}


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def demonstrations(path: Path, *texts: str) -> None:
    answer = Message("assistant", "So it is.")
    write_rows(path, [Conversation(t[:20], (*user(t), answer), "test") for t in texts])


def chat(path: Path, *texts: str) -> None:
    write_rows(path, [Problem(t[:20], "chat", user(t), Preference(), "test") for t in texts])


def rlhf_stages() -> tuple[dict[str, Any], ...]:
    return (
        {"name": "reward_model", "kind": "reward_model", "train_files": ["pairs.jsonl"]},
        {"name": "rlhf", "domain": "chat", "train_files": ["chat.jsonl"],
         "inputs": {"reward_model": "reward_model"}},
    )  # fmt: skip


def plain_config(folder: Path, *stages: dict[str, Any], **values: Any) -> CascadeRLConfig:
    """`make_config` with stages of other kinds too: only RL stages get what RL needs."""
    base = make_config(folder).model_dump(mode="json")
    common = {"train_files": ["train.jsonl"], "max_new_tokens": 64}
    rl = [{**common, "domain": "math", **s} if s.get("kind", "rl") == "rl" else s for s in stages]
    return parse_config({**base, "stages": rl, **values}, base=folder)


def test_training_on_an_evaluation_item_is_refused_with_the_item(tmp_path: Path) -> None:
    config = make_config(tmp_path, MATH)
    make_plan(config)
    make_rows(tmp_path / "val.jsonl", first=15)
    with pytest.raises(ConfigError) as caught:
        make_plan(config)
    said = str(caught.value)
    assert "stage math_rl: 5 of 20 rows of train.jsonl show an item of math (val.jsonl)" in said
    assert "row p15 and item p15" in said
    assert "allow_overlap=[math_rl:math]" in said


@pytest.mark.parametrize("name", ["math_rl/24k:math", "math_rl:math"])
def test_a_named_overlap_is_let_through(name: str, tmp_path: Path) -> None:
    config = make_config(tmp_path, {"name": "math_rl/24k"}, allow_overlap=[name])
    make_rows(tmp_path / "val.jsonl", first=15)
    assert make_plan(config).stages


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    config = make_config(tmp_path, MATH, allow_overlap=["math_rl:maths"])
    with pytest.raises(ConfigError, match="did you mean 'math_rl:math'"):
        make_plan(config)


def test_val_files_and_test_files_are_evaluation_sets(tmp_path: Path) -> None:
    make_config(tmp_path)
    make_rows(tmp_path / "more.jsonl", first=19)
    config = make_config(tmp_path, {**MATH, "val_files": ["more.jsonl"]})
    with pytest.raises(ConfigError, match="math_rl:val_files"):
        check_overlap(config)
    [benchmark] = config.benchmarks
    tested = benchmark.model_copy(update={"test_file": str(tmp_path / "more.jsonl")})
    with pytest.raises(ConfigError, match=r"math \(more.jsonl\)"):
        check_overlap(config.model_copy(update={"benchmarks": (tested,)}))


def test_files_that_are_not_there_are_not_compared(tmp_path: Path) -> None:
    config = make_config(tmp_path, MATH)
    (tmp_path / "val.jsonl").unlink()
    check_overlap(config)


def test_sft_prompts_that_are_rl_prompts_are_refused(tmp_path: Path) -> None:
    demonstrations(tmp_path / "sft.jsonl", "What is 3 + 1?", LEAKY)
    sft = {"name": "sft", "kind": "sft", "train_files": ["sft.jsonl"]}
    config = plain_config(tmp_path, sft, MATH)
    with pytest.raises(ConfigError, match=r"1 of 2 rows of sft\.jsonl are also prompts of math_rl"):
        check_overlap(config)
    check_overlap(plain_config(tmp_path, sft, MATH, allow_overlap=["sft:math_rl"]))


@pytest.mark.parametrize(
    "text", ["What is 3 + 1?", "Sum the odd ones. Put your final answer within \\boxed{}."]
)
def test_math_prompts_in_rlhf_are_refused(text: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [Pair("a", user("Hello there."), "yes", "no", "test")])
    chat(tmp_path / "chat.jsonl", "Hello there.", text)
    config = plain_config(tmp_path, *rlhf_stages(), MATH)
    with pytest.raises(ConfigError, match="math or competitive-programming prompts"):
        check_overlap(config)
    chat(tmp_path / "chat.jsonl", "Hello there.", LEAKY)
    check_overlap(config)


def test_rows_of_math_in_rlhf_are_refused_by_their_ability(tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [Pair("a", user("Hello there."), "yes", "no", "test")])
    make_rows(tmp_path / "chat.jsonl", first=500)
    with pytest.raises(ConfigError, match="rlhf:math_and_code"):
        check_overlap(plain_config(tmp_path, *rlhf_stages()))


def test_what_the_recipe_shares_is_reported_and_not_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [Pair("a", user(LEAKY), "yes", "no", "test")])
    chat(tmp_path / "chat.jsonl", LEAKY, "Hello there.")
    demonstrations(tmp_path / "sft.jsonl", "Another thing.", "And one more.")
    demonstrations(tmp_path / "sft2.jsonl", "Another thing.")
    config = plain_config(
        tmp_path,
        {"name": "sft/1", "kind": "sft", "train_files": ["sft.jsonl"]},
        {"name": "sft/2", "kind": "sft", "train_files": ["sft2.jsonl"]},
        *rlhf_stages(),
        {"name": "math_rl/24k"},
        {"name": "math_rl/32k"},
    )
    check_overlap(config)
    found = {o.edge.name: o.line for o in overlaps(config)}
    assert set(found) == {"sft/1:sft/2", "reward_model:rlhf", "math_rl/24k:math_rl/32k"}
    assert "1 of 2 rows of sft.jsonl" in found["sft/1:sft/2"]
    assert "the files hold the same rows" in found["math_rl/24k:math_rl/32k"]


def test_generated_sets_are_known_by_their_split(tmp_path: Path) -> None:
    for name in ("mini", "mini-full", "mini-conflict", "mini-conflict-disjoint"):
        assert overlaps(PRESETS[name]()) == []
    config = PRESETS["mini"]()
    benchmark = config.benchmarks[0].model_copy(update={"file": "mini:chat/train"})
    with pytest.raises(ConfigError, match="both are of one split"):
        check_overlap(config.model_copy(update={"benchmarks": (benchmark,)}))


@pytest.mark.parametrize("name", ["mini", "mini-conflict", "mini-conflict-disjoint"])
def test_generated_sets_keep_the_rules_row_by_row(name: str) -> None:
    found = overlaps(PRESETS[name](), generated=True)
    assert {overlap.edge.rule for overlap in found} == {"expected"}


def test_every_edge_of_the_founding_recipe_has_a_name_of_its_own() -> None:
    names = [edge.name for edge in edges(PRESETS["founding-recipe"]())]
    assert len(set(names)) == len(names)
    assert {"rlhf:math_and_code", "rlhf:math_rl", "reward_model:rlhf", "math_rl:math"} <= set(names)


def test_a_costly_result_is_remembered_by_the_content_of_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(overlap, "REMEMBERED_S", 0.0)
    config = make_config(tmp_path, MATH)
    make_rows(tmp_path / "val.jsonl", first=13)
    with pytest.raises(ConfigError) as first:
        check_overlap(config)
    [kept] = (tmp_path / "cache").rglob("*.json")
    overlap._known.clear()
    monkeypatch.setattr(overlap, "examine", None)  # comparing again would fail
    with pytest.raises(ConfigError) as second:
        check_overlap(config)
    assert str(first.value) == str(second.value)
    kept.write_text("broken")
    overlap._known.clear()
    with pytest.raises(TypeError):
        check_overlap(config)
