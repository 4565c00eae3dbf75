"""The arena against a scripted judge: known rates, no bias of place, no loss without a verdict."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade_rl.config import BenchmarkConfig
from cascade_rl.data.sft.endpoint import Endpoint, Settings
from cascade_rl.data.sft.journal import Journal
from cascade_rl.engines.generate import Prompt, Response, Sampling
from cascade_rl.errors import DataError, EndpointError, EvaluationError
from cascade_rl.evaluation.arena import (
    Battle,
    Game,
    Judge,
    Judged,
    Label,
    battles_of,
    judge_battles,
    messages_for,
    read_answers,
    verdict_in,
)
from cascade_rl.evaluation.arena.answers import answers_to
from cascade_rl.evaluation.arena.rating import (
    logistic_fit,
    report_of,
    style_of,
    styled_rate,
    win_rate,
)
from cascade_rl.types import Message, Preference, Problem
from tests.data.chat_server import Answers, ChatServer, chat_server

SHOWN = re.compile(r"BEGIN ANSWER OF A\nquality (-?\d+).*BEGIN ANSWER OF B\nquality (-?\d+)", re.S)


def said(verdict: str) -> dict[str, Any]:
    content = f"My own answer is this one. A is what it is.\n\n{verdict}"
    return {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}


def by_quality(body: Mapping[str, Any]) -> dict[str, Any]:
    """The better answer wins, by far where the difference is more than 5."""
    found = SHOWN.search(body["messages"][-1]["content"])
    assert found is not None
    gap = int(found[1]) - int(found[2])
    sign = ">>" if abs(gap) > 5 else ">"
    return said("[[A=B]]" if not gap else f"[[A{sign}B]]" if gap > 0 else f"[[B{sign}A]]")


def battles(*qualities: int) -> list[Battle]:
    """Against a baseline of quality 0."""
    return [
        Battle(f"q{n}", f"Question {n}?", f"<think>hm</think>quality {q}", "quality 0")
        for n, q in enumerate(qualities)
    ]


def judged_by(
    answers: Answers, given: list[Battle], folder: Path, tries: int = 3
) -> tuple[list[Judged], ChatServer]:
    with chat_server(answers) as server, Journal(folder / "judge.jsonl") as journal:
        endpoint = Endpoint(Settings(server.url, backoff_s=0.01, timeout_s=5.0), journal)
        return judge_battles(given, Judge("judge", tries=tries), endpoint), server


# --- win rates --------------------------------------------------------------------------------


def test_a_known_win_rate_comes_out(tmp_path: Path) -> None:
    found, server = judged_by(by_quality, battles(*[1] * 25, *[0] * 5, *[-1] * 10), tmp_path)
    report = report_of(found)
    assert report.rate.mean == (25 + 2.5) / 40
    assert report.rate.low < report.rate.mean < report.rate.high
    assert (report.questions, report.unjudged, report.place_a) == (40, 0, 0.5)
    assert report.verdicts == {"A>B": 35, "B>A": 35, "A=B": 10}
    assert len(server.requests) == 75, "two orders of answers that are one text are one question"


def test_far_better_counts_three_times(tmp_path: Path) -> None:
    found, _ = judged_by(by_quality, battles(9, 9, -1, -1, -1, 0), tmp_path)
    assert report_of(found).rate.mean == pytest.approx((3 + 3 + 0.5) / (3 + 3 + 1 + 1 + 1 + 1))


@pytest.mark.parametrize("verdict", ["[[A>B]]", "[[B>>A]]"])
def test_a_judge_that_likes_a_place_gives_half_to_each(verdict: str, tmp_path: Path) -> None:
    found, _ = judged_by(lambda body: said(verdict), battles(5, 0, -5, 3), tmp_path)
    report = report_of(found)
    assert report.rate.mean == report.rate.low == report.rate.high == 0.5
    assert report.place_a == (1.0 if verdict.startswith("[[A") else 0.0)


def test_a_judge_that_likes_a_place_a_little_keeps_the_rate(tmp_path: Path) -> None:
    """It decides ties for A: both games of a tie cancel, the others stand."""

    def partial(body: Mapping[str, Any]) -> dict[str, Any]:
        found = by_quality(body)
        return said("[[A>B]]") if "[[A=B]]" in found["message"]["content"] else found

    found, _ = judged_by(partial, battles(1, 1, 1, 0, 0, -1), tmp_path)
    assert report_of(found).rate.mean == pytest.approx((3 + 1) / 6)


# --- a model's answers ------------------------------------------------------------------------


class Echo:
    """A `Generator` that says the question again, and counts what it was asked."""

    name, digest = "echo", "0" * 16

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        for index, prompt in enumerate(prompts):
            text = prompt.messages[-1].content
            self.asked.append(text)
            yield Response(index, 0, f"on {text}", "stop", 2)


def question(text: str, uid: str = "q1") -> Problem:
    return Problem(uid, "chat", (Message("user", text),), Preference(), "arena")


def test_an_answer_is_not_taken_for_another_question_of_the_same_id(tmp_path: Path) -> None:
    path, model = tmp_path / "answers.jsonl", Echo()
    protocol = BenchmarkConfig(name="arena", file="questions.jsonl")
    for text in ("cats", "dogs", "cats", "dogs"):
        found = answers_to(model, [question(text)], protocol, path)
        assert found == {"q1": f"on {text}"}
    assert model.asked == ["cats", "dogs"]


def test_an_answer_without_the_key_of_its_question_is_asked_for_again(tmp_path: Path) -> None:
    path, model = tmp_path / "answers.jsonl", Echo()
    old = {"uid": "q1", "finish": "stop", "messages": [{"role": "assistant", "content": "old"}]}
    path.write_text(json.dumps(old) + "\n")
    protocol = BenchmarkConfig(name="arena", file="questions.jsonl")
    told: list[tuple[int, int]] = []
    questions = [question("cats"), question("dogs", "q2")]
    found = answers_to(model, questions, protocol, path, lambda *done: told.append(done))
    assert found == {"q1": "on cats", "q2": "on dogs"}
    assert told == [(0, 0), (1, 1), (2, 2)]


# --- what is not judged -----------------------------------------------------------------------


def garbage(of: str, times: int = 99) -> Answers:
    """No verdict on prompts that hold a text, so many times each."""
    seen: dict[str, int] = {}

    def answers(body: Mapping[str, Any]) -> dict[str, Any]:
        text = body["messages"][-1]["content"]
        seen[text] = seen.get(text, 0) + 1
        if of in text and seen[text] <= times:
            return said("I like both [[A>B]] and [[B>A]].")
        return by_quality(body)

    return answers


def test_garbage_is_asked_for_again_and_then_counts_as_a_verdict(tmp_path: Path) -> None:
    found, server = judged_by(garbage("Question 0?", times=2), battles(1, -1), tmp_path)
    assert report_of(found).rate.mean == 0.5 and report_of(found).unjudged == 0
    assert len(server.requests) == 4 + 2 * 2
    assert len({request["seed"] for request in server.requests}) == 3


def test_what_stays_garbage_is_left_out_and_counted_and_never_a_loss(tmp_path: Path) -> None:
    given = battles(*[1] * 20, *[-1] * 20)
    found, _ = judged_by(garbage("Question 3?"), given, tmp_path)
    report = report_of(found)
    assert (report.questions, report.unjudged) == (40, 1)
    assert report.rate.mean == 19 / 39
    assert [one.battle.question for one in found if not one.complete] == ["q3"]
    assert "no verdict: ...My own answer" in found[3].games[0].detail


def test_a_question_with_one_verdict_of_two_does_not_count(tmp_path: Path) -> None:
    only_a = "BEGIN ANSWER OF A\nquality 7"
    found, _ = judged_by(garbage(only_a), battles(7, *[-1] * 39), tmp_path)
    assert [game.verdict for game in found[0].games] == ["B>>A", None]
    assert report_of(found).unjudged == 1 and report_of(found).rate.mean == 0


def test_too_many_without_a_verdict_are_no_result(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="2 of 20 questions have no verdict; the first, q1:"):
        judged_by(garbage("quality 4"), battles(1, 4, 4, *[-1] * 17), tmp_path, tries=1)


def test_a_judge_that_does_not_answer_ends_the_command(tmp_path: Path) -> None:
    with Journal(tmp_path / "judge.jsonl") as journal:
        endpoint = Endpoint(Settings("http://127.0.0.1:9/v1", tries=1), journal)
        with pytest.raises(EndpointError, match="got no answer"):
            judge_battles(battles(*range(30)), Judge("judge"), endpoint)


def test_what_was_judged_is_not_asked_again(tmp_path: Path) -> None:
    given = battles(1, 2, -1)
    first, server = judged_by(garbage("Question 1?", times=1), given, tmp_path)
    assert len(server.requests) == 8
    again, server = judged_by(by_quality, given, tmp_path)
    assert again == first and not server.requests


@pytest.mark.parametrize(
    ("content", "finish", "judged"),
    [
        ("<think>maybe [[A>>B]] at first sight", "length", False),
        ("<think>maybe [[A>>B]] at first sight", "stop", False),
        ("maybe [[A>>B]] at first sight", "length", False),
        ("<think>maybe [[A>>B]]</think>I cannot say.", "stop", False),
        ("<think>maybe [[A>>B]]</think>No: [[A=B]]", "stop", True),
    ],
)
def test_a_verdict_is_read_from_an_answer_that_is_whole_and_never_from_a_thought(
    content: str, finish: str, judged: bool, tmp_path: Path
) -> None:
    def odd(body: Mapping[str, Any]) -> dict[str, Any]:
        if "Question 0?" not in body["messages"][-1]["content"]:
            return by_quality(body)
        return {"message": {"role": "assistant", "content": content}, "finish_reason": finish}

    found, server = judged_by(odd, battles(*range(1, 31)), tmp_path, tries=2)
    verdicts = [game.verdict for game in found[0].games]
    assert verdicts == (["A=B", "A=B"] if judged else [None, None])
    assert len(server.requests) == 60 + (0 if judged else 2), "what is none is asked for again"
    assert report_of(found).unjudged == (not judged)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("[[A>>B]]", "A>>B"), ("so [[A>B]].", "A>B"), ("[[A=B]]", "A=B"), ("[[B>A]]", "B>A"),
        ("[[ B>>A ]]", "B>>A"), ("[[A>B]] yes, [[A>B]]", "A>B"), ("", None), ("A>B", None),
        ("[A>B]", None), ("[[A<B]]", None), ("[[A>B]] or [[A>>B]]", None), ("[[B=A]]", None),
        ("[[A]]", None), ("[[a>b]]", None),
    ],
)  # fmt: skip
def test_a_verdict_is_one_label_and_nothing_else(text: str, label: Label | None) -> None:
    assert verdict_in(text) == label


def test_the_judge_sees_answers_without_thoughts_in_their_places() -> None:
    battle = Battle("q", "Why?", "<think>secret</think>mine", "theirs")
    system, first = messages_for(battle, "A")
    assert "secret" not in first.content and first.content.index("mine") < first.content.index(
        "theirs"
    )
    _, second = messages_for(battle, "B")
    assert second.content.index("theirs") < second.content.index("mine")
    assert all(f"[[{label}]]" in system.content for label in ("A>>B", "A>B", "A=B", "B>A", "B>>A"))


# --- the arithmetic ---------------------------------------------------------------------------


def test_a_fit_of_a_constant_is_the_logit_of_the_weighted_mean() -> None:
    outcomes, weights = np.array([1.0, 0.5, 0.0, 1.0]), np.array([3.0, 1.0, 1.0, 1.0])
    [strength] = logistic_fit(np.ones((4, 1)), outcomes, weights)
    mean = (3 + 0.5 + 1) / 6
    assert strength == pytest.approx(math.log(mean / (1 - mean)), abs=1e-3)
    assert win_rate(outcomes, weights).mean == pytest.approx(mean)


def test_a_sweep_has_a_finite_strength() -> None:
    [strength] = logistic_fit(np.ones((10, 1)), np.ones(10), np.ones(10))
    assert 5 < strength < 30


def test_the_interval_is_that_of_questions() -> None:
    """200 questions of which half are won in both games: 0.5 plus and minus 1.96 sqrt(0.25/200)."""
    outcomes = np.repeat([1.0, 0.0], 200)
    rate = win_rate(outcomes, np.ones(400))
    half = 1.96 * math.sqrt(0.25 / 200)
    assert rate.low == pytest.approx(0.5 - half, abs=0.012)
    assert rate.high == pytest.approx(0.5 + half, abs=0.012)
    assert win_rate(outcomes, np.ones(400)) == rate, "one seed, one interval"


def test_style_control_finds_what_length_was_worth() -> None:
    """A judge for whom both are equal, but a longer answer is worth one logit a deviation."""
    rng = np.random.default_rng(1)
    length_Q = rng.normal(0.8, 1.0, 1_000)  # the model writes more
    features = np.zeros((2_000, 4))
    features[:, 0] = np.repeat(length_Q, 2)
    wins = (rng.random(2_000) < 1 / (1 + np.exp(-features[:, 0]))).astype(np.float64)
    raw = win_rate(wins, np.ones(2_000))
    styled, style = styled_rate(wins, np.ones(2_000), features)
    assert raw.low > 0.58
    assert styled.low < 0.5 < styled.high and styled.high - styled.low < 0.15
    assert style["length"] == pytest.approx(1.0, abs=0.2)
    assert all(abs(style[name]) < 1e-6 for name in ("headers", "lists", "bold"))


def test_style_is_counted_in_the_answer_outside_code() -> None:
    text = "<think># no</think># Title\n\n- one\n- **two**\n1. three\n\n```\n# code\n- x\n```\n"
    length, headers, items, bold = style_of(text)
    assert (headers, items, bold) == (1, 3, 1) and length > 10


def test_a_report_with_style_control_has_both_rates(tmp_path: Path) -> None:
    """Ten of twelve long answers win, and one of four short ones."""
    long, short = " and more" * 20, ""
    given = [
        Battle(f"q{n}", "?", f"quality {q}{style}", "quality 0" + " and more" * 5)
        for n, (q, style) in enumerate(
            [(1, long)] * 10 + [(-1, long)] * 2 + [(1, short)] + [(-1, short)] * 3
        )
    ]
    found, _ = judged_by(by_quality, given, tmp_path)
    plain, report = report_of(found), report_of(found, style_control=True)
    assert (plain.styled, plain.style) == (None, None) and plain.rate == report.rate
    assert report.styled is not None and report.style is not None
    assert report.rate.mean == 11 / 16 and report.style["length"] > 0.5
    assert 0.45 < report.styled.mean < report.rate.mean - 0.05


def test_nothing_judged_is_no_report() -> None:
    nothing = Judged(battles(1)[0], (Game("B", None), Game("A", None)))
    with pytest.raises(EvaluationError, match="none of 1 questions"):
        report_of([nothing])


# --- a baseline's answers ---------------------------------------------------------------------


def test_published_answers_are_read_in_both_layouts(tmp_path: Path) -> None:
    old = {"question_id": "a", "choices": [{"index": 0, "turns": [{"content": "hi"}]}]}
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": {"answer": "ho"}}]
    new = {"uid": "b", "messages": turns}
    path = tmp_path / "gpt-4-0314.jsonl"
    path.write_text(f"{json.dumps(old)}\n{json.dumps(new)}\n")
    assert read_answers(path) == {"a": "hi", "b": "ho"}


@pytest.mark.parametrize("row", ["{}", '{"question_id": "a", "choices": []}', "no"])
def test_an_answer_of_another_shape_is_an_error(row: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(row + "\n")
    with pytest.raises(DataError, match=r"row 0 is .*expected question_id and"):
        read_answers(path)


def test_every_question_needs_both_answers() -> None:
    prompts = {"a": "?", "b": "!"}
    [first, second] = battles_of(prompts, {"a": "1", "b": "2"}, {"a": "3", "b": "4"})
    assert (first, second) == (Battle("a", "?", "1", "3"), Battle("b", "!", "2", "4"))
    with pytest.raises(DataError, match="question b has no answer;"):
        list(battles_of(prompts, {"a": "1"}, {"a": "3", "b": "4"}))
    with pytest.raises(DataError, match="question a has no answer of the baseline"):
        list(battles_of(prompts, {"a": "1", "b": "2"}, {}))
