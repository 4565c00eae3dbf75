"""A benchmark on whatever answers: greedy and k sampled answers to every problem, all judged.

The rule: here every sample counts. A truncated answer scores 0, a failure of ours is tried
again, and what then is still not judged ends the evaluation instead of vanishing from a mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cascade_rl.chat import ANSWERED_AFTER_THOUGHT, THINK_CLOSE, answer_part, fixed_modes
from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.generate import GREEDY, Generator, Prompt, Response, Sampling
from cascade_rl.errors import EvaluationError
from cascade_rl.rewards import VerifierPool
from cascade_rl.rewards.pool import Ticket
from cascade_rl.types import Finish, Mode, Problem, Sample, Signals, Verdict, wrong
from cascade_rl.verifiers import mixed_language, refuse_what_is_missing

ATTEMPTS = 3


def evaluate(generator: Generator, pool: VerifierPool, job: EvaluationJob) -> Iterator[Sample]:
    """Samples in (problem, sample) order, the greedy answer (-1) first.

    Raises EvaluationError where an answer cannot be judged, after `ATTEMPTS` attempts.
    """
    found = dict(by_problem(generator, pool, job, prompts_of(job)))
    for index in range(len(job.problems)):
        yield from found[index]


def by_problem(
    generator: Generator, pool: VerifierPool, job: EvaluationJob, prompts: Sequence[Prompt]
) -> Iterator[tuple[int, list[Sample]]]:
    """Each problem's index with the samples its prompt asks for, once all of them are judged.

    Verification runs while the answers to other problems are still being generated.
    """
    refuse_what_is_missing(job.problems)
    _refuse_what_cannot_be_judged(pool, job)
    judge = _Judge(pool, job, prompts)
    for response in generator.generate(prompts, sampling_of(job)):
        judge.take(response)
        yield from judge.finished(wait=False)
    yield from judge.finished(wait=True)


def _refuse_what_cannot_be_judged(pool: VerifierPool, job: EvaluationJob) -> None:
    """Raise EvaluationError for a row that no answer could be held against, before any is asked."""
    empty = pool.map(job.verifier, ((problem, "") for problem in job.problems))
    for index, verdict in enumerate(empty):
        if verdict.status == "invalid":
            raise _not_judged(job, index, verdict)


def _not_judged(job: EvaluationJob, index: int, verdict: Verdict) -> EvaluationError:
    return EvaluationError(
        f"benchmark {job.benchmark.name}: row {index} ({job.problems[index].id}) cannot be "
        f"judged: {verdict.reason}",
        hint="a row's fault: repair or drop it; this machine's:  cascade doctor",
    )


def prompts_of(job: EvaluationJob) -> list[Prompt]:
    """What is asked: each problem once, in the benchmark's mode or the one its row fixes."""
    benchmark, fixed = job.benchmark, fixed_modes(job.problems)
    samples = (*((GREEDY,) if benchmark.greedy else ()), *range(benchmark.k))
    return [
        Prompt(problem.id, problem.prompt, benchmark.mode or fixed.get(problem.id), samples)
        for problem in job.problems
    ]


def sampling_of(job: EvaluationJob) -> Sampling:
    """How the benchmark's protocol draws answers."""
    b = job.benchmark
    return Sampling(b.temperature, b.top_p, b.top_k, b.max_new_tokens, b.seed)


class _Judge:
    """Answers as they come, each with its verdict or the ticket for it."""

    def __init__(self, pool: VerifierPool, job: EvaluationJob, prompts: Sequence[Prompt]) -> None:
        self._pool, self._job, self._prompts = pool, job, prompts
        self._open: dict[int, dict[int, tuple[Response, Verdict | Ticket]]] = {}
        self._asked: dict[int, dict[tuple[str, Finish], Verdict | Ticket]] = {}
        self._waiting: list[int] = []

    def take(self, response: Response) -> None:
        """Give an answer to the verifier; the same answer to a problem is judged once."""
        index = response.prompt
        problem, mode = self._job.problems[index], self._prompts[index].mode
        asked = self._asked.setdefault(index, {})
        answer = response.text, response.finish
        verdict = _without_answer(problem, mode, response) or asked.get(answer)
        if verdict is None:
            verdict = self._pool.submit(self._job.verifier, problem, read(problem, response.text))
        asked[answer] = verdict
        found = self._open.setdefault(index, {})
        found[response.sample] = response, verdict
        if len(found) == len(self._prompts[index].samples):
            self._waiting.append(index)

    def finished(self, *, wait: bool) -> Iterator[tuple[int, list[Sample]]]:
        """Problems all of whose answers are judged, or with `wait` all of which are there."""
        ready = {i for i in self._waiting if wait or self._is_judged(i)}
        self._waiting = [i for i in self._waiting if i not in ready]
        for index in sorted(ready):
            del self._asked[index]
            answers = sorted(self._open.pop(index).items())
            yield index, [self._sample(index, *answer) for _, answer in answers]

    def _is_judged(self, index: int) -> bool:
        tickets = (v for v in self._asked[index].values() if isinstance(v, Ticket))
        return all(ticket.done() for ticket in tickets)

    def _sample(self, index: int, response: Response, verdict: Verdict | Ticket) -> Sample:
        problem, text = self._job.problems[index], response.text
        truncated = response.finish == "length"
        judged = self._judged(index, text, verdict)
        mixed = mixed_language(problem.prompt, text)
        signals = Signals(judged, mixed_language=mixed, truncated=truncated)
        return Sample(problem.id, response.sample, text, response.finish, response.tokens, signals)

    def _judged(self, index: int, text: str, verdict: Verdict | Ticket) -> Verdict:
        """The verdict, asked for again while it is `infra`."""
        pool, problem = self._pool, self._job.problems[index]
        found = verdict if isinstance(verdict, Verdict) else pool.gather([verdict])[0]
        for _ in range(ATTEMPTS - 1):
            if found.status != "infra":
                break
            [found] = pool.gather([pool.submit(self._job.verifier, problem, read(problem, text))])
        if found.score is None:
            raise _not_judged(self._job, index, found)
        return found


def read(problem: Problem, text: str) -> str:
    """What a verifier reads: the completion, and in chat the answer alone."""
    return answer_part(text) if problem.domain == "chat" else text


def _without_answer(problem: Problem, mode: Mode | None, response: Response) -> Verdict | None:
    """The verdict on a completion that never came to an answer; None where it did."""
    if response.finish == "length":
        return wrong("truncated")
    thinks = mode == "think" and problem.domain in ANSWERED_AFTER_THOUGHT
    return wrong(f"no {THINK_CLOSE}") if thinks and THINK_CLOSE not in response.text else None
