"""Judged answers on disk, by problem: what was evaluated once is not evaluated again.

The rule: a line is one problem's judged samples, written once all of them are there, and lines are
only added. A killed command leaves at most one torn line; the next command of the same model and
protocol asks for what is missing, be it problems or, with a larger k, samples.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cascade_rl.config import BenchmarkConfig, ChatConfig
from cascade_rl.data.growing import growing, whole_lines
from cascade_rl.digests import digest_json
from cascade_rl.errors import OutputError
from cascade_rl.evaluation.benchmarks import key_of, sample_of, sample_to_json
from cascade_rl.types import Problem, Sample
from cascade_rl.verifiers import VERIFIER_VERSIONS


class Answers:
    """The samples of one model under one protocol; a context manager, one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, dict[int, Sample]] = {}

    def __enter__(self) -> Self:
        busy = OutputError(
            f"{self.path} is in use by another command; expected one at a time",
            hint="wait for it, or name another directory:  --out DIR",
        )
        self._open = ExitStack()
        self._file = self._open.enter_context(growing(self.path, busy))
        end = 0
        for fields, size in whole_lines(self.path):
            found = map(sample_of, fields["samples"])
            self._known.setdefault(fields["key"], {}).update({s.sample: s for s in found})
            end += size
        os.truncate(self.path, end)
        return self

    def of(self, problem: Problem) -> dict[int, Sample]:
        """The problem's samples by number, the greedy one under -1."""
        return self._known.get(key_of(problem), {})

    def add(self, problem: Problem, samples: Sequence[Sample]) -> None:
        """They are in the file when this returns."""
        key = key_of(problem)
        lines = ",".join(map(sample_to_json, samples))
        self._file.write(f'{{"key":"{key}","samples":[{lines}]}}\n'.encode("ascii"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._known.setdefault(key, {}).update({s.sample: s for s in samples})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._open.close()
        if not self._known:
            self.path.unlink(missing_ok=True)


def answers_file(folder: Path, benchmark: BenchmarkConfig, chat: ChatConfig, digest: str) -> Path:
    """The file of a model's answers: by name, by the digest of how they are drawn and judged, and
    by that of the model. How many problems and samples there are is not part of it."""
    counted = {"name", "file", "test_file", "limit", "test_limit", "k", "greedy"}
    settings = benchmark.model_dump(mode="json", exclude=counted)
    drawn = digest_json([settings, VERIFIER_VERSIONS, chat.model_dump(mode="json")])
    return folder / f"{benchmark.name}-{drawn[:12]}-{digest[:12]}.jsonl"
