"""Reinforcement learning with GRPO: roll out, learn, report.

One step is one batch of rollouts and `updates_per_batch` optimizer steps on it; 1 is strictly
on-policy. Groups that cannot move the weights are counted but never run through the model.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cascade_rl import curriculum
from cascade_rl.chat import fixed_modes
from cascade_rl.config import StageConfig
from cascade_rl.curriculum import CurriculumState
from cascade_rl.engines.base import StageJob, Workspace
from cascade_rl.engines.local.batches import Part, Row
from cascade_rl.engines.local.encoder import check_prompts
from cascade_rl.engines.local.judging import Judging, check_reward_model, served_scorers
from cascade_rl.engines.local.learner import Update
from cascade_rl.engines.local.metrics import batch_metrics, rollout_rows, sampling_metrics
from cascade_rl.engines.local.objectives import PolicyObjective, relative_weights
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.rollout import Batch, LearningGroup, Roller
from cascade_rl.engines.local.session import Session
from cascade_rl.engines.local.sharded import world
from cascade_rl.engines.local.watch import entropy_alarm, is_over
from cascade_rl.engines.local.workers import Team
from cascade_rl.engines.scorer import load_scorers
from cascade_rl.errors import ConfigError
from cascade_rl.rewards import VerifierPool
from cascade_rl.types import Checkpoint, Mode, Problem
from cascade_rl.verifiers import refuse_what_is_missing


def train_rl(team: Team, job: StageJob, workspace: Workspace) -> Checkpoint:
    """Train to the end of the stage, or until its `until` holds."""
    config, local = job.config, job.local
    assert isinstance(config, StageConfig)
    if world() > 1:
        raise ConfigError(
            f"stage {config.name}: torchrun is for SFT and reward models; RL samples too",
            hint=f"leave torchrun out, or set  --set {config.name}.engine=verl",
        )
    problems = [row for row in job.rows if isinstance(row, Problem)]
    refuse_what_is_missing(problems)
    session = Session(team, job, workspace, "language")
    state = first_state(session, config, problems)
    scorers = {**load_scorers(job.inputs, team), **served_scorers(config)}
    check_reward_model(config, problems, "reward_model" in scorers)
    if config.kl_coef:
        team.load("reference", Loading(job.start.path, job.chat))
    with VerifierPool(
        local.verifier_workers, local.verifier_deadline_s, config.infra_limit
    ) as pool:
        judging = Judging(config, workspace, pool, scorers)
        roller = Roller(session, config, problems, judging, state)
        check_fit(roller, session, config, problems)
        for step in session.steps():
            _step(session, config, roller, pool, step)
    for slot in ("reference", *scorers):
        team.forget(slot)
    return session.finish()


def first_state(
    session: Session, config: StageConfig, problems: Sequence[Problem]
) -> CurriculumState:
    """The curriculum as saved, or fresh, going on where the family's last stage stood."""
    if "curriculum" in session.state:
        return curriculum.from_json(session.state["curriculum"])
    fresh = curriculum.start(
        [problem.id for problem in problems],
        config.filter,
        config.modes,
        session.job.seed,
        fixed_modes(problems),
    )
    if "curriculum" in session.carried:
        return curriculum.carried(curriculum.from_json(session.carried["curriculum"]), fresh)
    return fresh


def check_fit(
    roller: Roller, session: Session, config: StageConfig, problems: Sequence[Problem]
) -> None:
    """Refuse a stage with a prompt that does not fit, before anything trains."""
    fixed = fixed_modes(problems)
    mode: Mode | None = "think" if config.modes.think else None
    mode = "no_think" if config.modes.no_think else mode  # the longer flag
    lengths = {p.id: len(roller.prompt_ids((p.id, fixed.get(p.id) or mode))) for p in problems}
    what = f"stage {config.name}"
    context = session.model.context
    check_prompts(lengths, config.max_prompt_tokens, config.max_new_tokens, context, what)


