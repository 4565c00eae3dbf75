"""`cascade eval`: a model directory on row files, or a finished run on its test files.

`--split test` on a run is the only way its test files are ever read, and every look is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import AnswerPattern, Policy, console, protocol_of, trained_with

if TYPE_CHECKING:
    from cascade_rl.config import BenchmarkConfig
    from cascade_rl.types import Problem


def evaluate(
    model: Annotated[Path, typer.Argument(help="a model directory, or the directory of a run")],
    benchmark: Annotated[
        list[str] | None, typer.Option(help="row file or mini:NAME, any number of times")
    ] = None,
    split: Annotated[str, typer.Option(help="of a run's benchmarks: test")] = "test",
    k: Annotated[int, typer.Option(help="samples a problem")] = 4,
    temperature: Annotated[float, typer.Option()] = 1.0,
    top_p: Annotated[float, typer.Option()] = 1.0,
    max_new_tokens: Annotated[int, typer.Option()] = 2048,
    mode: Annotated[str | None, typer.Option(help="think or no_think")] = None,
    verifier: Annotated[str, typer.Option(help="auto, or a verifier's name")] = "auto",
    answer_pattern: Annotated[
        AnswerPattern, typer.Option(help="math: where the answer stands")
    ] = AnswerPattern.BOXED,
    policy: Annotated[
        Policy, typer.Option(help="instructions: for rewards, or as published")
    ] = Policy.STRICT_REWARD,
    loose: Annotated[bool, typer.Option("--loose", help="instructions: IFEval's loose")] = False,
    limit: Annotated[int | None, typer.Option(help="first problems only")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
) -> None:
    """Evaluate a model on row files, or every stage of a run on its test files."""
    from cascade_rl.errors import ConfigError

    if (model / "cascade.yaml").exists():
        if benchmark:
            raise ConfigError(
                f"{model} is a run: its benchmarks are in its config, --benchmark is for a model",
                hint=f"for one stage's model:  cascade eval {model}/stages/NAME-KEY/model ...",
            )
        return _evaluate_run(model, split, as_json=as_json)
    if not benchmark:
        raise ConfigError(
            f"nothing to evaluate {model} on", hint="name row files:  --benchmark math_val.parquet"
        )
    settings = {
        "k": k, "temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens,
        "mode": mode, "verifier": verifier, "limit": limit,
        "verifier_options": {
            "answer_pattern": answer_pattern.value,
            "instruction_policy": policy.value,
            "loose": loose,
        },
    }  # fmt: skip
    return _evaluate_model(model, benchmark, settings, as_json=as_json)


def _evaluate_run(directory: Path, split: str, *, as_json: bool) -> None:
    import yaml

    from cascade_rl.cli.ledger import show
    from cascade_rl.configfile import parse_config
    from cascade_rl.errors import ConfigError
    from cascade_rl.evaluation.ledger import build_ledger
    from cascade_rl.store import Run
    from cascade_rl.trainer import CascadedRLTrainer

    run = Run(directory)
    if split != "test":
        raise ConfigError(
            f"`cascade run` evaluates val; here --split is {split!r}, expected test",
            hint=f"see val:  cascade ledger {directory}",
        )
    config = parse_config(yaml.safe_load(run.config_yaml))
    CascadedRLTrainer(cascade_config=config, output=directory).look_at_test()
    found = build_ledger(run.scores("test"))
    if as_json:
        print(json.dumps(found))
    else:
        show(found, console())


def _evaluate_model(
    model: Path, files: list[str], settings: Mapping[str, object], *, as_json: bool
) -> None:
    from cascade_rl.cli.ledger import show
    from cascade_rl.digests import weights_digest
    from cascade_rl.engines.base import EvaluationJob
    from cascade_rl.engines.local.engine import LocalEngine
    from cascade_rl.evaluation.benchmarks import verifier_of
    from cascade_rl.evaluation.ledger import Evaluated, StageScores, build_ledger
    from cascade_rl.types import Checkpoint

    chat, local = trained_with(model)
    key = weights_digest(model)
    checkpoint = Checkpoint(key, 0, model, key)
    found: dict[str, Evaluated] = {}
    engine = LocalEngine()
    try:
        for file in files:
            name = Path(file.removeprefix("mini:").replace("/", "-")).stem
            config = protocol_of({"name": name, "file": file, **settings})
            job = EvaluationJob(config, _problems(config), verifier_of(config), chat, local)
            found[name] = Evaluated(name, tuple(engine.evaluate(checkpoint, job)))
    finally:
        engine.close()
    ledger = build_ledger([StageScores(model.name, key, None, found)])
    if as_json:
        print(json.dumps(ledger))
    else:
        show(ledger, console())


def _problems(benchmark: BenchmarkConfig) -> list[Problem]:
    """The first `limit` problems of a file or a generator."""
    from cascade_rl import mini
    from cascade_rl.config import BUILTIN
    from cascade_rl.data.rows import read_rows
    from cascade_rl.types import Problem

    if benchmark.file.startswith(BUILTIN):
        rows = mini.rows(benchmark.file.removeprefix(BUILTIN), 0)
    else:
        rows = read_rows(Path(benchmark.file), "problem")
    return [row for row in rows if isinstance(row, Problem)][: benchmark.limit]
