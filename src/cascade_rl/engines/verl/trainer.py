"""verl's synchronous trainer with our curriculum, rewards of a batch, and events.

The rule: what verl does once a trajectory or once a group, and we do once a batch, is done here:
raw signals come out of the TransferQueue, rewards and advantages are computed as the local engine
computes them, and mask, advantages and weights go back in.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.rl_dataset import collate_fn
from verl.workers.rollout.replica import RolloutReplicaRegistry

from cascade_rl import curriculum
from cascade_rl.chat import fixed_modes
from cascade_rl.engines.local.judging import served_scorers
from cascade_rl.engines.local.learner import learning_rate_at
from cascade_rl.engines.local.metrics import batch_metrics, rollout_rows, sampling_metrics
from cascade_rl.engines.local.rollout import (
    Batch,
    LearningGroup,
    admit,
    is_complete,
    outcomes_of,
    round_size,
)
from cascade_rl.engines.local.watch import entropy_alarm, is_over
from cascade_rl.engines.verl import rollout
from cascade_rl.engines.verl.advantages import (
    RowUpdate,
    loss_weights,
    mismatch,
    row_tensors,
    row_updates,
)
from cascade_rl.engines.verl.job import CHECKPOINTS, MODEL, STATE, emit, read_job
from cascade_rl.engines.verl.questions import When, read_questions, write_responses
from cascade_rl.engines.verl.rounds import POLL_S, Sampled, SampleRound
from cascade_rl.engines.verl.scorers import start_scorers
from cascade_rl.engines.verl.scoring import (
    SAMPLED,
    UPDATED,
    Collected,
    collect,
    journal_of,
    score,
    update_rows,
)
from cascade_rl.engines.verl.settings import TRAINER_MODE, metrics_of, rollout_of
from cascade_rl.engines.verl.validation import Validation
from cascade_rl.engines.verl.worker import CascadeWorker
from cascade_rl.errors import TrainingError
from cascade_rl.rewards.pool import last_infra, refuse_unjudged
from cascade_rl.types import Scorer, Verdict

RolloutReplicaRegistry.register(rollout.NAME, lambda: rollout.TransformersReplica)


@register_trainer(TRAINER_MODE)
class CascadeTrainer(PPOTrainerSync):
    """One stage. `state` is ours in a checkpoint: JSON, beside what verl saves."""

    def __init__(self, config: Any) -> None:
        self.role_worker_mapping: dict[Any, Any] = {}
        self.job = read_job(str(config.data.cascade_job))
        self.state: dict[str, Any] = {}
        self._scorers: dict[str, Scorer] = served_scorers(self.job.config)
        self._saved_at = -1
        self._report: dict[str, Any] = {}
        super().__init__(config)
        self.replay_buffer.poll_interval = POLL_S
        self.replay_buffer.collect = self._collect

    @property
    def trainer_mode(self) -> str:
        """Verl takes any mode but this for an asynchronous one."""
        return "sync"

    @trainer_mode.setter
    def trainer_mode(self, _: str) -> None:
        return None

    # --- what verl builds ----------------------------------------------------------------------

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        remote = ray.remote(CascadeWorker)
        roles: dict[Any, Any] = self.role_worker_mapping
        self.role_worker_mapping = dict.fromkeys(roles, remote)

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        self.steps_per_epoch = self.total_training_steps  # to verl, a stage is an epoch
        rows, config = self.train_dataset.rows, self.job.config
        problems = [rows[problem_id] for problem_id in rows.ids]
        self.curriculum = curriculum.start(
            rows.ids, config.filter, config.modes, self.job.seed, fixed_modes(problems)
        )

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if self.job.resume is not None:
            self.state = json.loads((self.job.resume / STATE).read_text())
            self.curriculum = curriculum.from_json(self.state.pop("curriculum"))
            self._saved_at = self.global_steps
        elif self.job.carry is not None:
            self.actor_rollout_wg.load_moments(str(self.job.carry / "actor"))
            before = json.loads((self.job.carry / STATE).read_text())["curriculum"]
            self.curriculum = curriculum.carried(curriculum.from_json(before), self.curriculum)

    def _save_checkpoint(self) -> None:
        super()._save_checkpoint()
        folder = self.job.folder / CHECKPOINTS / f"global_step_{self.global_steps}"
        values = {**self.state, "curriculum": curriculum.to_json(self.curriculum)}
        (folder / STATE).write_text(json.dumps(values))
        self._saved_at = self.global_steps
        self._emit("checkpoint", path=str(folder))

    # --- the stage -----------------------------------------------------------------------------

    def fit(self, agent_loop_manager: Any) -> None:
        """Train to the stage's end, then hand over the master weights."""
        try:
            if self.global_steps == 0:
                digest = self.actor_rollout_wg.master_digest()[0]
                self._emit("params", when="start", digest=digest)
            self._scorers |= start_scorers(self.job)  # after the ranks have their GPUs
            self._emit("ready")
            if self.global_steps == 0:
                self._answer_benchmarks("first")
            if not self.state.get("finished"):
                super().fit(agent_loop_manager)
                self.global_steps -= 1  # verl leaves the number of the step to come
            self._finish()
        except TrainingError as error:
            again = isinstance(error, LostRollouts)
            self._emit("error", message=error.message, hint=error.hint, again=again)
            raise

    def _finish(self) -> None:
        if self.job.stop.exists() and not self._at_end():
            self._emit("stopped")
            return
        if not self._at_end():
            raise TrainingError(f"verl ended at step {self.global_steps} of {self._wanted}")
        if self._saved_at != self.global_steps:
            self._save_checkpoint()
        self._answer_benchmarks("last")
        digest = self.actor_rollout_wg.export_masters(str(self.job.folder / MODEL))[0]
        self._emit("params", when="end", digest=digest)
        self._emit("end", digest=digest)

    def _answer_benchmarks(self, when: When) -> None:
        """Answer the benchmarks, for the driver to judge: the samplers have the actor's weights."""
        config = self.job.config
        validation = Validation(
            client=self.get_llm_client(),
            encoder=self.train_dataset.encoder,
            window=config.max_prompt_tokens + max(config.max_new_tokens, self.job.longest_answer),
            in_flight=self.job.verl.sample_batch * self.job.verl.ranks,
            seed_shift=0 if rollout_of(self.job) == rollout.NAME else 1,
            report=lambda done: self._emit("answered", done=done),
        )
        for place, questions in enumerate(read_questions(self.job.folder, when)):
            if not validation.holds(questions):
                continue  # the driver's own engine answers it
            path = self.job.folder / f"responses-{when}-{place}.jsonl"
            write_responses(path, validation.answers(questions))
            self._emit("responses", when=when, place=place, path=str(path))

    @property
    def _wanted(self) -> int:
        return self.job.config.total_training_steps

    def _at_end(self) -> bool:
        return bool(self.state.get("finished")) or self.global_steps >= self._wanted

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> KVBatchMeta:
        """One batch; where the stage is to end after it, verl is told that this is the last."""
        self._batch, self._uids = Batch(), list[str]()
        self._verdicts: list[Verdict] = []
        self._seen: Counter[str] = Counter()
        found = super().step(metrics, timing_raw)
        config = self.job.config
        if config.until is not None:
            step = self.global_steps
            self.state["finished"] = is_over(self.state, config.until, step, self._report)
        alarm = entropy_alarm(self.state, config.entropy_alarm, self._report["entropy"])
        if alarm:
            self._emit("alarm", message=alarm)
        if self.state.get("finished") or self.job.stop.exists():
            self.total_training_steps = self.global_steps
            self._save_checkpoint()
        return found

    # --- a batch -------------------------------------------------------------------------------

    def _fetch_one_gen_batch(self) -> TensorDict:
        """A round of what the curriculum draws, in place of verl's data loader."""
        count = round_size(self.job.config, self._batch)
        self.curriculum, draws = curriculum.next_batch(self.curriculum, count)
        items = []
        for place, draw in enumerate(draws):
            items.append(self.train_dataset.drawn(draw, self._seen[draw[0]], place))
            self._seen[draw[0]] += 1
        batch = collate_fn(items)
        batch["uid"] = np.array([str(uuid.uuid4()) for _ in items], dtype=object)
        self._drawn = len(items)
        return tu.get_tensordict(batch)

    def _collect(self, sample_round: SampleRound) -> Sampled:
        """Rounds of generation until the batch is full, or as many as the stage allows."""
        config, step = self.job.config, self._batch
        keys: list[str] = []
        tags: list[dict[str, Any]] = []
        while True:
            batch, metrics = sample_round(self._drawn)
            found, uids = self._score(batch)
            step.rounds += 1
            admitted = {id(group) for group in admit(config, step, found)}
            self._uids += [u for g, u in zip(found, uids, strict=True) if id(g) in admitted]
            over = is_complete(config, step)
            kept = set(self._uids) or {uids[0] if over else ""}  # verl takes no empty batch
            for key, tag in zip(batch.keys, batch.tags, strict=True):
                if key.split("_")[0] in kept:
                    keys.append(key)
                    tags.append(tag)
            dropped = [key for key in batch.keys if key.split("_")[0] not in kept]
            if dropped:
                tq.kv_clear(keys=dropped, partition_id=batch.partition_id)
            if over:
                return KVBatchMeta(partition_id=batch.partition_id, keys=keys, tags=tags), metrics
            self._add_batch_to_generate()

    def _score(self, batch: KVBatchMeta) -> tuple[list[LearningGroup], list[str]]:
        """The groups of a round with rewards and advantages, and verl's names of them."""
        began = time.perf_counter()
        found = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=SAMPLED
        )
        collected = collect(found, self.train_dataset.rows)
        self._check_complete(collected)
        groups = score(self.job.config, self._scorers, collected)
        self._count_infra(list(collected.verdicts.values()))
        self._emit("verdicts", found=journal_of(self.job.config, collected))
        self.curriculum = curriculum.observe(self.curriculum, outcomes_of(groups))
        self._batch.seconds_score += time.perf_counter() - began
        return groups, collected.uids

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Mask, advantages and weights of the admitted groups, written back."""
        found = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=UPDATED
        )
        rows = update_rows(batch, found, self._uids)
        updates = row_updates(self.job.config, self._batch.admitted)
        updates_R = [updates[place] if place else PADDING for place in rows.places_R]
        fields = row_tensors(updates_R, rows.masks_RT)
        corrects = bool(self.state.get("corrects"))
        limits = self.job.config.mismatch
        cap = limits.cap if corrects else None
        weights = loss_weights(updates_R, rows.old_RT, rows.sampled_RT, cap)
        if weights is not None:
            fields["rollout_is_weights"] = weights
        output = TensorDict(fields, batch_size=len(batch))
        apart = mismatch(self.job, updates_R, rows.old_RT, rows.sampled_RT)
        self.state["corrects"] = apart.get("mismatch_kl", 0.0) > limits.limit
        self._describe(metrics, apart, corrects)
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=output)

    def _check_complete(self, collected: Collected) -> None:
        """A rollout that failed is not a smaller batch."""
        wanted = self._drawn * self.job.config.rollout_n
        if collected.count != wanted:
            raise LostRollouts(
                f"step {self.global_steps}: {collected.count} of {wanted} rollouts came back; "
                "the others failed in a sampler or a verifier",
                hint="see why in the job's log",
            )

    def _count_infra(self, verdicts: Sequence[Verdict]) -> None:
        """The circuit breaker, over all reward workers."""
        self._verdicts += verdicts
        counted = self.state.setdefault("verdicts", {"all": 0, "infra": 0})
        statuses = [v.status for v in verdicts]
        counted["all"] += len(statuses)
        counted["infra"] += statuses.count("infra")
        limit, reason = self.job.config.infra_limit, last_infra(verdicts)
        refuse_unjudged(counted["infra"], counted["all"], limit, reason)

    def _describe(
        self, metrics: Mapping[str, Any], apart: dict[str, float], corrected: bool
    ) -> None:
        batch = self._batch
        tokens = sum(len(c.token_ids) for g in batch.sampled for c in g.scored.group.completions_G)
        batch.entropies.append(metrics["actor/entropy"] * tokens)
        statuses = [v.status for v in self._verdicts]
        self._report = {
            **sampling_metrics(batch),
            **batch_metrics(batch),
            **apart,
            "corrected": int(corrected),
            "epoch": self.curriculum.epoch,
            "verify/timeouts": statuses.count("timeout"),
            "verify/infra": statuses.count("infra"),
            "seconds/score": batch.seconds_score,
        }
        rows = rollout_rows(self.global_steps, batch)
        path = self.job.folder / f"rollouts-{self.global_steps:06d}.json"
        path.write_text(json.dumps(rows))
        self._emit("rollouts", path=str(path))

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        config = self.job.config
        rate = learning_rate_at(
            self.global_steps,
            config.total_training_steps,
            config.learning_rate,
            config.optimizer,
        )
        self._report["learning_rate"] = rate
        self.actor_rollout_wg.set_learning_rate(rate)
        return super()._update_actor(batch, metrics)

    def _compute_metrics(
        self, batch: Any, metrics: Any, timing_raw: Any, global_steps: int, epoch: int
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        found = {**metrics_of(metrics, timing_raw), **self._report}
        self._emit("train", **found)
        every = self.job.config.eval_every
        if every and global_steps % every == 0:
            model = self.job.folder / f"{MODEL}-{global_steps}"
            self.actor_rollout_wg.export_masters(str(model))
            self._emit("evaluate", path=str(model))

    def _emit(self, kind: str, **values: Any) -> None:
        emit(self.job, self.global_steps, kind, **values)


class LostRollouts(TrainingError):
    """Completions that never came back; another attempt may have them all."""


PADDING = RowUpdate(learns=False, advantage=0.0, weight=0.0)
