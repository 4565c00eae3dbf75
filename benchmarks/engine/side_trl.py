"""TRL's GRPOTrainer as one side: run by the peers' own Python, with nothing of ours but `work`.

Its own reference settings for the published objective: beta 0, one iteration, token-level loss
over the batch, no sharing of weights with a server.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from work import Clock, Report, Work, peak_mb, report, rewards_of, wait_for_turn


def main() -> None:
    work = Work.read()
    torch.set_num_threads(1)
    clock = Clock(work.device)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work.model)
    model = AutoModelForCausalLM.from_pretrained(
        work.model, dtype=torch.bfloat16 if work.dtype == "bfloat16" else torch.float32
    )
    last: dict[str, float] = {}

    def reward(prompts: Any, completions: list[str], completion_ids: Any, **_: Any) -> list[float]:
        found = rewards_of(work.rewards, completions, work.group)
        last["reward"] = sum(found) / len(found)
        last["tokens"] = sum(map(len, completion_ids))
        return found

    class Turns(TrainerCallback):
        began = 0.0

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            wait_for_turn()
            self.began, clock.spent = clock.now(), 0.0

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            whole = clock.now() - self.began
            found = Report(
                whole, clock.spent, int(last["tokens"]), last["reward"], peak_mb(work.device)
            )
            report(found)

    rows = work.batch * work.group
    suppress = {"suppress_tokens": [tokenizer.eos_token_id]} if work.fixed else {}
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder,
            use_cpu=work.device == "cpu",
            bf16=work.dtype == "autocast",
            fp16=False,
            seed=work.seed,
            max_steps=work.steps,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=1,
            num_generations=work.group,
            max_completion_length=work.new_tokens,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            beta=0.0,
            num_iterations=1,
            loss_type="dapo",
            scale_rewards="group",
            learning_rate=work.learning_rate,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            weight_decay=0.0,
            max_grad_norm=1.0,
            gradient_checkpointing=False,
            generation_kwargs=suppress,
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            dataloader_pin_memory=False,
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": list(work.rendered)}),
            processing_class=tokenizer,
            callbacks=[Turns()],
        )
        trainer._generate_single_turn = clock.timed(trainer._generate_single_turn)
        sys.stdout.flush()
        trainer.train()


if __name__ == "__main__":
    main()
