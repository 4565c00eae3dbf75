"""The local engine as one side: its own RL loop, on a stage whose reward model is a function."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks.engine.work import Clock, Report, Work, peak_mb, report, rewards_of, wait_for_turn
from cascade_rl.config import ChatConfig, LocalConfig, ModeShares, StageConfig
from cascade_rl.digests import weights_digest
from cascade_rl.engines.base import StageJob
from cascade_rl.engines.local import rl
from cascade_rl.engines.local.workers import Team
from cascade_rl.store.workspace import StageWorkspace
from cascade_rl.types import Checkpoint, Message, Preference, Problem


class TimedTeam(Team):
    """A team that adds up the time of sampling alone, and can be told never to stop early."""

    clock: Clock
    fixed = False

    def sample(self, slot: str, requests: Any, params: Any, stops: Sequence[int]) -> Iterator[Any]:
        found = super().sample(slot, requests, params, () if self.fixed else stops)
        end = object()
        following = self.clock.timed(lambda: next(found, end))
        while (item := following()) is not end:
            yield item


class Turns(StageWorkspace):
    """The store's own workspace; a step begins when the other side is told to wait."""

    def __init__(self, folder: Path, work: Work, clock: Clock) -> None:
        super().__init__(folder, "stage", "key")
        self._work, self._clock = work, clock
        self._next()

    def _next(self) -> None:
        wait_for_turn()
        self._began, self._clock.spent = self._clock.now(), 0.0

    def emit(self, event: Mapping[str, Any]) -> None:
        super().emit(event)
        if event["kind"] == "params":
            self._began, self._clock.spent = self._clock.now(), 0.0
        if event["kind"] == "train":
            whole = self._clock.now() - self._began
            peak = peak_mb(self._work.device)
            tokens, reward = int(event["tokens"]), float(event["reward/mean"])
            report(Report(whole, self._clock.spent, tokens, reward, peak))
            if event["step"] < self._work.steps:
                self._next()


def main() -> None:
    work = Work.read()
    local = LocalConfig(
        dtype="float32" if work.dtype == "float32" else "bfloat16",
        device=work.device,
        sample_batch=max(256, work.batch * work.group),
    )
    team = TimedTeam(local)
    team.clock, team.fixed = Clock(work.device), work.fixed
    problems = [
        Problem(f"p{i}", "chat", (Message("user", text),), Preference(), "bench")
        for i, text in enumerate(work.prompts)
    ]
    config = StageConfig(
        name="rl",
        domain="chat",
        train_files=("rows.jsonl",),
        total_training_steps=work.steps,
        train_batch_size=work.batch,
        rollout_n=work.group,
        learning_rate=work.learning_rate,
        temperature=1.0,
        top_p=1.0,
        max_new_tokens=work.new_tokens,
        modes=ModeShares(think=0.0, no_think=0.0),
        save_every=10**6,
        inputs={"reward_model": "function"},
    )
    path = Path(work.model)
    start = Checkpoint("start", 0, path, weights_digest(path))
    job = StageJob(
        "key", config, problems, start, None, {}, work.seed, ChatConfig(system=None), local
    )

    def reward(items: Sequence[tuple[Problem, str]]) -> list[float]:
        return rewards_of(work.rewards, [text for _, text in items], work.group)

    rl.load_scorers = lambda inputs, team: {"reward_model": reward}  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        rl.train_rl(team, job, Turns(Path(folder), work, team.clock))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
