"""The benchmarks that a job answers, first and last of all, and its answers, in the job's folder.

The rule: the job draws answers and nothing else; the driver judges them as it judges any engine's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cascade_rl.config import BenchmarkConfig
from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.generate import Prompt, Response, Sampling
from cascade_rl.engines.judged import prompts_of, sampling_of
from cascade_rl.types import Message, ToolCall

QUESTIONS = "benchmarks.json"


@dataclass(frozen=True, slots=True)
class Questions:
    """What a benchmark asks of a model."""

    name: str
    prompts: list[Prompt]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Answered:
    """A `Generator` whose answers are there already."""

    name: str
    digest: str
    questions: Questions
    responses: list[Response]

    def answers(self, job: EvaluationJob) -> bool:
        """Whether they are to this job's questions, under its protocol."""
        return self.questions == questions_of(job)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        """All of them."""
        assert prompts == self.questions.prompts and sampling == self.questions.sampling
        yield from self.responses


def questions_of(job: EvaluationJob) -> Questions:
    """What an evaluation asks."""
    return Questions(job.benchmark.name, prompts_of(job), sampling_of(job))


When = Literal["first", "last"]
"""Of the model that the job starts from, or of the one it ends with."""


def write_questions(folder: Path, asked: Mapping[When, Sequence[EvaluationJob]]) -> None:
    """For the job's trainer. A benchmark that stretches the context is left to another engine."""
    found = {
        when: [asdict(questions_of(job)) for job in jobs if answered_by_job([job.benchmark])]
        for when, jobs in asked.items()
    }
    (folder / QUESTIONS).write_text(json.dumps(found))


def read_questions(folder: Path, when: When) -> list[Questions]:
    """What `write_questions` wrote."""
    return [
        Questions(one["name"], [_prompt(p) for p in one["prompts"]], Sampling(**one["sampling"]))
        for one in json.loads((folder / QUESTIONS).read_text())[when]
    ]


def _prompt(fields: dict[str, Any]) -> Prompt:
    messages = tuple(_message(message) for message in fields["messages"])
    return Prompt(fields["id"], messages, fields["mode"], tuple(fields["samples"]))


def _message(fields: dict[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in fields["tool_calls"])
    return Message(**{**fields, "tool_calls": calls})


def write_responses(path: Path, responses: Sequence[Response]) -> None:
    """One line an answer."""
    path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in responses))


def read_responses(path: Path) -> list[Response]:
    """What `write_responses` wrote."""
    return [Response(**json.loads(line)) for line in path.read_text().splitlines()]


def answered_by_job(benchmarks: Iterable[BenchmarkConfig]) -> list[BenchmarkConfig]:
    """Those that a stage's samplers can hold: their context is not stretched (YaRN)."""
    return [benchmark for benchmark in benchmarks if benchmark.yarn_factor == 1.0]


def longest_answer(benchmarks: Iterable[BenchmarkConfig]) -> int:
    """The most tokens that an answer to one of those may have; 0 where there is none."""
    return max((one.max_new_tokens for one in answered_by_job(benchmarks)), default=0)
