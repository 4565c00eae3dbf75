"""`python -m cascade_rl.engines.verl.sft KEY=VALUE ...` on each rank: verl's SFT, on our rows.

The rule: verl trains, and what it would decide for itself is ours: ids and loss mask of a row,
which rows a step has, the rate of a step. So a step is the local engine's, on any number of ranks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import torch
from torch.utils.data import Dataset, Sampler
from torchdata.stateful_dataloader import StatefulDataLoader
from verl.trainer import sft_trainer
from verl.utils import tensordict_utils as tu
from verl.utils.checkpoint import CheckpointHandler
from verl.utils.dataset.dataset_utils import SFTTensorCollator
from verl.utils.device import auto_set_device, get_device_name
from verl.utils.distributed import initialize_global_process_group
from verl.workers.config import TrainingWorkerConfig
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import sft_loss

from cascade_rl.config import SFTStageConfig
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.learner import MAX_SKIPPED, learning_rate_at
from cascade_rl.engines.local.model import context_of, load_tokenizer
from cascade_rl.engines.local.session import epoch_rows
from cascade_rl.engines.local.sft import encode_conversations
from cascade_rl.engines.verl import weights
from cascade_rl.engines.verl.job import MODEL, STATE, all_rows, emit, read_any_job
from cascade_rl.errors import TrainingError


class Conversations(Dataset[dict[str, torch.Tensor]]):
    """`data.custom_cls` of verl. `config.cascade_job` names the job's folder."""

    def __init__(self, parquet_files: Any, tokenizer: Any, config: Any, **_: Any) -> None:
        job = read_any_job(str(config.cascade_job))
        assert isinstance(job.config, SFTStageConfig)
        encoder = Encoder(load_tokenizer(job.start, job.chat), job.chat)
        rows = all_rows(job, "conversation")
        self._encoded = encode_conversations(job.config, rows, encoder, context_of(job.start))

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids, mask = self._encoded[index]
        loss_mask = torch.tensor(mask.astype(int))
        loss_mask[0] = 0  # nothing predicts it; verl shifts masks over the ends of rows
        return {
            "input_ids": torch.tensor(ids),
            "position_ids": torch.arange(len(ids)),
            "loss_mask": loss_mask,
        }


class Steps(Sampler[int]):
    """A rank's rows of every step of the stage, in order; to verl, a stage is an epoch."""

    def __init__(self, rows: int, config: SFTStageConfig, seed: int, rank: int, ranks: int) -> None:
        self._rows, self._config, self._seed = rows, config, seed
        self._rank, self._ranks = rank, ranks

    def __len__(self) -> int:
        return self._config.total_training_steps * self._config.train_batch_size // self._ranks

    def __iter__(self) -> Iterator[int]:
        for step in range(1, self._config.total_training_steps + 1):
            chosen = epoch_rows(self._rows, self._config.train_batch_size, step, self._seed)
            yield from chosen[self._rank :: self._ranks]

    def set_epoch(self, epoch: int) -> None:
        """Verl says which of its epochs begins."""


class StepWorker(TrainingWorker):
    """verl's worker, which lets the trainer know of each step before and after it."""

    trainer: SFTTrainer

    def train_batch(self, data: Any) -> Any:
        """One optimizer step."""
        self.trainer.begin_step()
        output = super().train_batch(data)
        self.trainer.end_step(tu.get(data, "global_token_num"), tu.get(output, "metrics"))
        return output


class Checkpoints(CheckpointHandler):
    """verl's checkpoints, reported when they are complete, with our state beside theirs."""

    trainer: SFTTrainer

    def save_checkpoint(self, step: int) -> None:
        """Save; returns when all ranks have."""
        super().save_checkpoint(step)
        self.trainer.saved(step, Path(self.default_local_dir) / f"global_step_{step}")


