"""`cascade data multiturn`: exact shares, a mode on every user turn, nothing twice, one seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cascade_rl import mini
from cascade_rl.chat import render
from cascade_rl.cli import status_of
from cascade_rl.data.rows import read_rows, write_rows
from cascade_rl.data.sft.multiturn import REWRITES, Plan, Share, flagged, joined, tokens
from cascade_rl.data.step import report_path
from cascade_rl.types import Conversation, Message, Mode
from tests.data.chat_server import chat_server


def row(n: int, mode: Mode | None = None, size: int = 20, source: str = "t") -> Conversation:
    thought = "hm" if n % 2 else None
    question = Message("user", f"{n}: what is it?", mode=mode)
    return Conversation(f"r{n}", (question, Message("assistant", "x" * size, thought)), source)


def run(file: Path, out: Path, *options: str) -> int:
    return status_of(["data", "multiturn", str(file), "--out", str(out), *options])


def read(path: Path) -> list[Conversation]:
    return [r for r in read_rows(path, "conversation") if isinstance(r, Conversation)]


def report_on(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report_path(path).read_text())
    return found


def users(row: Conversation) -> list[Message]:
    return [m for m in row.messages if m.role == "user"]


class Characters:
    """One id a character, and ids for the two control tokens."""

    def encode_plain(self, text: str) -> list[int]:
        return [ord(c) for c in text]

    def token_id(self, token: str) -> int | None:
        return -len(token) if token.startswith("<|im_") else None


@pytest.mark.parametrize("total", [0, 1, 7, 100])
def test_a_share_takes_exactly_as_many_as_it_is_to(total: int) -> None:
    for wanted in {0, total // 3, total}:
        share = Share(wanted, total, "seed")
        assert sum(share.take() for _ in range(total)) == wanted


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 1.0])
@pytest.mark.parametrize("most", [2, 3, 5])
def test_the_share_that_is_joined_is_met_to_the_row(
    tmp_path: Path, share: float, most: int
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(source, [row(n) for n in range(203)])
    assert run(source, out, "--join", str(share), "--max-turns", str(most)) == 0
    found = read(out)
    alone = [r for r in found if len(users(r)) == 1]
    expected = round(share * 203) - (most == 2 and round(share * 203) % 2)
    assert 203 - len(alone) == expected
    assert all(2 <= len(users(r)) <= most for r in found if r not in alone)
    asked = [m.content for r in found for m in users(r)]
    assert sorted(asked) == sorted(f"{n}: what is it?" for n in range(203)), "each row once"
    details = report_on(out)
    assert (details["joinable"], details["joined"], details["without_partner"]) == (
        203 if share else 0,
        expected,
        0,
    )


def test_partners_are_random_and_the_seed_decides(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    write_rows(source, [row(n) for n in range(300)])
    outs = [tmp_path / f"{n}.parquet" for n in range(3)]
    for out, seed in zip(outs, "0 0 1".split(), strict=True):
        assert run(source, out, "--join", "0.5", "--seed", seed) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes() != outs[2].read_bytes()
    pairs = [[int(m.content.split(":")[0]) for m in users(r)] for r in read(outs[0])]
    steps = [b - a for pair in pairs for a, b in pairwise(pair)]
    assert len({abs(step) for step in steps}) > 20 and min(steps) < 0 < max(steps)


def test_every_user_turn_has_a_mode_and_modes_switch(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(source, [row(n) for n in range(100)])
    assert run(source, out, "--join", "0.6") == 0
    found = read(out)
    switching = 0
    for conversation in found:
        turns = conversation.messages
        for question, answer in zip(turns[::2], turns[1::2], strict=True):
            assert question.mode == ("no_think" if answer.thought is None else "think")
        switching += len({m.mode for m in users(conversation)}) == 2
        text = "".join(chr(i) for i in render(Characters(), turns).ids if i > 0)
        assert text.count(" /think") + text.count(" /no_think") == len(users(conversation))
    assert switching > 5


def test_a_mode_of_its_own_stays_and_a_missing_one_is_read_from_the_answer() -> None:
    turns = (
        Message("user", "a"), Message("assistant", "b"), Message("user", "c", mode="no_think"),
        Message("assistant", "d", thought="hm"), Message("user", "e"), Message("user", "f"),
        Message("assistant", "g", thought="hm"),
    )  # fmt: skip
    found = flagged(Conversation("x", turns, "t"))
    assert [m.mode for m in users(found)] == ["no_think", "no_think", "think", "think"]


def test_conversations_stay_within_their_tokens() -> None:
    plan = Plan(join=1.0, max_turns=6, max_tokens=140)
    rows = [row(n, size=40 + n % 60) for n in range(200)]
    assert all(plan.can_join(r) for r in rows)
    found = list(joined(plan, rows, len(rows)))
    assert sum(len(users(r)) for r in found) == 200
    assert all(len(users(r)) >= 2 and tokens(r) <= 140 for r in found)
    assert max(len(users(r)) for r in found) > 2
    assert not plan.can_join(row(0, size=200))


def test_responses_to_one_question_never_meet() -> None:
    plan = Plan(join=1.0)
    rows = [Conversation(f"r{n}", row(n // 4).messages, "t") for n in range(80)]
    for found in joined(plan, rows, len(rows)):
        asked = [m.content for m in users(found)]
        assert len(set(asked)) == len(asked)
    same = [Conversation(f"r{n}", row(0).messages, "t") for n in range(5)]
    assert [len(users(r)) for r in joined(plan, same, 5)] == [1] * 5


def test_tools_system_turns_and_longer_conversations_stay_as_they_are(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    turns = row(0).messages
    odd = [
        Conversation("tools", turns, "t", ({"name": "f"},)),
        Conversation("system", (Message("system", "be brief"), *turns), "t"),
        Conversation("long", turns * 2, "t"),
    ]
    write_rows(source, [*odd, row(1), row(2)])
    assert run(source, out, "--join", "1.0") == 0
    found = read(out)
    assert [r.id for r in found[:3]] == ["tools", "system", "long"] and len(found) == 4
    assert all(m.mode for r in found for m in users(r))


# --- rewriting ------------------------------------------------------------------------------------


def rewriter(body: Mapping[str, Any]) -> dict[str, Any]:
    turns = [turn["content"] for turn in body["messages"]]
    assert len(turns) == 3 and turns[2].rpartition(" /")[0] in REWRITES
    thinks = turns[2].endswith(" /think")
    message = {"content": f"New: {turns[1]}", "reasoning_content": "hm" if thinks else None}
    cut = turns[0].startswith("7:")
    return {"message": message, "finish_reason": "length" if cut else "stop"}


def test_a_second_turn_asks_for_another_version_and_is_answered(tmp_path: Path) -> None:
    source, out, again = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "again.jsonl"))
    write_rows(source, [row(n, source="plays" if n < 40 else "sums") for n in range(60)])
    with chat_server(rewriter) as server:
        options = ["--join", "0", "--rewrite", "1", "--rewrite-sources", "plays",
                   "--endpoint", server.url, "--model", "m",
                   "--cache", str(tmp_path / "answers")]  # fmt: skip
        assert run(source, out, *options) == 0
        assert len(server.requests) == 40
        assert run(source, again, *options, "--concurrency", "1") == 0
        assert len(server.requests) == 40 and again.read_bytes() == out.read_bytes()
    found = read(out)
    assert len(found) == 60
    longer = [r for r in found if len(users(r)) == 2]
    assert len(longer) == 39 and {r.source for r in longer} == {"plays"}
    assert report_on(out)["rewrites_lost"] == {"truncated": 1}
    for conversation in longer:
        first, answer, second, last = conversation.messages
        assert first.mode and second.mode and second.content in REWRITES
        assert last.content == f"New: {answer.content}"
        assert (last.thought is not None) == (second.mode == "think")
    assert {r.messages[2].mode for r in longer} == {"think", "no_think"}
    assert len({r.messages[2].content for r in longer}) > 8


def test_both_ways_share_out_the_rows_exactly(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(source, [row(n + 10) for n in range(100)])
    with chat_server(rewriter) as server:
        options = ["--join", "0.5", "--rewrite", "0.3", "--endpoint", server.url, "--model", "m"]
        assert run(source, out, *options) == 0
        assert len(server.requests) == 30
    found = read(out)
    rewritten = [r for r in found if r.id.endswith("/rewritten")]
    assert len(rewritten) == 30
    assert sum(len(users(r)) for r in found if r.id.startswith("joined/")) == 35


def test_rewriting_without_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "in.jsonl", [row(1)])
    assert run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--rewrite", "0.5") == 2
    assert "--endpoint URL --model NAME" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sft/1", "sft/2"])
def test_the_mini_presets_rows_pass_through(tmp_path: Path, name: str) -> None:
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    rows = mini.rows(name, 0)
    write_rows(source, rows)
    assert run(source, out, "--join", "0.2", "--max-conversation-tokens", "600") == 0
    found, details = read(out), report_on(out)
    assert details["dropped"] == {} and details["read"] == details["kept"] == len(found)
    assert details["joined"] == round(0.2 * details["joinable"]) > 1000
    assert all(m.mode for r in found for m in users(r))
    assert sum(len(users(r)) for r in found) == sum(
        len(users(r)) for r in rows if isinstance(r, Conversation)
    )
