"""A run over some issues that kills its own process after so many answers: for test_run."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from cascade_rl.data.sft.journal import Journal
from cascade_rl.engines.generate import Sampling
from cascade_rl.evaluation.swe.answers import Answers
from cascade_rl.evaluation.swe.execute import Runner
from cascade_rl.evaluation.swe.instances import read_instances
from cascade_rl.evaluation.swe.run import run_swe
from cascade_rl.evaluation.swe.settings import Means
from cascade_rl.sandbox.client import default_sandbox
from tests.evaluation.swe.answering import scripted
from tests.evaluation.swe.conftest import LIMITS
from tests.evaluation.swe.settings import SETTINGS


def main(issues: str, out: str, last: str) -> None:
    def kill(given: int) -> None:
        if given == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    model = scripted()
    model.before = kill
    path = Path(issues)
    Path(out).mkdir(parents=True, exist_ok=True)
    with Journal(Path(out) / "answers.jsonl") as journal:
        means = Means(Answers(model, Sampling(), journal), (Runner(default_sandbox(), LIMITS),))
        run_swe(read_instances(path, path.parent / "repos"), means, SETTINGS, Path(out), at_once=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
