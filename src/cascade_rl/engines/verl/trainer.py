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
from collections.abc import Mapping
from pathlib import Path
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
from cascade_rl.engines.local.encoder import fixed_modes
from cascade_rl.engines.local.judging import served_scorers
from cascade_rl.engines.local.learner import learning_rate_at
from cascade_rl.engines.local.metrics import batch_metrics, rollout_rows, sampling_metrics
from cascade_rl.engines.local.rollout import Batch, outcomes_of
from cascade_rl.engines.local.watch import entropy_alarm, is_over
from cascade_rl.engines.verl import rollout
from cascade_rl.engines.verl.advantages import (
    RowUpdate,
    loss_weights,
    mismatch_kl,
    row_tensors,
    row_updates,
)
from cascade_rl.engines.verl.job import CHECKPOINTS, MODEL, STATE, read_job
from cascade_rl.engines.verl.scoring import FIELDS, Collected, collect, score
from cascade_rl.engines.verl.settings import TRAINER_MODE, metrics_of
from cascade_rl.engines.verl.worker import CascadeWorker
from cascade_rl.errors import TrainingError

POLL_S = 0.2
RolloutReplicaRegistry.register(rollout.NAME, lambda: rollout.TransformersReplica)


@register_trainer(TRAINER_MODE)
class CascadeTrainer(PPOTrainerSync):
    """One stage. `state` is ours in a checkpoint: JSON, beside what verl saves."""

    def __init__(self, config: Any) -> None:
        self.role_worker_mapping: dict[Any, Any] = {}
        self.job = read_job(str(config.data.cascade_job))
        self.state: dict[str, Any] = {}
        self._signals = served_scorers(self.job.config)
        self._saved_at = -1
        self._report: dict[str, Any] = {}
        super().__init__(config)
        self.replay_buffer.poll_interval = POLL_S

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
            self._emit("ready")
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
        digest = self.actor_rollout_wg.export_masters(str(self.job.folder / MODEL))[0]
        self._emit("params", when="end", digest=digest)
        self._emit("end", digest=digest)

    @property
    def _wanted(self) -> int:
        return self.job.config.total_training_steps

    def _at_end(self) -> bool:
        return bool(self.state.get("finished")) or self.global_steps >= self._wanted

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, float]) -> KVBatchMeta:
        """One batch; where the stage is to end after it, verl is told that this is the last."""
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
        """What the curriculum draws, in place of verl's data loader."""
        count = self.config.data.train_batch_size
        self.curriculum, draws = curriculum.next_batch(self.curriculum, count)
        seen: Counter[str] = Counter()
        items = []
        for place, draw in enumerate(draws):
            items.append(self.train_dataset.drawn(draw, seen[draw[0]], place))
            seen[draw[0]] += 1
        batch = collate_fn(items)
        batch["uid"] = np.array([str(uuid.uuid4()) for _ in items], dtype=object)
        return tu.get_tensordict(batch)

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Signals of the whole batch to a mask, advantages and weights, written back."""
        began = time.perf_counter()
        found = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=FIELDS
        )
        collected = collect(batch, found, self.train_dataset.rows)
        self._check_complete(collected)
        groups = score(self.job.config, self._signals, collected)
        self._count_infra(collected)
        self.curriculum = curriculum.observe(self.curriculum, outcomes_of(groups))
        updates = row_updates(self.job.config, groups)
        updates_R = [updates[place] if place else PADDING for place in collected.places_R]
        fields = row_tensors(updates_R, collected.masks_RT)
        corrects = bool(self.state.get("corrects"))
        mismatch = self.job.config.mismatch
        weights = loss_weights(
            updates_R, collected.old_RT, collected.sampled_RT, mismatch.cap if corrects else None
        )
        if weights is not None:
            fields["rollout_is_weights"] = weights
        output = TensorDict(fields, batch_size=len(batch))
        kl = mismatch_kl(updates_R, collected.old_RT, collected.sampled_RT)
        self.state["corrects"] = kl > mismatch.limit
        step = Batch(groups, groups, [], rounds=1)
        self._describe(step, collected, metrics, kl, corrects, began)
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=output)

    def _check_complete(self, collected: Collected) -> None:
        """A rollout that failed is not a smaller batch."""
        config = self.job.config
        wanted = config.train_batch_size * config.rollout_n
        if collected.count != wanted:
            raise LostRollouts(
                f"step {self.global_steps}: {collected.count} of {wanted} rollouts came back; "
                "the others failed in a sampler or a verifier",
                hint="see why in the job's log",
            )

    def _count_infra(self, collected: Collected) -> None:
        """The circuit breaker, over all reward workers."""
        counted = self.state.setdefault("verdicts", {"all": 0, "infra": 0, "timeout": 0})
        statuses = [v.status for v in collected.verdicts.values()]
        counted["all"] += len(statuses)
        counted["infra"] += statuses.count("infra")
        counted["timeout"] += statuses.count("timeout")
        if counted["infra"] > self.job.config.infra_limit * max(counted["all"], FEW):
            reasons = [v.reason for v in collected.verdicts.values() if v.status == "infra"]
            raise TrainingError(
                f"{counted['infra']} of {counted['all']} answers could not be judged; at most "
                f"{self.job.config.infra_limit:.0%} may be. The last reason: "
                f"{reasons[-1] if reasons else ''}",
                hint="see what this machine allows:  cascade doctor",
            )

    def _describe(
        self,
        batch: Batch,
        collected: Collected,
        metrics: Mapping[str, Any],
        kl: float,
        corrected: bool,
        began: float,
    ) -> None:
        tokens = sum(len(c.token_ids) for g in batch.sampled for c in g.scored.group.completions_G)
        batch.entropies.append(metrics["actor/entropy"] * tokens)
        statuses = [v.status for v in collected.verdicts.values()]
        self._report = {
            **sampling_metrics(batch),
            **batch_metrics(batch),
            "mismatch_kl": kl,
            "corrected": int(corrected),
            "epoch": self.curriculum.epoch,
            "verify/timeouts": statuses.count("timeout"),
            "verify/infra": statuses.count("infra"),
            "seconds/score": time.perf_counter() - began,
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

    def _emit(self, kind: str, **values: Any) -> None:
        line = json.dumps({"step": self.global_steps, "kind": kind, **values})
        with Path(self.job.events).open("a") as file:
            file.write(line + "\n")


class LostRollouts(TrainingError):
    """Completions that never came back; another attempt may have them all."""


FEW = 20
"""The circuit breaker looks at shares of at least this many verdicts."""
PADDING = RowUpdate(learns=False, advantage=0.0, weight=0.0)
