from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cascade_rl import curriculum
from cascade_rl.config import FilterConfig, RewardConfig, StageConfig, VerifierConfig
from cascade_rl.engines.local import rollout
from cascade_rl.engines.local.judging import Judging, journal_key, reward_spec
from cascade_rl.engines.local.metrics import batch_metrics, rollout_rows
from cascade_rl.engines.local.rl import learn, part_of
from cascade_rl.engines.local.rollout import Batch, Roller, part_ends
from cascade_rl.engines.local.session import Session
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import TrainingError
from cascade_rl.rewards import VerifierPool
from cascade_rl.types import (
    Checkpoint,
    Completion,
    Group,
    Patch,
    Problem,
    Signals,
    StdioTest,
    Tests,
    Verdict,
    right,
    wrong,
)
from tests.engines.helpers import LOCAL, Recording, comma_problems, job_of, rl_stage


@dataclass
class Stage:
    """An RL stage ready to roll out."""

    team: Team
    pool: VerifierPool
    folder: Path
    start: Checkpoint

    def roller(self, config: StageConfig, problems: Sequence[Problem]) -> Roller:
        self.workspace = Recording(self.folder)
        session = Session(
            self.team, job_of(self.start, config, problems), self.workspace, "language"
        )
        judging = Judging(config, self.workspace, self.pool, {})
        state = curriculum.start([p.id for p in problems], config.filter, config.modes, 0)
        return Roller(session, config, problems, judging, state)

    def collect(self, config: StageConfig, count: int = 8) -> Batch:
        problems = comma_problems(count)
        batch = Batch()
        parts = list(self.roller(config, problems).collect(1, batch))
        assert batch.admitted == [group for part in parts for group in part]
        return batch


@pytest.fixture
def stage(start: Checkpoint, tmp_path: Path) -> Iterator[Stage]:
    team = Team(LOCAL)
    with VerifierPool(1, 20.0) as pool:
        yield Stage(team, pool, tmp_path, start)
    team.close()


def completion(finish: Any = "stop", tokens: int = 3) -> Completion:
    return Completion("x", (5,) * tokens, (-1.0,) * tokens, (-1.0,) * tokens, finish)


def learning_group(
    stage: Stage, overlong: Any, verdicts: Sequence[Verdict], cut: Sequence[bool]
) -> Any:
    """A group whose verdicts and truncations are given, as the roller prepares it to learn."""
    config = rl_stage(overlong=overlong)
    roller = stage.roller(config, comma_problems(1))
    completions = tuple(completion("length" if c else "stop", 2 + i) for i, c in enumerate(cut))
    group = Group(comma_problems(1)[0], None, completions)
    signals = [Signals(v, truncated=c) for v, c in zip(verdicts, cut, strict=True)]
    rewards = roller._judging.rewards([group], [signals])
    return rollout.learning_group(config, group, (1, 2), signals, rewards[0])


VERDICTS = [right(), wrong("no"), right()]
CUT = [False, False, True]


def test_overlong_zero_scores_a_truncated_completion_zero_and_learns_from_it(stage: Stage) -> None:
    found = learning_group(stage, "zero", VERDICTS, CUT)
    assert found.scored.rewards_G == (1.0, 0.0, 0.0)
    assert found.learns_G == (True, True, True)
    assert found.advantages_G == pytest.approx((1.1547, -0.57735, -0.57735), abs=1e-4)


def test_overlong_mask_loss_keeps_it_in_the_statistics_and_out_of_the_loss(stage: Stage) -> None:
    found = learning_group(stage, "mask_loss", VERDICTS, CUT)
    assert found.scored.rewards_G == (1.0, 0.0, 1.0)
    assert found.learns_G == (True, True, False)
    assert found.advantages_G == pytest.approx((0.57735, -1.1547, 0.57735), abs=1e-4)
    part = part_of([found], rl_stage(), every_token=False)
    assert [len(r.ids) for r in part.rows] == [2, 3]
    assert (part.rows[0].weights_T / part.weight).tolist() == pytest.approx([1 / 5] * 2)


