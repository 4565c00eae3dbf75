"""Signals to rewards, against numbers computed by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest

from cascade_rl.digests import digest_json
from cascade_rl.rewards.combine import (
    VERSION,
    RewardSpec,
    gated_if_reward,
    preference_reward,
    rewards_of,
    swe_reward,
    tanh_shaping,
    verifier_reward,
)
from cascade_rl.types import (
    Answer,
    Completion,
    Domain,
    Group,
    Mode,
    Problem,
    Signals,
    Verdict,
    failed,
    partial,
    right,
    unjudged,
    wrong,
)

RIGHT, WRONG = Signals(right()), Signals(wrong("no"))
NOT_JUDGED = Signals(unjudged("infra", "x"))
CLOSED = "<think>a</think>b"


def group(domain: Domain, texts: Sequence[str], mode: Mode | None = None) -> Group:
    completions = tuple(Completion(text, (), (), (), "stop") for text in texts)
    return Group(Problem("p", domain, (), Answer("5"), "t"), mode, completions)


def one(spec: RewardSpec, domain: Domain, signals: Sequence[Signals]) -> list[float | None]:
    return rewards_of(spec, [group(domain, [CLOSED] * len(signals))], [signals])[0]


def preferred(score: float | None, verdict: Verdict | None = None, mixed: bool = False) -> Signals:
    return Signals(verdict, preference=score, mixed_language=mixed)


def test_a_verdicts_score_is_the_reward_and_not_judged_stays_none() -> None:
    timeout = Signals(failed("timeout", "slow"))
    signals = [RIGHT, WRONG, timeout, NOT_JUDGED, Signals(None)]
    assert one(RewardSpec(), "math", signals) == [1.0, 0.0, 0.0, None, None]
    assert verifier_reward(Signals(partial(0.25, "x"))) == 0.25


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1.7e308, -1.7e308, None])
def test_a_preference_that_is_no_number_is_not_judged(score: float | None) -> None:
    assert preference_reward(preferred(score)) is None
    assert preference_reward(preferred(-1.5)) == -1.5


def test_the_gate_adds_the_preference_only_to_followed_instructions() -> None:
    signals = [
        preferred(1.0, right()),
        preferred(3.0, right()),
        preferred(5.0, wrong("x")),
    ]
    # mean 3, population deviation sqrt(8/3): z = -1.2247, 0, 1.2247
    z = 2 / math.sqrt(8 / 3)
    expected = [1 + 1 / (1 + math.exp(z)), 1.5, 0.0]
    assert gated_if_reward(signals) == pytest.approx(expected)
    assert one(RewardSpec("gated_if"), "instruction_following", signals) == pytest.approx(expected)


def test_equal_preferences_add_one_half() -> None:
    assert gated_if_reward([preferred(2.0, right())] * 3) == [1.5, 1.5, 1.5]


def test_the_gate_without_a_preference_is_not_judged_but_a_broken_instruction_is() -> None:
    signals = [preferred(math.nan, right()), preferred(math.nan, wrong("x")), preferred(1, right())]
    assert gated_if_reward(signals) == [None, 0.0, 1.5]
    assert gated_if_reward([preferred(1.0, unjudged("infra", "x"))]) == [None]


def test_extreme_preferences_stay_within_one_and_two() -> None:
    signals = [preferred(1e300, right()), preferred(-1e300, right())]
    assert all(reward is not None and 1 <= reward <= 2 for reward in gated_if_reward(signals))


@pytest.mark.parametrize(
    ("verdict", "judge", "spec", "expected"),
    [
        (wrong("unparsable", score=-1.0), 0.9, RewardSpec(), -1.0),
        (right(), 0.1, RewardSpec(), 1.0),
        (wrong("unchanged"), 0.9, RewardSpec(), 0.0),
        (partial(0.4, "x"), 0.7, RewardSpec(), 0.7),
        (partial(0.4, "x"), None, RewardSpec(), 0.4),
        (partial(0.4, "x"), math.nan, RewardSpec(), None),
        (partial(0.4, "x"), math.inf, RewardSpec(), None),
        (partial(0.4, "x"), -0.1, RewardSpec(), None),
        (partial(0.4, "x"), 1.1, RewardSpec(), None),
        (partial(0.4, "x"), math.nan, RewardSpec(swe_similarity="hybrid"), None),
        (partial(0.4, "x"), math.nan, RewardSpec(swe_similarity="lexical"), 0.4),
        (partial(0.4, "x"), 0.7, RewardSpec(swe_similarity="lexical"), 0.4),
        (partial(0.4, "x"), 0.8, RewardSpec(swe_similarity="hybrid", swe_hybrid_weight=0.25), 0.5),
        (partial(0.4, "x"), 0.3, RewardSpec(swe_floor=0.5), 0.0),
        (partial(0.4, "x"), 0.5, RewardSpec(swe_floor=0.5), 0.5),
        (unjudged("invalid", "x"), 0.5, RewardSpec(), None),
    ],
)
def test_the_swe_reward(
    verdict: Verdict, judge: float | None, spec: RewardSpec, expected: float | None
) -> None:
    assert swe_reward(Signals(verdict, judge=judge), spec) == expected


ABLATIONS = {
    # lexical 0.2, 0.5, 0.7 with P(YES) 0.9, 0.4, none
    "semantic": (RewardSpec(), [0.9, 0.4, None]),
    "lexical": (RewardSpec(swe_similarity="lexical"), [0.2, 0.5, 0.7]),
    "hybrid": (RewardSpec(swe_similarity="hybrid"), [0.55, 0.45, None]),
    "semantic, shaped": (RewardSpec(swe_floor=0.5), [0.9, 0.0, None]),
    "lexical, shaped": (RewardSpec(swe_similarity="lexical", swe_floor=0.5), [0.0, 0.5, 0.7]),
    "hybrid, shaped": (RewardSpec(swe_similarity="hybrid", swe_floor=0.5), [0.55, 0.0, None]),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_of_the_swe_reward(name: str) -> None:
    spec, partials = ABLATIONS[name]
    decided = [
        Signals(wrong("unparsable", score=-1.0), judge=1.0),
        Signals(right(), judge=0.0),
        Signals(wrong("unchanged"), judge=1.0),
    ]
    unclear = [
        Signals(partial(lexical, "x"), judge=judge)
        for lexical, judge in ((0.2, 0.9), (0.5, 0.4), (0.7, math.nan))
    ]
    found = one(spec, "swe", decided + unclear)
    assert found == [-1.0, 1.0, 0.0, *(None if p is None else pytest.approx(p) for p in partials)]


def test_scores_of_any_size_and_of_no_variance_make_finite_rewards() -> None:
    hostile = [math.nan, math.inf, -math.inf, 1.7e308, 1.7e308, 1e300, -1e300, 5e-324, 0.0, None]
    for count in range(1, len(hostile) + 1):
        chat = one(RewardSpec(), "chat", [preferred(s, mixed=s == 0.0) for s in hostile[:count]])
        gated = gated_if_reward([preferred(s, right()) for s in hostile[:count]])
        for rewards in (chat, gated, tanh_shaping(chat)):
            assert all(r is None or math.isfinite(r) for r in rewards)
        assert [r is None for r in gated] == [r is None for r in chat]
        assert all(r is None or 1 <= r <= 2 for r in gated)
    assert gated_if_reward([preferred(5e-324, right()), preferred(0.0, right())]) != []


def test_tanh_shaping_uses_the_judged_of_a_group() -> None:
    # 0, 1, 2: mean 1, sample deviation 1
    assert tanh_shaping([0.0, None, 1.0, 2.0]) == pytest.approx(
        [math.tanh(-1), None, 0.0, math.tanh(1)]
    )
    assert tanh_shaping([1.0, 1.0]) == [0.0, 0.0]
    assert tanh_shaping([3.0, None]) == [0.0, None]


@pytest.mark.parametrize(
    ("domain", "penalty"),
    [("math", -1.0), ("code", 0.0), ("instruction_following", 0.0), ("swe", 0.0)],
)
def test_a_mixed_language_answer_gets_its_domains_penalty(domain: Domain, penalty: float) -> None:
    mixed = replace(RIGHT, mixed_language=True)
    assert one(RewardSpec(), domain, [RIGHT, mixed, WRONG]) == [1.0, penalty, 0.0]
    off = RewardSpec(language_penalty=False)
    assert one(off, domain, [RIGHT, mixed, WRONG]) == [1.0, 1.0, 0.0]


def test_a_penalty_never_raises_a_reward_nor_judges_what_was_not() -> None:
    unparsable = Signals(wrong("x", score=-1.0), mixed_language=True)
    lost = replace(NOT_JUDGED, mixed_language=True)
    assert one(RewardSpec(), "swe", [unparsable, lost]) == [-1.0, None]


def test_rlhf_puts_mixed_language_ten_below_the_lowest_unpenalised_of_the_batch() -> None:
    groups = [group("chat", ["a"] * 3), group("chat", ["a"] * 2)]
    signals = [
        [preferred(1.0), preferred(-4.0, mixed=True), preferred(math.nan)],
        [preferred(-2.0), preferred(7.0, mixed=True)],
    ]
    assert rewards_of(RewardSpec(), groups, signals) == [[1.0, -12.0, None], [-2.0, -12.0]]


def test_a_truncated_answer_scores_zero_whatever_it_says() -> None:
    cut = replace(RIGHT, truncated=True)
    zero = {d: one(RewardSpec(), d, [cut]) for d in get_args(Domain) if d != "chat"}
    assert set(map(tuple, zero.values())) == {(0.0,)}
    assert one(RewardSpec(overlong="mask_loss"), "math", [cut]) == [1.0]
    assert one(RewardSpec(), "math", [replace(NOT_JUDGED, truncated=True)]) == [None]


def test_truncation_does_not_touch_what_the_reward_model_said() -> None:
    assert one(RewardSpec(), "chat", [Signals(None, preference=2.0, truncated=True)]) == [2.0]


@pytest.mark.parametrize("domain", ["math", "code", "swe", "tool_calls"])
def test_a_thinking_answer_that_never_stops_thinking_scores_zero(domain: Domain) -> None:
    texts = ["<think>a \\boxed{5}", CLOSED]
    thinking = rewards_of(RewardSpec(), [group(domain, texts, "think")], [[RIGHT, RIGHT]])
    assert thinking == [[0.0, 1.0]]
    plain = rewards_of(RewardSpec(), [group(domain, texts, "no_think")], [[RIGHT, RIGHT]])
    assert plain == [[1.0, 1.0]]


def test_not_ending_never_pays_more_than_an_unparsable_patch() -> None:
    unparsable = Signals(wrong("unparsable", score=-1.0), truncated=True)
    for text in ("<think>a", CLOSED):
        groups = [group("swe", [text], "think")]
        assert rewards_of(RewardSpec("swe"), groups, [[unparsable]]) == [[-1.0]]


def test_a_blend_rewards_each_row_after_its_own_domain() -> None:
    groups = [group("chat", ["a"]), group("math", ["a"]), group("swe", ["a"])]
    signals = [[preferred(0.3)], [RIGHT], [Signals(partial(0.2, "x"), judge=0.6)]]
    assert rewards_of(RewardSpec(), groups, signals) == [[0.3], [1.0], [0.6]]


SINCE = {"3": ("math", "code", "instruction_following", "swe", "chat"), "3+": ("tool_calls",)}
"""The domains that each digest covers; `3+` came later and changed no formula."""
GOLDEN = {
    "3": "b287bbfd15c96fadee57fa7ebc5eae2a735184f4cacd0c0dfa7155b43bf50e93",
    "3+": "94b876d5e6dddf730704408cf6fd35d9a941fd0db3f43763007c4cf0da4ed8de",
}
"""Digests of the rewards below by version: a change of a formula asks for a new version."""


@pytest.mark.parametrize("covered", SINCE)
def test_the_version_names_these_very_rewards(covered: str) -> None:
    signals = [
        Signals(right(), preference=1.0, judge=0.9),
        Signals(wrong("x", score=-1.0), preference=-2.0, judge=0.1, truncated=True),
        Signals(partial(0.4, "x"), preference=0.5, judge=0.7, mixed_language=True),
        Signals(partial(0.6, "x"), preference=3.0, judge=0.2),
        NOT_JUDGED,
    ]
    texts = [CLOSED, "<think>a", CLOSED, CLOSED, CLOSED]
    found = [
        rewards_of(
            RewardSpec(kind, shaping=shaping, swe_floor=0.3),  # type: ignore[arg-type]
            [group(domain, texts, "think")],  # type: ignore[arg-type]
            [signals],
        )
        for domain in SINCE[covered]
        for kind in ("verifier", "preference", "gated_if", "swe")
        for shaping in ("none", "tanh")
    ]
    rounded = [[None if r is None else round(r, 9) for r in g] for [g] in found]
    assert covered.rstrip("+") == VERSION and digest_json(rounded) == GOLDEN[covered]


def test_a_digest_covers_every_domain() -> None:
    assert sorted(sum(SINCE.values(), ())) == sorted(get_args(Domain))
