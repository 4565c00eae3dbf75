from __future__ import annotations

import pytest

from cascade_rl.evaluation.behaviour import behaviour, has_thought
from cascade_rl.types import Finish, Sample, Signals, right, wrong


def sample(text: str, tokens: int, *, good: bool, finish: Finish = "stop", n: int = 0) -> Sample:
    return Sample("p", n, text, finish, tokens, Signals(right() if good else wrong("no")))


def test_what_a_right_answer_costs_counts_the_wrong_ones_too() -> None:
    found = behaviour([sample("a", 10, good=True), sample("b", 30, good=False)])
    assert (found.tokens, found.tokens_per_right) == (20.0, 40.0)
    assert behaviour([sample("b", 30, good=False)]).tokens_per_right is None


def test_greedy_answers_count_only_where_they_are_all() -> None:
    greedy = sample("a", 99, good=True, n=-1)
    assert behaviour([greedy, sample("b", 1, good=True)]).tokens == 1.0
    assert behaviour([greedy]).tokens == 99.0


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think>hm</think>4", True),
        ("hm</think>4", True),
        ("<think>\n</think>4", False),
        ("</think>4", False),
        ("4", False),
    ],
)
def test_a_thought_is_something_before_the_end_of_thinking(text: str, thought: bool) -> None:
    assert has_thought(text) is thought


def test_obedience_is_of_the_answers_that_ended() -> None:
    samples = [
        sample("<think>hm</think>4", 9, good=True),
        sample("4", 1, good=True),
        sample("<think>hm hm", 64, good=False, finish="length"),
    ]
    thinking, plain = behaviour(samples, "think"), behaviour(samples, "no_think")
    assert (thinking.mode_obeyed, plain.mode_obeyed) == (0.5, 0.5)
    assert thinking.truncated == pytest.approx(1 / 3)
    assert behaviour(samples).mode_obeyed is None