def test_overlong_exclude_leaves_statistics_and_loss(stage: Stage) -> None:
    found = learning_group(stage, "exclude", VERDICTS, CUT)
    assert found.scored.rewards_G == (1.0, 0.0, None)
    assert found.learns_G == (True, True, False)
    assert found.advantages_G == pytest.approx((0.70711, -0.70711, 0.0), abs=1e-4)


@pytest.mark.parametrize(
    ("overlong", "verdicts"), [("exclude", [right(), right(), wrong("no")]),
                               ("zero", [wrong("no"), wrong("no"), right()])],
)  # fmt: skip
def test_a_batch_has_no_place_for_a_group_whose_truncation_leaves_no_gradient(
    overlong: Any, verdicts: list[Verdict], stage: Stage
) -> None:
    found = learning_group(stage, overlong, verdicts, CUT)
    assert found.mixed and found.advantages_G == (0.0, 0.0, 0.0)
    config = rl_stage(filter=FilterConfig(kind="batch"))
    batch = Batch()
    assert rollout.admit(config, batch, [found]) == [] and batch.sampled == [found]


def test_a_completion_not_judged_is_masked_and_not_wrong(stage: Stage) -> None:
    infra = Verdict(None, "infra", "ours")
    found = learning_group(stage, "zero", [right(), infra, wrong("no")], [False] * 3)
    assert found.scored.rewards_G == (1.0, None, 0.0)
    assert found.learns_G == (True, False, True)
    assert found.advantages_G == pytest.approx((0.70711, 0.0, -0.70711), abs=1e-4)
    part = part_of([found], rl_stage(), every_token=False)
    assert [len(r.ids) for r in part.rows] == [2, 4]
    assert part.rows[0].weights_T[0] / part.weight == pytest.approx(1 / 6)


def test_zero_advantage_tokens_count_in_the_denominator_and_are_not_run(stage: Stage) -> None:
    mixed = learning_group(stage, "zero", [right(), wrong("no")], [False] * 2)
    equal = learning_group(stage, "zero", [right(), right()], [False] * 2)
    part = part_of([mixed, equal], rl_stage(), every_token=False)
    assert len(part.rows) == 2
    assert part.rows[0].weights_T[0] / part.weight == pytest.approx(1 / 10)
    assert len(part_of([mixed, equal], rl_stage(), every_token=True).rows) == 4


def test_batch_filtering_admits_mixed_groups_in_problem_order_within_bounded_rounds(
    stage: Stage,
) -> None:
    refill = rl_stage(
        filter=FilterConfig(kind="batch", max_rounds=3), train_batch_size=6, overlong="mask_loss"
    )
    batch = stage.collect(refill, 30)
    assert 1 <= batch.rounds <= 3
    assert all(group.mixed for group in batch.admitted)
    assert len(batch.admitted) <= 6
    useful = [group for group in batch.sampled if group.teaches]
    assert batch.admitted == useful[:6] and useful
    assert len(batch.sampled) > len(batch.admitted)


def test_fractions_of_groups_add_up_and_every_completion_is_a_row(stage: Stage) -> None:
    batch = stage.collect(rl_stage(train_batch_size=8))
    metrics = batch_metrics(batch)
    assert sum(v for name, v in metrics.items() if name.startswith("group/")) == pytest.approx(1)
    rows = rollout_rows(1, batch)
    assert len(rows) == 8 * 4
    assert {row["status"] for row in rows} == {"right", "wrong"}
    assert {row["tier"] for row in rows} == {""}, "no program ran"