def _step(
    session: Session,
    config: StageConfig,
    roller: Roller,
    pool: VerifierPool,
    step: int,
) -> None:
    began, before = time.perf_counter(), pool.metrics()
    batch = Batch()
    updates = learn(session, config, step, roller.collect(step, batch))
    seconds, verified = time.perf_counter() - began, pool.metrics()
    session.workspace.rollouts(step, rollout_rows(step, batch))
    sampling = sampling_metrics(batch)
    metrics = {
        **sampling,
        **batch_metrics(batch),
        **_update_metrics(updates),
        "corrected": int(bool(session.state.get("corrects"))),
        "skipped_updates": session.learner.skipped,
        "epoch": roller.curriculum.epoch,
        "verify/timeouts": verified.timeouts - before.timeouts,
        "verify/infra": verified.infra - before.infra,
        "verify/seconds": verified.seconds - before.seconds,
        "seconds/sample": batch.seconds_sample,
        "seconds/score": batch.seconds_score,
        "seconds/update": seconds - batch.seconds_sample - batch.seconds_score,
        "tokens_per_second": sampling["tokens"] / seconds,
    }
    session.state["curriculum"] = curriculum.to_json(roller.curriculum)
    session.state["corrects"] = metrics["mismatch_kl"] > config.mismatch.limit
    if config.until is not None:
        session.state["finished"] = is_over(session.state, config.until, step, metrics)
    warning = entropy_alarm(session.state, config.entropy_alarm, metrics["entropy"])
    if warning:
        session.workspace.emit({"step": step, "kind": "alarm", "message": warning})
    session.end_step(metrics)


def learn(
    session: Session, config: StageConfig, step: int, parts: Iterable[Sequence[LearningGroup]]
) -> list[Update]:
    """One optimizer step per mini-batch of consecutive groups; old log-probabilities before.

    Strictly on-policy there is one, which begins with the parts of the batch that are there.
    """
    objective = PolicyObjective(
        config.temperature,
        config.clip_ratio_low,
        config.clip_ratio_high,
        config.kl_coef,
        config.entropy_coef,
        config.mismatch.cap if session.state.get("corrects") else None,
    )
    team, learner = session.team, session.learner

    def prepared(groups: Sequence[LearningGroup]) -> Part:
        part = part_of(groups, config, objective.needs_every_token)
        rows = part.rows
        if config.updates_per_batch > 1:
            olds = team.logprobs("train", rows, config.temperature)
            rows = [row.with_old(old) for row, old in zip(rows, olds, strict=True)]
        if config.kl_coef:
            found = team.logprobs("reference", rows, config.temperature)
            rows = [row.with_reference(ref) for row, ref in zip(rows, found, strict=True)]
        return Part(rows, part.weight)

    if config.updates_per_batch == 1:
        return [learner.update_by_parts(step, map(prepared, parts), objective)]
    groups = [group for part in parts for group in part]
    places = np.array_split(np.arange(len(groups)), config.updates_per_batch)
    batches = [prepared([groups[i] for i in chosen]) for chosen in places]
    return [learner.update_by_parts(step, [batch], objective) for batch in batches]


def part_of(groups: Sequence[LearningGroup], config: StageConfig, every_token: bool) -> Part:
    """The completions that move the weights, weighted over all completions that learn."""
    flat = [
        (index, group, sample)
        for index, group in enumerate(groups)
        for sample in range(len(group.learns_G))
    ]
    completions = [group.scored.group.completions_G[sample] for _, group, sample in flat]
    weights, total = relative_weights(
        [len(completion.token_ids) for completion in completions],
        [index for index, _, _ in flat],
        [group.learns_G[sample] for _, group, sample in flat],
        config.loss_aggregation,
    )
    rows = [
        Row(
            group.prompt_ids,
            completion.token_ids,
            np.full(len(completion.token_ids), weight, dtype=np.float32),
            index,
            group.advantages_G[sample],
            np.array(completion.logprobs, dtype=np.float32),
        )
        for (index, group, sample), completion, weight in zip(
            flat, completions, weights, strict=True
        )
        if weight and (every_token or group.advantages_G[sample])
    ]
    return Part(rows, total)


def _update_metrics(updates: Sequence[Update]) -> Mapping[str, Any]:
    """Means over the step's updates; `mismatch_kl` is per token that was run."""
    tokens = sum(update.totals.get("tokens", 0.0) for update in updates)

    def total(name: str) -> float:
        return sum(update.totals.get(name, 0.0) for update in updates)

    return {
        "loss": total("loss") / len(updates),
        "grad_norm": sum(update.grad_norm for update in updates) / len(updates),
        "learning_rate": updates[-1].learning_rate,
        "mismatch_kl": total("mismatch") / tokens if tokens else 0.0,
        "kl": total("kl") / len(updates),
        "tokens_learned": tokens,
    }
