"""Our verifiers as verl's reward function: what is known of one completion, and no reward.

The rule: it runs in verl's reward workers, one completion at a time, and returns raw signals. What
they are worth is decided over the whole batch, in the trainer. A journaled verdict is not decided
again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cascade_rl.engines.local.judging import journal_key, stage_verifiers
from cascade_rl.engines.verl.job import known_verdicts, read_job, read_rows
from cascade_rl.rewards import VerifierPool
from cascade_rl.types import Verifier
from cascade_rl.verifiers import mixed_language


@functools.lru_cache(maxsize=2)
def pool_of(folder: str) -> VerifierPool:
    """This worker's pool of one process; the trainer has the circuit breaker, over all workers."""
    verl = read_job(folder).verl
    return VerifierPool(1, verl.verifier_deadline_s, breaker=1.0)


@functools.lru_cache(maxsize=2)
def verifiers_of(folder: str) -> Mapping[str, Verifier]:
    """The stage's verifiers; made once a process."""
    return stage_verifiers(read_job(folder).config)


async def judge(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any],
    job: str = "",
    **_: Any,
) -> dict[str, Any]:
    """Verl's `compute_score`: the verdict and the language of one completion.

    `score` is the verdict's, for verl's own metrics; 0 where there is none.
    """
    problem = read_rows(job)[extra_info["problem_id"]]
    text = extra_info["text"]
    verdict = None
    if problem.domain != "chat":
        key = journal_key(problem, text, read_job(job).config.verifier_options)
        verdict = known_verdicts(job).get(key)
        verify = verifiers_of(job)["swe" if problem.domain == "swe" else "auto"]
        verdict = verdict or await pool_of(job).verify(verify, problem, text)
    return {
        "score": 0.0 if verdict is None or verdict.score is None else float(verdict.score),
        "verdict": None if verdict is None else asdict(verdict),
        "mixed_language": mixed_language(problem.prompt, text),
    }