def test_a_journaled_verdict_is_not_decided_again(stage: Stage) -> None:
    config = rl_stage()
    first = stage.collect(config)
    group = first.sampled[0].scored.group
    key = journal_key(group.problem, group.completions_G[0].text, VerifierConfig())
    known = stage.workspace.verdict(key)
    assert known == first.sampled[0].scored.signals_G[0].verdict
    stage.workspace.record(key, Verdict(0.25, "partial", "from the journal"))
    again = stage.collect(config).sampled[0].scored
    assert again.group == group
    assert again.signals_G[0].verdict == Verdict(0.25, "partial", "from the journal")


def test_the_reward_of_a_stage_is_what_its_config_says() -> None:
    spec = reward_spec(rl_stage(domain="chat", overlong="exclude"))
    assert (spec.kind, spec.overlong) == ("preference", "exclude")


def test_the_same_answer_twice_in_a_round_is_judged_once_and_journaled_once(stage: Stage) -> None:
    stage.roller(rl_stage(), comma_problems(1))
    judging = Judging(rl_stage(), stage.workspace, stage.pool, {})
    [problem] = comma_problems(1)
    other = Completion("y, y", (5,), (-1.0,), (-1.0,), "stop")
    answers = (completion(), other, completion())
    before = stage.pool.metrics().answers
    for j, answer in enumerate(answers):
        judging.submit((0, j), problem, answer)
    [signals] = judging.signals([Group(problem, None, answers)])
    assert stage.pool.metrics().answers - before == 2
    assert signals[0].verdict == signals[2].verdict is not None
    assert (
        stage.workspace.verdict(journal_key(problem, "x", VerifierConfig())) == signals[0].verdict
    )


def test_a_group_is_there_while_later_ones_are_still_judged(stage: Stage) -> None:
    stage.roller(rl_stage(), comma_problems(1))
    judging = Judging(rl_stage(domain="code"), stage.workspace, stage.pool, {})
    slow = Completion("```python\nsum(range(10**8))\n```", (5,), (-1.0,), (-1.0,), "stop")
    task = Problem("t", "code", (), Tests((StdioTest("", "1\n"),)), "test")
    quick = replace(slow, text="```python\nprint(1)\n```")
    groups = [Group(task, None, (quick,)), Group(task, None, (quick, slow))]
    for i, group in enumerate(groups):
        for j, answer in enumerate(group.completions_G):
            judging.submit((i, j), task, answer)
    [[signals]] = judging.signals(groups[:1], 0)
    assert signals.outcome is True and stage.pool.metrics().running == 1
    [[again, late]] = judging.signals(groups[1:], 1)
    assert (again.outcome, late.outcome) == (True, False)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 24, 128])
def test_parts_are_whole_and_the_first_is_small(count: int) -> None:
    ends = part_ends(count)
    assert ends == sorted(set(ends)) and ends[-1] == count
    assert ends[0] == max(1, math.ceil(count / 24)) and len(ends) <= 8


@pytest.mark.parametrize("loss", ["token-mean", "group-token-mean", "sequence-mean"])
def test_an_update_by_parts_equals_one_of_the_whole_batch(stage: Stage, loss: Any) -> None:
    config = rl_stage(train_batch_size=8, loss_aggregation=loss)
    problems = comma_problems(8)
    state = curriculum.start([p.id for p in problems], config.filter, config.modes, 0)
    stage.workspace = Recording(stage.folder)
    job = job_of(stage.start, config, problems)
    found = []
    for whole in (False, True):
        session = Session(stage.team, job, stage.workspace, "language")
        judging = Judging(config, stage.workspace, stage.pool, {})
        batch = Batch()
        parts = list(Roller(session, config, problems, judging, state).collect(1, batch))
        assert len(parts) > 3 and any(group.mixed for group in batch.admitted)
        [update] = learn(session, config, 1, [batch.admitted] if whole else parts)
        assert update.applied
        found.append((stage.team._memory["train"][1].clone(), update))
    (one, by_parts), (other, at_once) = found
    assert (one - other).norm() < 1e-5 * one.norm()  # of the gradients, as the optimizer saw them
    assert by_parts.grad_norm == pytest.approx(at_once.grad_norm, rel=1e-4)
    assert by_parts.totals == pytest.approx(at_once.totals, rel=1e-4, abs=1e-7)


