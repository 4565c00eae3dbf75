"""A benchmark on a model: greedy and k sampled answers to every problem, all of them judged.

The rule: here every sample counts. A truncated answer scores 0, a failure of ours is tried
again, and what then is still not judged ends the evaluation instead of vanishing from a mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cascade_rl.chat import THINK_CLOSE, answer_part
from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.local.encoder import Encoder, check_prompts, fixed_modes
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams, row_key
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import EvaluationError
from cascade_rl.rewards import VerifierPool
from cascade_rl.rewards.pool import Ticket
from cascade_rl.types import Checkpoint, Finish, Mode, Problem, Sample, Signals, Verdict, wrong
from cascade_rl.verifiers import mixed_language, refuse_what_is_missing

ATTEMPTS = 3
Place = tuple[int, int]
"""(index of the problem, index of the answer); answer 0 is the greedy one where there is one."""


def evaluate(
    team: Team, pool: VerifierPool, checkpoint: Checkpoint, job: EvaluationJob
) -> Iterator[Sample]:
    """Samples in (problem, sample) order, the greedy answer (-1) first.

    Raises EvaluationError where an answer cannot be judged, after `ATTEMPTS` attempts.
    """
    benchmark, problems = job.benchmark, job.problems
    refuse_what_is_missing(problems)
    model = team.load(
        "evaluate", Loading(checkpoint.path, job.chat, yarn_factor=benchmark.yarn_factor)
    )
    encoder = Encoder(model.tokenizer, job.chat)
    fixed = fixed_modes(problems)
    modes = [benchmark.mode or fixed.get(problem.id) for problem in problems]
    prompts = [encoder.prompt(p.prompt, mode) for p, mode in zip(problems, modes, strict=True)]
    lengths = {p.id: len(ids) for p, ids in zip(problems, prompts, strict=True)}
    what = f"benchmark {benchmark.name}"
    check_prompts(lengths, model.context, benchmark.max_new_tokens, model.context, what)
    params = SamplingParams(
        benchmark.temperature, benchmark.top_p, benchmark.top_k, benchmark.max_new_tokens
    )
    found: dict[Place, tuple[Generated, str, Verdict | Ticket]] = {}
    asked: dict[tuple[int, str, Finish], Verdict | Ticket] = {}  # the same answer is judged once
    requests = _requests(job, prompts)
    for generated in team.sample("evaluate", requests, params, encoder.stop_ids):
        place = (generated.request, generated.sample)
        text = encoder.text(generated.ids)
        problem, mode = problems[place[0]], modes[place[0]]
        answer = (place[0], text, generated.finish)
        known = _without_answer(problem, mode, text, generated) or asked.get(answer)
        verdict = known or pool.submit(job.verifier, problem, read(problem, text))
        asked[answer] = verdict
        found[place] = (generated, text, verdict)
    team.forget("evaluate")
    first = -1 if benchmark.greedy else 0
    for (i, j), (generated, text, verdict) in sorted(found.items(), key=lambda item: item[0]):
        judged = _judged(pool, job, i, text, verdict)
        truncated = generated.finish == "length"
        mixed = mixed_language(problems[i].prompt, text)
        signals = Signals(judged, mixed_language=mixed, truncated=truncated)
        yield Sample(problems[i].id, j + first, text, generated.finish, len(generated.ids), signals)


def read(problem: Problem, text: str) -> str:
    """What a verifier reads: the completion, and in chat the answer alone."""
    return answer_part(text) if problem.domain == "chat" else text


def _requests(job: EvaluationJob, prompts: Sequence[tuple[int, ...]]) -> list[Request]:
    """Keys without the model in them: checkpoints are compared under common random numbers."""
    benchmark = job.benchmark
    greedy = (None,) if benchmark.greedy else ()
    return [
        Request(
            ids,
            (*greedy, *(row_key(benchmark.seed, problem.id, s) for s in range(benchmark.k))),
        )
        for problem, ids in zip(job.problems, prompts, strict=True)
    ]


def _without_answer(
    problem: Problem, mode: Mode | None, text: str, generated: Generated
) -> Verdict | None:
    """The verdict on a completion that never came to an answer; None where it did."""
    if generated.finish == "length":
        return wrong("truncated")
    thinks = mode == "think" and problem.domain in ("math", "code", "swe")
    return wrong(f"no {THINK_CLOSE}") if thinks and THINK_CLOSE not in text else None


def _judged(
    pool: VerifierPool, job: EvaluationJob, index: int, text: str, verdict: Verdict | Ticket
) -> Verdict:
    """The verdict, asked for again while it is `infra`."""
    problem = job.problems[index]
    found = verdict if isinstance(verdict, Verdict) else pool.gather([verdict])[0]
    for _ in range(ATTEMPTS - 1):
        if found.status != "infra":
            break
        [found] = pool.gather([pool.submit(job.verifier, problem, read(problem, text))])
    if found.score is None:
        raise EvaluationError(
            f"benchmark {job.benchmark.name}: row {index} ({problem.id}) cannot be judged: "
            f"{found.reason}",
            hint="a row's fault: repair or drop it; this machine's:  cascade doctor",
        )
    return found
