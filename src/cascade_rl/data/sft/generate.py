"""`cascade data generate`: prompts in, checked conversations out, in the order of the prompts.

Three passes: fetch the responses, fetch the second model's opinions, write. The first two only
fill the journal, in whatever order answers come; the third reads it, so the same journal gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from cascade_rl.chat import assistant_text
from cascade_rl.data.sft.agree import SecondModel, by_second_model, by_verdict, judged_problem
from cascade_rl.data.sft.endpoint import Endpoint, Report
from cascade_rl.data.sft.responses import (
    NO_PROMPT,
    SAME,
    Candidate,
    Refused,
    Teacher,
    candidate,
    modes_of,
    prompt_of,
    read_reply,
    readable,
    requests,
)
from cascade_rl.data.step import Step
from cascade_rl.types import Message, Mode, Problem, Row
from cascade_rl.verifiers import Pool, verify_many

CHUNK = 256
"""Responses that are judged at a time: what memory holds of them."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where answers are: the teacher's endpoint, and the second model's where there is one."""

    teacher: Teacher
    endpoint: Endpoint
    second: SecondModel | None = None
    second_endpoint: Endpoint | None = None

    def used(self) -> list[Endpoint]:
        """The endpoints, each once."""
        other = self.second_endpoint
        return (
            [self.endpoint] if other is None or other is self.endpoint else [self.endpoint, other]
        )


def generate(
    step: Step,
    path: Path,
    sources: Sources,
    *,
    pool: Pool | None = None,
    record: bool = False,
    report: Report = lambda rows, end: None,
) -> None:
    """Ask for what is missing, then write the responses that hold as conversations.

    With `record` the problems themselves are written, all their responses in
    `extra_info.responses` as text, None for one that was cut off, and nothing is checked.
    """
    teacher, endpoint = sources.teacher, sources.endpoint
    endpoint.fetch(requests(readable(path), teacher), report)
    if record:
        _record(step, path, sources)
        return
    if sources.second is not None and sources.second_endpoint is not None:
        second = sources.second
        found = _candidates(None, path, sources)
        asks = (second.ask(one) for one in found if judged_problem(one) is None)
        sources.second_endpoint.fetch(asks, report)
    counts = {"by_verifier": 0, "by_second_model": 0, "unchecked": 0}
    candidates = _candidates(step, path, sources)
    while chunk := list(islice(candidates, CHUNK)):
        for one, why in _judged(chunk, sources, pool, counts):
            if why is None:
                step.keep(one.conversation)
            else:
                step.drop(one.conversation, why.reason, why.detail)
    step.details["checked"] = counts
    step.details["requests"] = _counts(sources)


def _candidates(step: Step | None, path: Path, sources: Sources) -> Iterator[Candidate]:
    """Every usable response in order; with a step, what is not usable is dropped there."""
    prompts = 0
    for row in step.rows(path) if step else readable(path):
        prompt = prompt_of(row)
        if prompt is None or not (modes := modes_of(prompt, tuple(sources.teacher.models))):
            if step:
                step.drop(row, NO_PROMPT, "a pair, a tool's turn, no user turn or another mode")
            continue
        prompts += 1
        for mode in modes:
            yield from _responses(step, row, prompt, mode, sources)
    if step:
        step.details["prompts"] = prompts


def _responses(
    step: Step | None, row: Row, prompt: Sequence[Message], mode: Mode, sources: Sources
) -> Iterator[Candidate]:
    """The usable responses to one prompt in one mode."""
    teacher = sources.teacher
    seen: set[str] = set()
    for sample in range(teacher.samples):
        reply = sources.endpoint.answer(teacher.ask(prompt, mode, sample))
        answer = read_reply(reply, mode, teacher.cap)
        if isinstance(answer, Message):
            found = candidate(row, prompt, mode, sample, answer)
            if found.text not in seen:
                seen.add(found.text)
                yield found
                continue
            answer = Refused(SAME)
        if step:
            content = getattr(reply, "content", "")
            raw = {"id": f"{row.id}/{mode}/{sample}", "mode": mode, "response": content}
            step.refuse(raw, answer.reason, answer.detail)


def _judged(
    chunk: Sequence[Candidate], sources: Sources, pool: Pool | None, counts: dict[str, int]
) -> Iterator[tuple[Candidate, Refused | None]]:
    """Each response, and why its check refuses it."""
    problems = [(judged_problem(one), one.text) for one in chunk]
    pairs = [(problem, text) for problem, text in problems if problem is not None]
    verdicts = iter(verify_many(pairs, pool=pool))
    for one, (problem, _) in zip(chunk, problems, strict=True):
        if problem is not None:
            counts["by_verifier"] += 1
            yield one, by_verdict(one, next(verdicts))
        elif sources.second is not None and sources.second_endpoint is not None:
            counts["by_second_model"] += 1
            reply = sources.second_endpoint.answer(sources.second.ask(one))
            yield one, by_second_model(reply)
        else:
            counts["unchecked"] += 1
            yield one, None


def _record(step: Step, path: Path, sources: Sources) -> None:
    """Problems with all their responses, as `passrate`, `curate` and `swe` read them."""
    teacher = sources.teacher
    for row in step.rows(path):
        prompt = prompt_of(row)
        if not isinstance(row, Problem) or prompt is None:
            step.drop(row, NO_PROMPT, "expected a problem")
            continue
        texts: list[str | None] = []
        for mode in modes_of(prompt, tuple(teacher.models)):
            for sample in range(teacher.samples):
                reply = sources.endpoint.answer(teacher.ask(prompt, mode, sample))
                answer = read_reply(reply, mode, teacher.cap)
                texts.append(assistant_text(answer) if isinstance(answer, Message) else None)
        step.keep(replace(row, extra={**row.extra, "responses": texts}))
    step.details["requests"] = _counts(sources)


def _counts(sources: Sources) -> dict[str, Any]:
    """What the endpoints were asked; the journal's answers cost nothing."""
    used = sources.used()
    return {
        "paid": sum(e.asked for e in used),
        "from_cache": sum(e.kept for e in used),
        "without_answer": sum(len(e.failures) for e in used),
    }