GOLD = "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
SWE = Problem("s", "swe", (), Patch({"a.py": "x = 1\n"}, GOLD, ("a.py",), "either", ""), "t")


def edit(line: str) -> Completion:
    text = f"### a.py\n<<<<<<< SEARCH\nx = 1\n=======\n{line}\n>>>>>>> REPLACE"
    return Completion(text, (5,), (-1.0,), (-1.0,), "stop")


def test_a_stage_chooses_its_lexical_similarity_and_what_is_unchanged(stage: Stage) -> None:
    stage.roller(rl_stage(), comma_problems(1))
    answers = (edit("x = 3"), edit("x = 1  # fixed"))
    found = []
    for options in ({}, {"swe_lexical": "changed_lines", "swe_identical": "syntax"}):
        config = rl_stage(domain="swe", reward=RewardConfig(swe_similarity="lexical", **options))
        judging = Judging(config, stage.workspace, stage.pool, {})
        for j, answer in enumerate(answers):
            judging.submit((0, j), replace(SWE, id=f"{options}"), answer)
        group = Group(SWE, None, answers)
        found.append(judging.rewards([group], judging.signals([group]))[0])
    assert all(reward is not None and reward > 0.5 for reward in found[0])
    assert found[1] == [0.0, 0.0]


@pytest.mark.parametrize(("scored", "stops"), [(0, True), (1, False)])
def test_a_judge_that_scores_no_answer_stops_the_stage(
    stage: Stage, scored: int, stops: bool
) -> None:
    stage.roller(rl_stage(), comma_problems(1))

    def judge(items: Sequence[tuple[Problem, str]]) -> list[float]:
        return [0.5 if i < scored else math.nan for i in range(len(items))]

    judging = Judging(rl_stage(domain="swe"), stage.workspace, stage.pool, {"judge": judge})
    answers = tuple(edit(f"x = {n}") for n in range(3, 11))
    for j, answer in enumerate(answers):
        judging.submit((0, j), SWE, answer)
    with pytest.raises(TrainingError) if stops else nullcontext():
        [signals] = judging.signals([Group(SWE, None, answers)])
        assert [s.judge for s in signals].count(0.5) == scored


def test_a_lexical_stage_asks_no_judge(stage: Stage) -> None:
    stage.roller(rl_stage(), comma_problems(1))

    def judge(items: Sequence[tuple[Problem, str]]) -> list[float]:
        raise AssertionError("asked")

    config = rl_stage(domain="swe", reward=RewardConfig(swe_similarity="lexical"))
    judging = Judging(config, stage.workspace, stage.pool, {"judge": judge})
    judging.submit((0, 0), SWE, edit("x = 3"))
    [[signals]] = judging.signals([Group(SWE, None, (edit("x = 3"),))])
    assert signals.judge is None


def test_a_verdict_is_journaled_under_the_options_it_was_reached_with(stage: Stage) -> None:
    loose = VerifierConfig(loose=True)
    stage.roller(rl_stage(), comma_problems(1))
    [problem] = comma_problems(1)
    starred = Completion("*,*\nno comma here", (5,), (-1.0,), (-1.0,), "stop")
    scores = []
    for options in (VerifierConfig(), loose):
        judging = Judging(rl_stage(verifier_options=options), stage.workspace, stage.pool, {})
        judging.submit((0, 0), problem, starred)
        [[signals]] = judging.signals([Group(problem, None, (starred,))])
        assert signals.verdict == stage.workspace.verdict(
            journal_key(problem, starred.text, options)
        )
        scores.append(signals.verdict and signals.verdict.score)
    assert scores == [0, 1]
