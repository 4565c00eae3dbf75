"""A problem on disk, a generator that answers by rule and a judge that scores by rule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade_rl.engines.generate import Prompt, Response, Sampling
from cascade_rl.evaluation.ioi.files import read_task
from cascade_rl.evaluation.ioi.judge import Judged, TestResult
from cascade_rl.evaluation.ioi.strategy import Round, State, Submission
from cascade_rl.evaluation.ioi.task import Task, Test
from cascade_rl.sandbox.base import Language

SHAPE: dict[str, Any] = {
    "name": "pairs",
    "title": "Pairs",
    "statement": "statement.md",
    "time_limit_s": 1,
    "samples": ["samples/1"],
    "subtasks": [
        {"name": "1", "points": 20, "constraints": "N <= 10", "tests": ["tests/1-*"]},
        {"name": "2", "points": 30, "constraints": "N <= 1000", "tests": ["tests/[12]-*"]},
        {"name": "3", "points": 50, "constraints": "N <= 200000", "tests": ["tests/*"]},
    ],
}
FILES = {
    "statement.md": "Count the pairs.",
    "samples/1.in": "sample input\n",
    "samples/1.out": "sample output\n",
    **{
        f"tests/{s}-{n}.{end}": f"hidden {end} {s}-{n}\n"
        for s in (1, 2, 3)
        for n in (1, 2)
        for end in ("in", "out")
    },
}


def write_problem(directory: Path, files: dict[str, str] | None = None, **keys: Any) -> Path:
    """A problem of three subtasks with two tests each; keys and files of it replaced."""
    shape = {key: value for key, value in (SHAPE | keys).items() if value is not None}
    for name, text in {**FILES, **(files or {}), "problem.json": json.dumps(shape)}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def problem(directory: Path, **keys: Any) -> Task:
    return read_task(write_problem(directory, **keys))


def number(*parts: object) -> int:
    """The same number for the same parts, in any process."""
    text = "/".join(map(str, parts))
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


Step = Callable[[str], None]


@dataclass
class ScriptedGenerator:
    """Answers by prompt and number alone, the last of a round first; one in six has no program.

    `step` is called before each answer.
    """

    step: Step = lambda what: None
    confident: bool = True
    name: str = "scripted"
    digest: str = "0" * 16
    prompts: list[Prompt] = field(default_factory=list)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Response]:
        self.prompts += prompts
        for index, prompt in enumerate(prompts):
            for sample in reversed(prompt.samples):
                self.step("answer")
                code = number(prompt.id, sample)
                text = f"<think>hm</think>```cpp\n// {code % 500}\n```" if code % 6 else "no idea"
                confidence = (code % 997) / 100 if self.confident else None
                yield Response(index, sample, text, "stop", 10 + code % 90, confidence)


@dataclass
class ScriptedJudge:
    """A sample is passed by two programs of three; tests of later subtasks are passed by fewer.

    `step` is called before each call; `made` holds every program that was judged on hidden tests.
    """

    step: Step = lambda what: None
    hard: int = 40
    made: list[str] = field(default_factory=list)

    def results(
        self, task: Task, source: str, language: Language, tests: Sequence[Test]
    ) -> Sequence[TestResult]:
        what = "sample" if tests[0].name.startswith("samples/") else "tests"
        if what == "tests" and source not in self.made:
            self.made.append(source)
            what = f"submitted {source.strip()}"
        self.step(what)
        found = []
        for test in tests:
            found.append(self._result(source, test))
            if found[-1].score == 0:
                break
        return found

    def _result(self, source: str, test: Test) -> TestResult:
        if test.name.startswith("samples"):
            good = number(source) % 3 > 0
            return TestResult(float(good), "right" if good else "wrong")
        subtask = int(test.name.split("/")[1].split("-")[0])
        luck = number(source, subtask) % (self.hard * subtask)
        score = 1.0 if luck == 0 else 0.5 if luck % 3 == 1 else 0.0
        return TestResult(score, "right" if score == 1 else "partial" if score else "wrong")


def verdict(*scores_S: float) -> Judged:
    """A verdict with these scores."""
    kinds = ["right" if score == 1 else "partial" if score else "timeout" for score in scores_S]
    return Judged(tuple(map(TestResult, scores_S, kinds)))  # type: ignore[arg-type]


def after(*made: tuple[int, tuple[float, ...]]) -> State:
    """The state after these submissions: (the subtask each was made for, its scores)."""
    rounds = []
    for n, (subtask, scores_S) in enumerate(made):
        one = Submission(n, subtask, f"// program {n}\n", verdict(*scores_S))
        rounds.append(Round(subtask, 20, {}, one, "first"))
    return State(tuple(rounds))
