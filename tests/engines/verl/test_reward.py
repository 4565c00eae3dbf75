"""The reward function that verl calls: signals of one completion, from the journal where it can."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cascade_rl.engines.local.judging import journal_key
from cascade_rl.engines.verl.job import write_job
from cascade_rl.engines.verl.reward import judge, pool_of
from cascade_rl.types import right
from tests.engines.helpers import comma_problems
from tests.engines.verl.helpers import verl_job


def test_a_journaled_verdict_is_not_decided_again(tmp_path: Path) -> None:
    job, problems = verl_job(tmp_path), comma_problems(1)
    key = journal_key(problems[0], "one, two", job.config.verifier_options)
    write_job(job, problems, {key: right(reason="it was decided before")})

    def judged(text: str) -> str:
        extra = {"problem_id": "p0", "text": text}
        return str(asyncio.run(judge("", "", "", extra, job=str(tmp_path)))["verdict"]["status"])

    try:
        assert [judged("one, two"), judged("one, two, three")] == ["right", "wrong"]
    finally:
        pool_of(str(tmp_path)).close()
