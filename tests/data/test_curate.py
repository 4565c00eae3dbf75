"""`cascade data curate`: presets at their limits, what the report counts, pairs that are made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl import mini
from cascade_rl.cli import status_of
from cascade_rl.data.curate import PRESETS, RULES, off_topic_pair
from cascade_rl.data.rows import iter_rows, load_rows, rejects_path, write_rows
from cascade_rl.data.step import report_path
from cascade_rl.types import Answer, Conversation, Message, Pair, Preference, Problem, Row

Find = Callable[[str], Path]


def problem(name: str, text: str = "What is $1 + 1$ in base two?", **extra: Any) -> Problem:
    return Problem(name, "math", (Message("user", text),), Answer("2"), "t", extra)


def curated(tmp_path: Path, rows: list[Row], *options: str, ending: str = "jsonl") -> list[str]:
    """The ids of the rows that the command keeps."""
    write_rows(tmp_path / f"in.{ending}", rows)
    out = tmp_path / f"out.{ending}"
    assert status_of(["data", "curate", str(out.with_stem("in")), "--out", str(out), *options]) == 0
    return [row.id for row in iter_rows(out) if not hasattr(row, "reason")]


def report(tmp_path: Path, ending: str = "jsonl") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report_path(tmp_path / f"out.{ending}").read_text())
    return found


def rated(correct: int, total: int, **extra: Any) -> Problem:
    rate = {"correct": correct, "total": total, "model": "m"}
    return problem(f"{correct}/{total}", pass_rate=rate, **extra)


# --- presets ----------------------------------------------------------------------------------

VOTED = {"attempts": ["2", "2"]}
LIMITS: dict[str, tuple[list[Row], list[str]]] = {
    "nemotron_cascade_math": ([rated(n, 16, **VOTED) for n in (11, 12, 13)], ["11/16"]),
    "acereason_math_easy": ([rated(n, 16) for n in (14, 15)], ["14/16"]),
    "acereason_math_medium": ([rated(n, 16) for n in (10, 11)], ["10/16"]),
    "acereason_math_hard": ([rated(n, 16) for n in (0, 6, 7)], ["0/16", "6/16"]),
    "acereason_1_1_math": ([rated(n, 16) for n in (6, 7)], ["6/16"]),
    "acereason_1_1_code": ([rated(n, 8) for n in (7, 8)], ["7/8"]),
    "nemotron_cascade_code": ([rated(n, 8) for n in (0, 1, 7, 8)], ["1/8", "7/8"]),
    "olmo3": ([rated(n, 8) for n in (0, 5, 6)], ["0/8", "5/8"]),
    "acereason_code": ([], []),
    "acereason_code_14b": ([], []),
    "acereason_math": (
        [problem(str(n), response_tokens=n, **VOTED) for n in (1999, 4000, 9000)],
        ["4000", "9000"],
    ),
    "acereason_1_1_sft": ([problem(str(n), response_tokens=n) for n in (2000, 2001)], ["2001"]),
    "sft_stage1": ([problem(str(n), response_tokens=n) for n in (16384, 16385)], ["16384"]),
    "sft_stage2": ([problem(str(n), response_tokens=n) for n in (32768, 32769)], ["32768"]),
    "sft_stage2_math": (
        [problem(str(n), response_tokens=n) for n in (1999, 2000, 32768, 32769)],
        ["2000", "32768"],
    ),
    "rlhf_prompts": (
        [
            problem("math"),
            Problem("poem", "chat", (Message("user", "Write a poem."),), Preference(), "t"),
            Problem("sum", "chat", (Message("user", "Compute 3 + 4 = ?"),), Preference(), "t"),
        ],
        ["poem"],
    ),
    "rm_pairs": (
        [
            Pair("tie", (Message("user", "Hi"),), "a", "b", "t", None, {"score": 0}),
            Pair("good", (Message("user", "Hi"),), "a", "b", "t", None, {"score": 1}),
            Pair("same", (Message("user", "Hi"),), "a b", "A  b", "t", None, {"score": 1}),
            Pair("empty", (Message("user", "Hi"),), "a b", " ", "t", None, {"score": 1}),
        ],
        ["good"],
    ),
    "science": (
        [
            problem(name, "Which? (A) x (B) y (C) z", responses=[text])
            for name, text in (
                ("options", "(A) is not. (B) is. (C) is not."),
                ("solved", "It follows from the law of masses. So y holds. The answer is B."),
            )
        ],
        ["solved"],
    ),
}


def coded(correct: int) -> Problem:
    rate = {"correct": correct, "total": 8, "model": "m"}
    row = {
        "data_source": "t", "prompt": "Echo the line.", "ability": "code",
        "reward_model": {"ground_truth": '{"tests": [{"input": "1", "output": "1"}]}'},
        "extra_info": {"id": f"level {8 - correct}", "pass_rate": rate},
    }  # fmt: skip
    from cascade_rl.data.schema import parse_problem

    return parse_problem(row)


LEVELS: list[Row] = [coded(correct) for correct in range(9)]
LIMITS["acereason_code"] = (LEVELS, [f"level {n}" for n in (5, 4, 3, 2, 1, 0)])
LIMITS["acereason_code_14b"] = (LEVELS, [f"level {n}" for n in (7, 6, 5, 4, 3, 2, 1, 0)])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_keeps_and_drops_at_its_limits(tmp_path: Path, preset: str) -> None:
    rows, kept = LIMITS[preset]
    assert curated(tmp_path, rows, "--preset", preset) == kept
    assert report(tmp_path)["dropped"]


def test_a_named_rule_replaces_the_presets(tmp_path: Path) -> None:
    options = ("--preset", "acereason_math_hard", "--rules", "solved_above=2/16")
    assert curated(tmp_path, [rated(n, 16) for n in (2, 3)], *options) == ["2/16"]
    assert report(tmp_path)["parameters"]["rules"] == ["solved_above=2/16"]


# --- the report -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_row_goes_by_the_first_rule_and_every_rule_is_counted_alone(
    tmp_path: Path, ending: str
) -> None:
    rows: list[Row] = [
        problem("both", "Prove that (a) is even. See the figure below."),
        problem("figure", "In the figure, what is $x$?"),
        problem("good"),
    ]
    assert curated(tmp_path, rows, "--rules", "proof,figure", ending=ending) == ["good"]
    said = report(tmp_path, ending)
    assert (said["read"], said["kept"]) == (3, 1)
    assert said["dropped"] == {"figure": 1, "proof": 1}
    rules = said["rules"]
    assert [(r["asked"], r["dropped"], r["would_drop_alone"]) for r in rules.values()] == [
        (3, 1, 1), (3, 1, 2),
    ]  # fmt: skip
    rejects = rejects_path(tmp_path / f"out.{ending}").read_text().splitlines()
    assert [(json.loads(r)["reason"], json.loads(r)["row"]["extra_info"]["id"]) for r in rejects] \
        == [("proof", "both"), ("figure", "figure")]  # fmt: skip


def test_rows_without_a_record_stay_or_go_as_told_and_are_counted(tmp_path: Path) -> None:
    rows: list[Row] = [problem("bare"), rated(16, 16), rated(1, 16)]
    rule = ("--rules", "solved_from=75%")
    assert curated(tmp_path, rows, *rule) == ["bare", "1/16"]
    assert report(tmp_path)["rules"]["solved_from=75%"]["not_recorded"] == 1
    assert curated(tmp_path, rows, *rule, "--unrecorded", "drop") == ["1/16"]
    assert report(tmp_path)["dropped"] == {"not recorded: pass rate": 1, "too easy": 1}


def test_thinning_keeps_about_its_share_whatever_the_order(tmp_path: Path) -> None:
    rows: list[Row] = [
        problem(str(n), f"What is {n} + {n} and a half?", response_tokens=3000) for n in range(400)
    ]
    rule = ("--rules", "response_thinned")
    kept = curated(tmp_path, rows, *rule)
    assert 160 < len(kept) < 240
    assert sorted(curated(tmp_path, rows[::-1], *rule)) == sorted(kept)
    assert curated(tmp_path, rows, *rule, "--seed", "1") != kept


def test_equal_answers_in_other_words_vote_together(tmp_path: Path) -> None:
    half = problem("half", attempts=[r"\boxed{\frac{4}{2}}", r"\boxed{2.0}", "3", "5"])
    assert curated(tmp_path, [half], "--rules", "majority_vote") == ["half"]


# --- pairs ------------------------------------------------------------------------------------


def asked(name: str, **record: Any) -> Problem:
    prompt = (Message("user", "Name a river."),)
    return Problem(name, "chat", prompt, Preference(), "t", {"off_topic": record} if record else {})


RECORD = {"rewrite": "Name a lake.", "rejected": "Lake Garda.", "chosen": "The Po.", "strong": "V3"}


def test_recorded_off_topic_rewrites_become_pairs(tmp_path: Path) -> None:
    rows: list[Row] = [
        asked("good", **RECORD, same_question="NO"),
        asked("same", **RECORD, same_question="The answer is YES."),
        asked("unsure", **RECORD, same_question="YES and NO"),
        asked("torn", **{**RECORD, "rejected": " "}, same_question="NO"),
        asked("bare"),
    ]
    assert curated(tmp_path, rows, "--preset", "rm_pairs", ending="parquet") == ["good/off_topic"]
    (pair,) = load_rows(tmp_path / "out.parquet", "pair").rows
    assert isinstance(pair, Pair)
    assert (pair.chosen, pair.rejected) == ("The Po.", "Lake Garda.")
    assert pair.prompt == rows[0].prompt and pair.category == "off_topic"  # type: ignore[union-attr]
    assert pair.extra["off_topic"]["strong"] == "V3"
    said = report(tmp_path, "parquet")
    assert said["pairs_made"] == 1
    assert said["dropped"] == {
        "no pair": 2, "no pair, no verdict": 1, "no pair, same question": 1,
    }  # fmt: skip


def test_a_pair_is_made_without_a_command() -> None:
    pair = off_topic_pair(asked("x", **RECORD, same_question=False))
    assert isinstance(pair, Pair) and pair.id == "x/off_topic"


# --- the command ------------------------------------------------------------------------------


def test_the_files_of_mini_go_through_the_command(tmp_path: Path) -> None:
    presets = {
        "math/train": "nemotron_cascade_math", "code/train": "acereason_code",
        "chat/train": "rlhf_prompts", "pairs/train": "rm_pairs", "sft/1": "sft_stage1",
        "sft/2": "sft_stage2",
    }  # fmt: skip
    for name, preset in presets.items():
        rows = mini.rows(name, 0)[:300]
        kept = curated(tmp_path, rows, "--preset", preset, ending="parquet")
        assert len(kept) == len(rows), name


def test_nothing_is_left_where_the_input_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    write_rows(tmp_path / "in.jsonl", [problem("a")])
    out = str(tmp_path / "out.jsonl")
    wrong = {
        "holds no rows": ["empty.jsonl", "--out", out, "--rules", "proof"],
        "does not exist": ["none.jsonl", "--out", out, "--rules", "proof"],
        "neither --rules nor --preset": ["in.jsonl", "--out", out],
        "no preset is called": ["in.jsonl", "--out", out, "--preset", "x"],
        "--out is missing": ["in.jsonl", "--preset", "olmo3"],
        "is the file of rows itself": ["in.jsonl", "--out", "in.jsonl", "--rules", "proof"],
        "expected .parquet or .jsonl": ["in.jsonl", "--out", f"{out}.csv", "--rules", "proof"],
        "is no directory": ["in.jsonl", "--out", out, "--rules", "proof", "--tokenizer", "none"],
    }
    before = sorted(tmp_path.iterdir())
    for said, (file, *rest) in wrong.items():
        rest = [str(tmp_path / file) if each == file else each for each in rest]
        assert status_of(["data", "curate", str(tmp_path / file), *rest]) == 2, said
        assert said in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before


def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cascade_rl.data.curate.run._first_hit", interrupt)
    source = tmp_path / "in.jsonl"
    write_rows(source, [problem("a")])
    out = str(tmp_path / "out.parquet")
    assert status_of(["data", "curate", str(source), "--out", out, "--rules", "proof"]) == 130
    assert "Run the same command again" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]


def test_the_list_names_every_rule_and_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["data", "curate", "--list"]) == 0
    said = capsys.readouterr().out
    assert not [name for name in (*RULES, *PRESETS) if name not in said]


def test_broken_rows_are_counted_and_kept_beside(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(source, [problem("a"), problem("b", "Prove that \0 is.")])
    with source.open("ab") as file:
        file.write(b'{"prompt": \n[1, 2]\n{"prompt": "\\ud800", "x": 1}\n')
    assert status_of(["data", "curate", str(source), "--out", str(out), "--rules", "proof"]) == 0
    said = json.loads(report_path(out).read_text())
    assert said["kept"] == 1 and said["dropped"] == {"proof": 1, "unreadable": 3}


def test_tokens_are_counted_by_the_models_own_tokenizer(tmp_path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = Tokenizer(models.WordLevel({"<unk>": 0, "7": 1}, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    characters.add_special_tokens(
        [AddedToken(name, special=True) for name in ("<|im_start|>", "<|im_end|>")]
    )
    model = tmp_path / "model"
    PreTrainedTokenizerFast(tokenizer_object=characters).save_pretrained(model)
    talk = Conversation("c", (Message("user", "hi"), Message("assistant", "7" * 40)), "t")
    rule = ("--rules", "response_short=20")
    assert curated(tmp_path, [talk], *rule) == []
    assert curated(tmp_path, [talk], *rule, "--tokenizer", str(model)) == ["c"]
