"""A few issues from their text to their rows: localized, repaired, validated, picked.

One rule: prompts of one kind are asked for together, for all of these issues, so that a model's
batches are full; what is run afterwards needs no model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cascade_rl.data.sources.swe import repair_prompt
from cascade_rl.engines.generate import Prompt, Response
from cascade_rl.evaluation.swe.edits import Candidate, read_candidate
from cascade_rl.evaluation.swe.execute import Runner, on_runners
from cascade_rl.evaluation.swe.instances import Instance
from cascade_rl.evaluation.swe.judge import failures, golden_of
from cascade_rl.evaluation.swe.localize import (
    Generated,
    by_frequency,
    fitting,
    fuse,
    localization_prompt,
)
from cascade_rl.evaluation.swe.repair import TURN, Context, CountTokens, context, wanted_files
from cascade_rl.evaluation.swe.repository import read_files, sources
from cascade_rl.evaluation.swe.results import MOST_RANKED, Row, Tried
from cascade_rl.evaluation.swe.settings import Means, Settings
from cascade_rl.evaluation.swe.validate import (
    Evidence,
    Suite,
    fitting_prompt,
    gather,
    make_suite,
    pick,
)
from cascade_rl.types import Message


@dataclass(frozen=True, slots=True)
class Case:
    """An issue with its repository's files, those in which the fault is looked for, and the
    golden ones."""

    instance: Instance
    files: Mapping[str, str]
    sources: Mapping[str, str]
    golden: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Localized:
    """Where the fault may be, by three rankings."""

    generated: Generated
    retrieved: tuple[str, ...]
    fused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """A case with its prompt's files and the candidates."""

    case: Case
    localized: Localized
    context: Context
    candidates: tuple[Candidate, ...]


def solve(instances: Sequence[Instance], means: Means, settings: Settings) -> list[Row]:
    """The rows of a few issues, in order."""
    cases = [_case(instance, settings) for instance in instances]
    repairs = _repair(cases, _localize(cases, means, settings), means, settings)
    return _validated(repairs, _scripts(repairs, means, settings), means.runners)


def _case(instance: Instance, settings: Settings) -> Case:
    files = read_files(instance.repo, instance.base_commit)
    return Case(instance, files, sources(files, settings.suffixes), golden_of(instance, files))


def _localize(cases: Sequence[Case], means: Means, settings: Settings) -> list[Localized]:
    """Both rankings of every case, fused."""
    retrieved = [
        means.retrieve(case.sources, case.instance.issue) if means.retrieve else []
        for case in cases
    ]
    prompts = []
    for case, ranked in zip(cases, retrieved, strict=True):
        issue = case.instance.issue
        room = settings.prompt_tokens - TURN - means.count(localization_prompt(issue, ()))
        paths = fitting(ranked, case.sources.keys(), max(room, 0), means.count)
        text = localization_prompt(issue, paths, settings.listed)
        prompts.append(_prompt(case, "localize", text, settings.rollouts * bool(paths), settings))
    answers = means.answers.ask(prompts)
    found = []
    for case, ranked, responses in zip(cases, retrieved, answers, strict=True):
        generated = by_frequency(responses, case.sources.keys(), settings.listed)
        fused = fuse(ranked, generated.ranked)
        found.append(Localized(generated, tuple(ranked), tuple(fused)))
    return found


def _prompt(case: Case, what: str, text: str, samples: int, settings: Settings) -> Prompt:
    name = f"{case.instance.id}/{what}"
    return Prompt(name, (Message("user", text),), settings.mode, tuple(range(samples)))


def _repair(
    cases: Sequence[Case], localized: Sequence[Localized], means: Means, settings: Settings
) -> list[Repair]:
    """The candidates of every case; none where no file fits into the prompt."""
    contexts = [
        _context(case, found, means.count, settings)
        for case, found in zip(cases, localized, strict=True)
    ]
    prompts = []
    for case, shown in zip(cases, contexts, strict=True):
        text = repair_prompt(case.instance.issue, {path: case.files[path] for path in shown.paths})
        samples = settings.candidates if shown.paths else 0
        prompts.append(_prompt(case, "repair", text, samples, settings))
    answers = means.answers.ask(prompts)
    return [
        Repair(case, found, shown, _candidates(case, responses))
        for case, found, shown, responses in zip(cases, localized, contexts, answers, strict=True)
    ]


