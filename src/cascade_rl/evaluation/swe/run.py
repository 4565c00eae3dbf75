"""The whole pipeline over many issues, which can be killed and goes on.

Two rules. Every answer is on disk before it is used and every issue's row when it is done, so the
same command goes on where it was killed and ends with the same files. And before a model is asked
anything, every issue is shown to be judgeable: its golden patch passes its tests and its repository
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cascade_rl.digests import digest_json
from cascade_rl.errors import ConfigError, DataError, EvaluationError
from cascade_rl.evaluation.swe.execute import Runner, on_runners
from cascade_rl.evaluation.swe.instances import Instance
from cascade_rl.evaluation.swe.judge import why_unfit
from cascade_rl.evaluation.swe.pipeline import solve
from cascade_rl.evaluation.swe.results import (
    Row,
    rows_in,
    summary_of,
    write_predictions,
    write_summary,
)
from cascade_rl.evaluation.swe.settings import Means, Settings

VERSION = "swe-pipeline-1"
AT_ONCE = 16
"""Issues whose prompts are asked together, whose files are in memory, and that a kill undoes."""
SHOWN = 10

Progress = Callable[[int, int], None]
"""(issues done, of so many)."""


def run_swe(
    instances: Sequence[Instance],
    means: Means,
    settings: Settings,
    out: Path,
    *,
    leave_unfit: bool = False,
    at_once: int = AT_ONCE,
    progress: Progress = lambda done, total: None,
    checking: Progress = lambda done, total: None,
) -> Mapping[str, Any]:
    """Repair every issue, into `out`; what `summary.json` then holds.

    Issues that cannot be judged are named in an EvaluationError before anything is asked; with
    `leave_unfit` they are named in the summary and left out. `checking` is told how many were
    looked at, and `progress` then how many are done. Raises what the generator raises, and
    OutputError where the directory cannot be written.
    """
    _check_golden(instances, settings)
    with rows_in(out) as rows:
        ran = means.runners[0].digest if means.runners else ""
        asked = [VERSION, means.answers.digest, asdict(settings), ran]
        keys = {i.id: digest_json([*asked, i.digest])[:32] for i in instances}
        unfit = _unfit([i for i in instances if keys[i.id] not in rows], means, ran, checking)
        if unfit and not leave_unfit:
            raise _cannot_judge(unfit, len(instances))
        fit = [instance for instance in instances if instance.id not in unfit]
        todo = [instance for instance in fit if keys[instance.id] not in rows]
        progress(len(fit) - len(todo), len(fit))
        for start in range(0, len(todo), at_once):
            chunk = solve(todo[start : start + at_once], means, settings)
            rows.add([{"key": keys[row["instance_id"]], **row} for row in chunk])
            progress(len(fit) - len(todo) + start + len(chunk), len(fit))
        found = [rows[keys[instance.id]] for instance in fit]
        summary = _summary(found, unfit, means, settings)
        write_predictions(out, means.answers.generator.name, found)
        write_summary(out, summary)
    return summary


def _check_golden(instances: Sequence[Instance], settings: Settings) -> None:
    lacking = [i.id for i in instances if settings.shows != "localized" and not i.patch]
    if lacking:
        raise ConfigError(
            f"{len(lacking)} issues have no golden patch, {lacking[0]} among them; "
            f"--files {settings.shows} shows its files",
            hint="show localized files:  --files localized",
        )


def _unfit(
    instances: Sequence[Instance], means: Means, ran: str, checking: Progress
) -> dict[str, str]:
    """Why issues cannot be judged, by id, in order. What was found of one is kept as it is found;
    where its repository could not be read, or the sandbox did not work, nothing was."""
    journal = means.answers.journal
    keys = [digest_json([VERSION, "fit", instance.digest, ran]) for instance in instances]
    known = [journal.get(key) for key in keys]
    left = [place for place, values in enumerate(known) if values is None]
    reasons = {place: values.get("why", "") for place, values in enumerate(known) if values}
    if left:
        checking(len(reasons), len(instances))
    looked = on_runners(_looked_at, [instances[place] for place in left], means.runners)
    for place, (why, kept) in ((left[n], found) for n, found in looked):
        if kept:
            about = {"unfit" if why else "fit": instances[place].id}
            journal.put(keys[place], about | ({"why": why} if why else {}))
        reasons[place] = why
        checking(len(reasons), len(instances))
    return {each.id: reasons[place] for place, each in enumerate(instances) if reasons[place]}


def _looked_at(instance: Instance, runner: Runner | None) -> tuple[str, bool]:
    """Why an issue cannot be judged, and whether that is so for good: a repository that cannot be
    read can be put right."""
    try:
        return why_unfit(instance, runner), True
    except DataError as error:
        return error.message, False


def _cannot_judge(unfit: Mapping[str, str], total: int) -> EvaluationError:
    lines = [f"{name}: {why}" for name, why in list(unfit.items())[:SHOWN]]
    more = [f"and {len(unfit) - SHOWN} more"] if len(unfit) > SHOWN else []
    return EvaluationError(
        f"{len(unfit)} of {total} issues cannot be judged here:\n" + "\n".join(lines + more),
        hint="leave them out:  --leave-unfit   or run no tests:  --vote-only",
    )


def _summary(
    rows: Sequence[Row], unfit: Mapping[str, str], means: Means, settings: Settings
) -> dict[str, Any]:
    sampling = means.answers.sampling
    return {
        "model": means.answers.generator.name,
        "settings": asdict(settings),
        "sampling": asdict(sampling),
        "yarn_factor": means.answers.yarn_factor,
        "not_judged": dict(unfit),
        **summary_of(rows, settings.seed),
    }
