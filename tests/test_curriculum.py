import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl import curriculum
from cascade_rl.config import FilterConfig, ModeShares
from cascade_rl.curriculum import CurriculumState, next_batch, observe, start
from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError

NONE = FilterConfig()
EPOCH = FilterConfig(kind="epoch")
THINK = ModeShares()
HALF = ModeShares(think=0.5, no_think=0.5)


def ids(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def epoch_of(state: CurriculumState, batch: int) -> tuple[CurriculumState, list[str]]:
    """Draw until the running epoch ends."""
    drawn: list[str] = []
    epoch = state.epoch
    while state.epoch == epoch and state.position < len(state.order):
        state, draws = next_batch(state, min(batch, len(state.order) - state.position))
        drawn += [problem for problem, _ in draws]
    return state, drawn


@given(problems=st.integers(1, 40), batch=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_epoch_holds_every_problem_once(problems: int, batch: int, seed: int) -> None:
    state = start(ids(problems), NONE, THINK, seed)
    state, first = epoch_of(state, batch)
    state, _ = next_batch(state, 1)
    assert sorted(first) == sorted(ids(problems))
    assert sorted(state.order) == sorted(ids(problems))


@given(problems=st.integers(4, 40), batch=st.integers(1, 4), steps=st.integers(1, 30))
def test_no_problem_is_twice_in_a_batch(problems: int, batch: int, steps: int) -> None:
    state = start(ids(problems), NONE, THINK, 0)
    for _ in range(steps):
        state, draws = next_batch(state, batch)
        assert len({problem for problem, _ in draws}) == batch


@given(
    batch=st.integers(1, 17),
    steps=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
)
def test_mode_shares_are_exact_over_any_run_of_batches(
    batch: int, steps: int, share: float
) -> None:
    state = start(ids(50), NONE, ModeShares(think=share, no_think=1 - share), 0)
    thinking = 0
    for step in range(1, steps + 1):
        state, draws = next_batch(state, batch)
        thinking += sum(mode == "think" for _, mode in draws)
        assert abs(thinking - step * batch * share) < 1


def test_odd_batches_alternate_the_extra_one() -> None:
    state = start(ids(50), NONE, HALF, 0)
    counts = []
    for _ in range(4):
        state, draws = next_batch(state, 5)
        counts.append(sum(mode == "think" for _, mode in draws))
    assert counts == [2, 3, 2, 3]


def test_rows_with_a_fixed_mode_keep_it() -> None:
    fixed = {"p0": "no_think", "p1": "think"}
    state = start(ids(6), NONE, THINK, 0, fixed)  # type: ignore[arg-type]
    _, draws = next_batch(state, 6)
    modes = dict(draws)
    assert modes["p0"] == "no_think"
    assert set(modes.values()) == {"think", "no_think"}


def test_without_shares_prompts_carry_no_mode() -> None:
    state = start(ids(3), NONE, ModeShares(think=0.0, no_think=0.0), 0)
    assert {mode for _, mode in next_batch(state, 3)[1]} == {None}


def test_the_next_epoch_drops_problems_without_signal_and_keeps_the_rest() -> None:
    never = FilterConfig(kind="epoch", hard_resample=0.0, easy_resample=0.0)
    state = start(ids(5), never, THINK, 0)
    state, _ = next_batch(state, 5)
    state = observe(
        state,
        {
            "p0": [True, True],
            "p1": [False, False],
            "p2": [True, False],
            "p3": [None, None],
            "p4": [True, None, False],
        },
    )
    state, _ = next_batch(state, 1)
    assert sorted(state.order) == ["p2", "p3", "p4"]


def test_resampling_keeps_the_configured_share_of_hard_and_easy_problems() -> None:
    count = 20_000
    state = start(ids(count), EPOCH, THINK, 0)
    state, _ = next_batch(state, count)
    outcomes = {p: [i % 2 == 0] * 2 for i, p in enumerate(ids(count))}
    state = observe(state, outcomes)
    state, _ = next_batch(state, 1)
    easy = sum(int(p[1:]) % 2 == 0 for p in state.order) / (count / 2)
    hard = sum(int(p[1:]) % 2 == 1 for p in state.order) / (count / 2)
    assert easy == pytest.approx(0.01, abs=0.004)
    assert hard == pytest.approx(0.10, abs=0.012)


def test_a_dropped_problem_comes_back_for_good_once_it_is_mixed() -> None:
    never = FilterConfig(kind="epoch", hard_resample=0.0, easy_resample=0.0)
    state = observe(start(ids(2), never, THINK, 0), {"p0": [False, False]})
    assert dict(state.dropped) == {"p0": "hard"}
    assert dict(observe(state, {"p0": [True, False]}).dropped) == {}


def test_when_filtering_would_leave_nothing_everything_comes_back() -> None:
    never = FilterConfig(kind="epoch", hard_resample=0.0, easy_resample=0.0)
    state = start(ids(3), never, THINK, 0)
    state, _ = next_batch(state, 3)
    state = observe(state, {p: [False, False] for p in ids(3)})
    state, draws = next_batch(state, 3)
    assert sorted(p for p, _ in draws) == ids(3)


@settings(max_examples=30)
@given(cut=st.integers(0, 9), kind=st.sampled_from(["none", "epoch"]))
def test_a_state_restored_from_json_goes_on_as_the_one_saved(cut: int, kind: str) -> None:
    def run(state: CurriculumState, first: int, last: int) -> tuple[CurriculumState, list[str]]:
        drawn = []
        for step in range(first, last):
            state, draws = next_batch(state, 3)
            state = observe(state, {p: [step % 3 == 0, step % 2 == 0] for p, _ in draws})
            drawn += [f"{p}/{mode}" for p, mode in draws]
        return state, drawn

    fresh = start(ids(7), FilterConfig(kind=kind), HALF, 3)  # type: ignore[arg-type]
    whole_state, whole = run(fresh, 0, 10)
    middle, head = run(fresh, 0, cut)
    restored = curriculum.from_json(json.loads(json.dumps(curriculum.to_json(middle))))
    end, tail = run(restored, cut, 10)
    assert (end, head + tail) == (whole_state, whole)


def test_a_family_carries_its_place_and_what_it_knows_of_each_problem() -> None:
    old, _ = next_batch(start(ids(4), EPOCH, THINK, 0), 2)
    old = observe(old, {old.order[0]: [True, True]})
    after = curriculum.carried(old, start(ids(4), EPOCH, HALF, 1))
    assert (after.position, after.order, after.dropped) == (2, old.order, old.dropped)
    assert after.shares == HALF
    other = curriculum.carried(old, start([*ids(4), "new"], EPOCH, THINK, 1))
    assert (other.position, dict(other.dropped)) == (0, dict(old.dropped))


def test_no_problems_and_repeated_ids_are_refused() -> None:
    with pytest.raises(DataError, match="no problems"):
        start([], NONE, THINK, 0)
    with pytest.raises(DataError, match="'p0' occurs twice"):
        start(["p0", "p0"], NONE, THINK, 0)


def test_version_1_draws_these_batches() -> None:
    state = start(ids(11), EPOCH, HALF, 5, {"p3": "think"})
    drawn = []
    for step in range(20):
        state, draws = next_batch(state, 4)
        drawn.append(draws)
        state = observe(state, {p: [int(p[1:]) % 3 > 0, step % 3 > 0] for p, _ in draws})
    assert (curriculum.VERSION, digest_json(drawn)[:16]) == ("1", "cf0c0adfed20f8c9")
