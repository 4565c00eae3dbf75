"""Other frameworks get the same verdicts, and never a 0 for what was not judged."""

from __future__ import annotations

import inspect
import json
import pickle
from functools import partial
from typing import Any

import pytest

from cascade_rl.adapters import plain, score, trl_reward, verl_code, verl_math, verl_reward
from cascade_rl.errors import DataError, InputError, TrainingError
from cascade_rl.types import Problem, Verdict, right, unjudged, wrong

LISTS = {"inputs": ["3\n", "4\n"], "outputs": ["6\n", "8\n"]}
CALLS = {"inputs": ["3\n[1, 2]"], "outputs": ["[3, 1, 2]"], "fn_name": "f"}
DOUBLE = "```python\nprint(2 * int(input()))\n```"


def always_infra(problem: Problem, text: str) -> Verdict:
    return unjudged("infra", "the sandbox is gone")


class Flaky:
    """Fails twice, then judges."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, problem: Problem, text: str) -> Verdict:
        self.asked += 1
        return right() if self.asked == 3 else unjudged("infra", "not yet")


def shouting(problem: Problem, text: str, *, word: str) -> Verdict:
    return right() if word in text else wrong("no shout")


# --- verl -------------------------------------------------------------------------------------


def test_verl_gets_the_score_and_the_rest_as_metrics() -> None:
    found = verl_math("math", "so \\boxed{4}", "4", {"index": 0})
    assert found["score"] == 1.0 and found["acc"] == 1.0 and found["status"] == "right"
    assert verl_math("math", "so \\boxed{5}", "4", {"index": 0})["score"] == 0.0


def test_verl_may_add_keywords_of_its_own() -> None:
    found = verl_math(
        data_source="math", solution_str="\\boxed{4}", ground_truth="4", extra_info=None,
        reward_router_address="127.0.0.1:1", reward_model_tokenizer=None,
    )  # fmt: skip
    assert found["score"] == 1.0


def test_verl_calls_it_in_a_thread_and_not_as_a_coroutine() -> None:
    assert not inspect.iscoroutinefunction(verl_math)
    assert not inspect.iscoroutinefunction(partial(verl_math, unjudged=0.0))


@pytest.mark.parametrize("truth", [LISTS, json.dumps(LISTS)], ids=["dict", "text"])
def test_verls_own_rows_of_code_are_read(truth: Any) -> None:
    assert verl_code("taco", DOUBLE, truth)["score"] == 1.0
    assert verl_code("taco", "```python\nprint(6)\n```", truth)["score"] == 0.0


def test_verls_own_rows_of_functions_are_read() -> None:
    program = "```python\ndef f(n, rest):\n    return [n] + rest\n```"
    assert verl_code("apps", program, CALLS)["score"] == 1.0


def test_verl_stops_at_an_invalid_row_and_says_which() -> None:
    with pytest.raises(DataError, match="row 7 of taco cannot be judged"):
        verl_code("taco", DOUBLE, "{}", {"index": 7})


def test_verl_stops_when_our_own_machinery_fails() -> None:
    with pytest.raises(TrainingError, match="not judged in 3 tries: the sandbox is gone"):
        verl_reward("math", always_infra)("math", "\\boxed{4}", "4")


def test_verl_gets_a_number_for_the_unjudged_where_the_user_names_one() -> None:
    found = verl_code("taco", DOUBLE, "{}", unjudged=-1.0)
    assert found["score"] == -1.0 and found["status"] == "invalid" and found["acc"] == 0.0


def test_infra_is_tried_again() -> None:
    flaky = Flaky()
    assert verl_reward("math", flaky)("math", "\\boxed{4}", "4")["score"] == 1.0
    assert flaky.asked == 3


# --- TRL --------------------------------------------------------------------------------------


def test_trl_gets_a_float_or_none_a_completion_in_order() -> None:
    reward = trl_reward("instruction_following")
    followed = json.dumps({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]})
    unknown = json.dumps({"instruction_id_list": ["no:such"], "kwargs": [{}]})
    rewards = reward(
        prompts=["", "", ""],
        completions=["fine", "not, fine", "fine"],
        completion_ids=[[1], [2], [3]],
        ground_truth=[followed, followed, unknown],
        trainer_state=None,
    )
    assert rewards == [1.0, 0.0, None]


def test_trl_completions_may_be_conversations() -> None:
    reward = trl_reward("math", column="solution")
    turns = [{"role": "assistant", "content": "hence \\boxed{4}"}]
    tool = [
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "\\boxed{4}"},
        {"role": "assistant", "content": "\\boxed{5}"},
    ]
    assert reward(completions=[turns, tool], solution=["4", "4"]) == [1.0, 0.0]


def test_trl_is_told_which_column_is_missing() -> None:
    with pytest.raises(InputError, match="no column 'ground_truth'; it has solution"):
        trl_reward("math")(completions=["\\boxed{4}"], solution=["4"])


def test_trl_logs_a_reward_by_its_name_and_pickles_it() -> None:
    reward = pickle.loads(pickle.dumps(trl_reward("math")))
    assert reward.__name__ == "cascade_math"
    assert reward(completions=["\\boxed{4}"], ground_truth=["4"]) == [1.0]


# --- plain ------------------------------------------------------------------------------------


def test_a_plain_call_gives_a_verdict_or_a_score() -> None:
    assert plain("math")("\\boxed{4}", "4").status == "right"
    assert score("math", "4", "\\boxed{5}") == 0.0
    assert score("math", "", "\\boxed{5}") is None


def test_options_of_a_verifier_go_in_with_partial() -> None:
    reward = plain("math", partial(shouting, word="FOUR"))
    assert reward("it is FOUR", "4").score == 1.0 and reward("four", "4").score == 0.0


def test_a_domain_without_a_verifier_is_said() -> None:
    with pytest.raises(InputError, match="no verifier for 'chat'"):
        plain("chat")


UNREADABLE = [
    ("code", {"inputs": ["1"], "outputs": []}),
    ("code", {"inputs": "1", "outputs": "2"}),
    ("code", {"inputs": ["{"], "outputs": ["1"], "fn_name": "f"}),
    ("code", "[" * 100_000),
    ("code", 5),
    ("math", ""),
    ("swe", "{}"),
    ("instruction_following", {"instruction_id_list": [], "kwargs": []}),
    ("code", {"inputs": {1, 2}, "outputs": []}),
]


@pytest.mark.parametrize(("domain", "truth"), UNREADABLE)
def test_an_unreadable_row_is_invalid_and_says_why(domain: Any, truth: Any) -> None:
    verdict = plain(domain)("anything", truth)
    assert verdict.status == "invalid" and verdict.reason