def _context(case: Case, localized: Localized, count: CountTokens, settings: Settings) -> Context:
    rng = random.Random(f"{settings.seed}/{case.instance.id}")
    wanted = wanted_files(settings.shows, case.golden, localized.fused, settings.top_k)
    noise = case.sources.keys() if settings.noise else ()
    issue = case.instance.issue
    return context(case.files, issue, wanted, settings.prompt_tokens, count, rng, noise=noise)


def _candidates(case: Case, responses: Sequence[Response]) -> tuple[Candidate, ...]:
    return tuple(read_candidate(case.files, case.instance.issue, each) for each in responses)


def _scripts(repairs: Sequence[Repair], means: Means, settings: Settings) -> list[list[Response]]:
    """Answers with reproduction tests; none are asked for where nothing is run or to be told
    apart."""
    prompts = []
    for repair in repairs:
        case = repair.case
        useful = bool(means.runners) and any(not c.error for c in repair.candidates)
        shown = {path: case.files[path] for path in repair.context.paths}
        budget = settings.prompt_tokens - TURN
        issue = case.instance.issue
        text = fitting_prompt(issue, shown, repair.candidates, budget, means.count)
        asked = settings.tests * (useful and bool(text))
        prompts.append(_prompt(case, "reproduce", text, asked, settings))
    return means.answers.ask(prompts)


# --- what is run ----------------------------------------------------------------------------------


def _validated(
    repairs: Sequence[Repair], scripts: Sequence[Sequence[Response]], runners: Sequence[Runner]
) -> list[Row]:
    """The rows, in order; as many at a time as there are runners."""
    given = list(zip(repairs, scripts, strict=True))
    rows = dict(on_runners(lambda one, runner: _row(*one, runner), given, runners))
    return [rows[place] for place in range(len(given))]


def _row(repair: Repair, responses: Sequence[Response], runner: Runner | None) -> Row:
    """Everything that is known of an issue in the end."""
    case, candidates = repair.case, repair.candidates
    suite = Suite()
    if runner is not None and any(not c.error for c in candidates):
        suite = make_suite(runner, case.files, responses, case.instance.pass_to_pass)
    evidence = gather(runner, case.files, suite, candidates)
    passed = _passed(repair, runner)
    chosen = pick(evidence, range(len(candidates)))
    return {
        "instance_id": case.instance.id,
        "golden": case.golden,
        "localized": {
            "generation": repair.localized.generated.ranked[:MOST_RANKED],
            "retrieval": repair.localized.retrieved[:MOST_RANKED],
            "fused": repair.localized.fused[:MOST_RANKED],
        },
        "lists_unread": repair.localized.generated.unread,
        "shown": repair.context.paths,
        "noise": repair.context.noise,
        "prompt_tokens": repair.context.tokens,
        "candidates": _tried(candidates, evidence, passed),
        "scripts": {
            "generated": len(responses),
            "kept": len(suite.scripts),
            "dropped": dict(suite.dropped),
        },
        "tests": {"kept": len(suite.tests), "failing": suite.failing},
        "chosen": chosen,
        "resolved": None if runner is None else chosen is not None and passed[chosen] is True,
    }


def _passed(repair: Repair, runner: Runner | None) -> list[bool | None]:
    """Whether each candidate resolves the issue; None where nothing is run."""
    if runner is None:
        return [None] * len(repair.candidates)
    case = repair.case
    known: dict[str, bool] = {}
    found: list[bool | None] = []
    for candidate in repair.candidates:
        if not candidate.error and candidate.content not in known:
            bad = failures(runner, case.instance, case.files, candidate.changed)
            known[candidate.content] = not bad
        found.append(not candidate.error and known[candidate.content])
    return found


def _tried(
    candidates: Sequence[Candidate],
    evidence: Sequence[Evidence | None],
    passed: Sequence[bool | None],
) -> list[dict[str, Any]]:
    return [
        asdict(Tried(c.sample, c.tokens, c.error, c.patch, e, p))
        for c, e, p in zip(candidates, evidence, passed, strict=True)
    ]
