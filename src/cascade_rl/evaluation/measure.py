"""A benchmark measured to its end: from the answers there are, and those that are still missing.

With an interval wanted in place of a number of samples, k grows until avg@k is known that well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.generate import Generator
from cascade_rl.engines.judged import by_problem, prompts_of
from cascade_rl.evaluation.answers import Answers
from cascade_rl.evaluation.ledger import tabulate
from cascade_rl.evaluation.metrics import samples_needed
from cascade_rl.rewards import VerifierPool
from cascade_rl.types import Sample

PILOT = 4
"""Samples a problem before their spread is believed."""

Progress = Callable[[int, int], None]
"""Called with (problems done, samples done)."""


def measure(
    generator: Generator,
    pool: VerifierPool,
    job: EvaluationJob,
    answers: Answers,
    progress: Progress = lambda problems, samples: None,
) -> list[Sample]:
    """All samples of the job, in (problem, sample) order; what is not kept is asked for.

    Raises EvaluationError where an answer cannot be judged, EndpointError where a server stops
    answering; what was judged before that is kept.
    """
    prompts = prompts_of(job)
    missing = []
    problems = samples = 0
    for index, (problem, prompt) in enumerate(zip(job.problems, prompts, strict=True)):
        known = answers.of(problem)
        wanted = tuple(s for s in prompt.samples if s not in known)
        samples += len(prompt.samples) - len(wanted)
        if wanted:
            missing.append((index, replace(prompt, samples=wanted)))
        else:
            problems += 1
    progress(problems, samples)
    left = replace(job, problems=[job.problems[index] for index, _ in missing])
    asked = [prompt for _, prompt in missing]
    for place, found in by_problem(generator, pool, left, asked) if asked else ():
        answers.add(left.problems[place], found)
        problems, samples = problems + 1, samples + len(found)
        progress(problems, samples)
    return [
        replace(answers.of(problem)[sample], problem_id=problem.id)
        for problem, prompt in zip(job.problems, prompts, strict=True)
        for sample in prompt.samples
    ]


def with_samples(job: EvaluationJob, k: int) -> EvaluationJob:
    """The same job with another number of samples a problem."""
    return replace(job, benchmark=job.benchmark.model_copy(update={"k": k}))


def next_k(samples: list[Sample], half_width: float, most: int) -> int:
    """The k with which avg@k on these problems is known to plus or minus `half_width` at 95 %.

    No more than `most`, and no less than there is.
    """
    scores_PK = tabulate(samples).scores_PK
    k: int = scores_PK.shape[1]
    return max(k, min(most, samples_needed(scores_PK, half_width)))
