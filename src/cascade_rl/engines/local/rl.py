"""Reinforcement learning with GRPO: roll out, learn, report.

One step is one batch of rollouts and `updates_per_batch` optimizer steps on it; 1 is strictly
on-policy. Groups that cannot move the weights are counted but never run through the model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cascade_rl import curriculum
from cascade_rl.config import StageConfig
from cascade_rl.curriculum import CurriculumState
from cascade_rl.engines.base import StageJob, Workspace
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.encoder import check_prompts, fixed_modes
from cascade_rl.engines.local.judging import Judging, check_reward_model, served_scorers
from cascade_rl.engines.local.learner import Update
from cascade_rl.engines.local.metrics import batch_metrics, rollout_rows, sampling_metrics
from cascade_rl.engines.local.objectives import PolicyObjective, token_weights
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.rollout import LearningGroup, Roller
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
        roller = Roller(session, config, problems, Judging(config, workspace, pool, scorers))
        check_fit(roller, session, config, problems)
        for step in session.steps():
            state = _step(session, config, roller, pool, step, state)
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
    state: CurriculumState,
) -> CurriculumState:
    began, before = time.perf_counter(), pool.metrics()
    state, batch = roller.collect(step, state)
    updating = time.perf_counter()
    updates = learn(session, config, step, batch.admitted)
    ended, verified = time.perf_counter(), pool.metrics()
    session.workspace.rollouts(step, rollout_rows(step, batch))
    sampling = sampling_metrics(batch)
    metrics = {
        **sampling,
        **batch_metrics(batch),
        **_update_metrics(updates),
        "corrected": int(bool(session.state.get("corrects"))),
        "skipped_updates": session.learner.skipped,
        "epoch": state.epoch,
        "verify/timeouts": verified.timeouts - before.timeouts,
        "verify/infra": verified.infra - before.infra,
        "verify/seconds": verified.seconds - before.seconds,
        "seconds/sample": batch.seconds_sample,
        "seconds/score": batch.seconds_score,
        "seconds/update": ended - updating,
        "tokens_per_second": sampling["tokens"] / (ended - began),
    }
    session.state["curriculum"] = curriculum.to_json(state)
    session.state["corrects"] = metrics["mismatch_kl"] > config.mismatch.limit
    if config.until is not None:
        session.state["finished"] = is_over(session.state, config.until, step, metrics)
    warning = entropy_alarm(session.state, config.entropy_alarm, metrics["entropy"])
    if warning:
        session.workspace.emit({"step": step, "kind": "alarm", "message": warning})
    session.end_step(metrics)
    return state


def learn(
    session: Session, config: StageConfig, step: int, groups: Sequence[LearningGroup]
) -> list[Update]:
    """One optimizer step per mini-batch of consecutive groups; old log-probabilities before."""
    objective = PolicyObjective(
        config.temperature,
        config.clip_ratio_low,
        config.clip_ratio_high,
        config.kl_coef,
        config.entropy_coef,
        config.mismatch.cap if session.state.get("corrects") else None,
    )
    parts = [
        list(part) for part in np.array_split(np.arange(len(groups)), config.updates_per_batch)
    ]
    batches = [
        rows_of([groups[i] for i in part], config, objective.needs_every_token) for part in parts
    ]
    team = session.team
    if config.updates_per_batch > 1:
        olds = [team.logprobs("train", rows, config.temperature) for rows in batches]
        batches = [
            [row.with_old(old) for row, old in zip(rows, found, strict=True)]
            for rows, found in zip(batches, olds, strict=True)
        ]
    if config.kl_coef:
        references = [team.logprobs("reference", rows, config.temperature) for rows in batches]
        batches = [
            [row.with_reference(ref) for row, ref in zip(rows, found, strict=True)]
            for rows, found in zip(batches, references, strict=True)
        ]
    return [session.learner.update(step, rows, objective) for rows in batches]


def rows_of(groups: Sequence[LearningGroup], config: StageConfig, every_token: bool) -> list[Row]:
    """The completions that move the weights, weighted over all completions that learn."""
    flat = [
        (index, group, sample)
        for index, group in enumerate(groups)
        for sample in range(len(group.learns_G))
    ]
    completions = [group.scored.group.completions_G[sample] for _, group, sample in flat]
    weights = token_weights(
        [len(completion.token_ids) for completion in completions],
        [index for index, _, _ in flat],
        [group.learns_G[sample] for _, group, sample in flat],
        config.loss_aggregation,
    )
    return [
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
