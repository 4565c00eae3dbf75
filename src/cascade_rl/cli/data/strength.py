"""`cascade data strength`: are the tests of code problems strong enough to train on?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.common import duration, progress

DEADLINE_S = 1800.0
"""Of one row; a row's mutants are bounded by processor time long before."""


def strength(
    file: Annotated[Path, typer.Argument(help="code rows; a golden solution in extra_info")],
    out: Annotated[Path, typer.Option(help="where the strong rows go")],
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="strength below which tests are weak, 0 to 1")
    ] = None,
    mutants: Annotated[int, typer.Option(min=1, help="wrong programs a row")] = 60,
    inputs: Annotated[int, typer.Option(min=1, help="generated inputs a row")] = 200,
    min_tests: Annotated[int, typer.Option(min=1, help="different tests a row must have")] = 3,
    keep_unsolved: Annotated[
        bool, typer.Option("--keep-unsolved", help="keep rows without a golden solution")
    ] = False,
    seed: Annotated[int, typer.Option(help="of mutants and inputs")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="worker processes")] = 1,
) -> int:
    """Drop code rows whose tests miss wrong programs, or cannot judge an answer at all.

    Mutants of the golden solution are run against the tests; what survives and is truly wrong
    shows a gap. Rows of other domains pass. Exit status 0 whatever was dropped.
    """
    from cascade_rl.data.step import Step
    from cascade_rl.data.strength.measure import THRESHOLD
    from cascade_rl.data.strength.sift import Options, sift
    from cascade_rl.rewards.pool import VerifierPool

    options = Options(
        threshold=THRESHOLD if threshold is None else threshold,
        mutants=mutants,
        inputs=inputs,
        min_tests=min_tests,
        keep_unsolved=keep_unsolved,
        seed=seed,
    )
    begun = time.monotonic()
    try:
        with (
            Step("strength", out, options.as_dict()) as step,
            VerifierPool(workers, deadline_s=DEADLINE_S, max_undone=4 * workers) as pool,
            progress(0) as report,
        ):
            sift(file, step, options, pool, lambda: report(step.read, 0))
    except KeyboardInterrupt:
        print("interrupted; nothing was written: run the same command again")
        return 130
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(step.dropped.items()))
    said = f"dropped {dropped}" if dropped else "none dropped"
    print(f"{out}  {step.kept} kept, {said}; {duration(time.monotonic() - begun)}")
    return 0
