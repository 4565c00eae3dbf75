"""Our rows as verl's data set: prompts rendered with our template, references left in the job.

One surprise: nothing iterates over it. The trainer asks for what the curriculum drew, by id and
mode, because verl has no place for a sampler of one's own.
"""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from cascade_rl.curriculum import Draw
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.model import load_tokenizer
from cascade_rl.engines.verl.job import read_job, read_rows


class CascadeDataset(Dataset[dict[str, Any]]):
    """`data.custom_cls` of verl. `config.cascade_job` names the job's folder."""

    def __init__(self, data_files: Any, tokenizer: Any, config: Any, **_: Any) -> None:
        folder = str(config.cascade_job)
        job = read_job(folder)
        self.rows = read_rows(folder)
        self.encoder = Encoder(load_tokenizer(job.start, job.chat), job.chat)
        self._ids = self.rows.ids
        self._batch = job.config.train_batch_size

    def __len__(self) -> int:
        """At least a batch: verl divides by the batches of an epoch, and epochs are ours."""
        return max(len(self._ids), self._batch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.drawn((self._ids[index % len(self._ids)], None), 0, index)

    def drawn(self, draw: Draw, occurrence: int, place: int) -> dict[str, Any]:
        """The fields of one prompt. `occurrence` counts its earlier places in the batch."""
        problem_id, mode = draw
        problem = self.rows[problem_id]
        return {
            "prompt_ids": list(self.encoder.prompt(problem.prompt, mode)),
            "raw_prompt": [{"role": m.role, "content": m.content} for m in problem.prompt],
            "data_source": problem.source,
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {"problem_id": problem_id},
            "index": place,
            "problem_id": problem_id,
            "mode": mode or "",
            "occurrence": occurrence,
        }