class SFTTrainer(sft_trainer.SFTTrainer):
    """One stage on one rank."""

    def __init__(self, config: Any) -> None:
        self.job = read_any_job(str(config.data.cascade_job))
        assert isinstance(self.job.config, SFTStageConfig)
        self.stage = self.job.config
        super().__init__(config)
        self.step, self.skipped = int(self.resume_global_step), 0
        if self.job.resume is not None:
            self.skipped = json.loads((self.job.resume / STATE).read_text())["skipped"]
        elif self.job.carry is not None:
            weights.load_moments(self.engine, self.job.carry)

    # --- what verl builds ----------------------------------------------------------------------

    def _build_engine(self) -> None:
        self.training_client = StepWorker(
            TrainingWorkerConfig(
                model_type="language_model",
                model_config=self.model_config,
                engine_config=self.engine_config,
                optimizer_config=self.optimizer_config,
                checkpoint_config=self.checkpoint_config,
                profiler_config=self.profiler_config,
            )
        )
        self.training_client.trainer = self
        self.training_client.set_loss_fn(partial(sft_loss, config=None))
        self.engine = self.training_client.engine

    def _build_dataloader(self) -> None:
        rank, ranks = self.engine.get_data_parallel_rank(), self.engine.get_data_parallel_size()
        rows = len(self.train_dataset)
        self.global_batch_size = self.stage.train_batch_size
        self.train_sampler = Steps(rows, self.stage, self.job.seed, rank, ranks)
        self.train_dataloader = StatefulDataLoader(
            dataset=self.train_dataset,
            batch_size=self.global_batch_size // ranks,
            sampler=self.train_sampler,
            collate_fn=SFTTensorCollator(self.config.data.pad_mode),
        )
        self.val_dataloader = None

    def _build_ckpt_handler(self) -> None:
        given = self.config.trainer
        self.ckpt_handler = Checkpoints(
            engine=self.engine,
            train_dataloader=self.train_dataloader,
            default_local_dir=given.default_local_dir,
            resume_mode=given.resume_mode,
            resume_from_path=given.resume_from_path,
        )
        self.ckpt_handler.trainer = self

    # --- the stage -----------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the stage's end, then hand over the master weights."""
        if self.step == 0:
            self._emit("params", when="start", digest=weights.digest_of(self.engine))
        self._emit("ready")
        if self.step < self.stage.total_training_steps:
            self.fit()
        if self.step < self.stage.total_training_steps:
            self._emit("stopped")
            return
        digest = weights.export(self.engine, self.job.folder / MODEL)
        self._emit("params", when="end", digest=digest)
        self._emit("end", digest=digest)

    def begin_step(self) -> None:
        """Set the rate of the step; verl's own schedule starts its warm-up at 0."""
        self.step += 1
        self._began = time.perf_counter()
        total, peak = self.stage.total_training_steps, self.stage.learning_rate
        self._rate = learning_rate_at(self.step, total, peak, self.stage.optimizer)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = self._rate

    def end_step(self, lengths: list[int], metrics: dict[str, Any]) -> None:
        """Report the step; stop verl's loop after it where that is asked."""
        seconds, tokens = time.perf_counter() - self._began, sum(lengths)
        finite = math.isfinite(metrics["grad_norm"])
        self.skipped = 0 if finite else self.skipped + 1
        self._emit(
            "train",
            loss=metrics["loss"],
            grad_norm=metrics["grad_norm"],
            learning_rate=self._rate,
            skipped_updates=self.skipped,
            epoch=self.step * self.stage.train_batch_size / len(self.train_dataset),
            tokens=tokens,
            tokens_per_second=tokens / seconds,
            **{"seconds/update": seconds},
        )
        if self.skipped >= MAX_SKIPPED:
            raise TrainingError(
                f"step {self.step}: {MAX_SKIPPED} updates in a row were not finite",
                hint="lower the learning rate; the last checkpoint is kept",
            )
        if self.stage.eval_every and self.step % self.stage.eval_every == 0:
            model = self.job.folder / f"{MODEL}-{self.step}"
            weights.export(self.engine, model)
            self._emit("evaluate", path=str(model))
        stop = torch.tensor(int(self.job.stop.exists()))
        torch.distributed.broadcast(stop, src=0)
        if stop.item():
            self.total_training_steps = self.step

    def saved(self, step: int, folder: Path) -> None:
        """A checkpoint is complete but for our part of it."""
        if self.rank == 0:
            (folder / STATE).write_text(json.dumps({"skipped": self.skipped}))
            self._emit("checkpoint", path=str(folder))

    def _emit(self, kind: str, **values: Any) -> None:
        if self.rank == 0:
            emit(self.job, self.step, kind, **values)


@hydra.main(
    config_path="pkg://verl.trainer.config", config_name="sft_trainer_engine", version_base=None
)
def main(config: Any) -> None:
    """Join the ranks and run."""
    auto_set_device(config)
    if get_device_name() == "cpu":
        torch.distributed.init_process_group("cpu:gloo")  # verl's would name the backend twice
    else:
        initialize_global_process_group()
    trainer = SFTTrainer(config)
    try:
        trainer.run()
    except TrainingError as error:
        trainer._emit("error", message=error.message, hint=error.hint, again=False)
        raise
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
