"""Reward models and judges that a stage names as inputs, each in a Ray actor of its job.

The rule: it is the local engine's own scorer that answers, so a completion's score is the local
engine's. Only the trainer asks, once for a batch; ids and texts travel, problems stay in the job.

An actor and not a server: Ray finds it a GPU on any node, it ends with the job, and one that dies
is a failure of the job like any other. On GPUs each takes one beside those of the ranks, whose
memory is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from cascade_rl.engines.local.workers import Team
from cascade_rl.engines.scorer import load_scorers
from cascade_rl.engines.verl.job import Job, one_rank, read_job, read_rows
from cascade_rl.types import Checkpoint, Problem, Scorer

Item = tuple[Problem, str]


class ScorerActor:
    """One model that scores what it is asked."""

    def __init__(self, folder: str, role: str) -> None:
        job = read_job(folder)
        model = Checkpoint(role, 0, job.inputs[role], "")
        self._rows = read_rows(folder)
        self._scorer = load_scorers({role: model}, Team(one_rank(job.verl)))[role]

    def score(self, asked: Sequence[tuple[str, str]]) -> list[float]:
        """A number for each (problem's id, completion's text), nan where it does not fit."""
        return list(self._scorer([(self._rows[problem], text) for problem, text in asked]))


@dataclass(frozen=True, slots=True)
class ActorScorer:
    """A `types.Scorer` that asks an actor."""

    actor: Any

    def __call__(self, items: Sequence[Item]) -> Sequence[float]:
        """One number per item, in order."""
        found: list[float] = ray.get(self.actor.score.remote([(p.id, text) for p, text in items]))
        return found


def start_scorers(job: Job) -> dict[str, Scorer]:
    """The stage's inputs by role, loaded. Raises where a model cannot be."""
    gpus = 0 if job.verl.platform == "cpu" else 1
    remote = ray.remote(ScorerActor).options(num_cpus=1, num_gpus=gpus)
    found = {role: ActorScorer(remote.remote(str(job.folder), role)) for role in job.inputs}
    for scorer in found.values():
        scorer([])
    return dict(found)
