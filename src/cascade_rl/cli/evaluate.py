"""`cascade eval`: a model or a server on row files, or a finished run on its test files.

Two rules. `--split test` on a run is the only way its test files are ever read, and every look is
recorded. And an answer that was judged is kept under --out: the same command goes on where it was
stopped, and one with more samples or problems asks for the new ones only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_rl.cli import answering
from cascade_rl.cli.common import AnswerPattern, Policy, console
from cascade_rl.cli.data.asking import AskMode
from cascade_rl.cli.evaluate_model import PILOT, Wanted, evaluate_model

Files = Annotated[
    list[str] | None,
    typer.Option(help="row file, mini:NAME, or NAME=FILE of the suite; any number of times"),
]
Against = Annotated[
    str | None, typer.Option(help="another model, measured too: the change from it, paired")
]
Unlocked = Annotated[
    bool, typer.Option("--unlocked", help="with --against: problems solved for the first time")
]
Budget = Annotated[
    float | None,
    typer.Option(
        min=1e-4, max=0.5, help="as many samples as give the mean to plus or minus this, at 95 %"
    ),
]
Pattern = Annotated[
    AnswerPattern | None, typer.Option(help="math: where the answer stands  [default: boxed]")
]
Checkers = Annotated[
    Policy | None,
    typer.Option(help="instructions: for rewards, or as published  [default: strict_reward]"),
]


def evaluate(
    model: answering.Model,
    benchmark: Files = None,
    against: Against = None,
    unlocked: Unlocked = False,
    split: Annotated[str, typer.Option(help="of a run's benchmarks: test")] = "test",
    out: Annotated[Path, typer.Option(help="where judged answers are kept")] = Path("evaluations"),
    k: Annotated[int | None, typer.Option(help="samples a problem  [default: 4]")] = None,
    budget: Budget = None,
    max_k: Annotated[int, typer.Option(min=2, help="samples a problem, with --budget")] = 256,
    greedy: Annotated[bool | None, typer.Option(help="a greedy answer too")] = None,
    temperature: Annotated[float | None, typer.Option(help="[default: 1.0]")] = None,
    top_p: Annotated[float | None, typer.Option(help="[default: 1.0]")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="[default: 2048]")] = None,
    yarn_factor: Annotated[float | None, typer.Option(help="a longer context")] = None,
    mode: Annotated[str | None, typer.Option(help="think or no_think")] = None,
    seed: Annotated[int | None, typer.Option(help="fresh samples  [default: 0]")] = None,
    verifier: Annotated[str | None, typer.Option(help="auto, or a verifier's name")] = None,
    answer_pattern: Pattern = None,
    policy: Checkers = None,
    loose: Annotated[bool, typer.Option("--loose", help="instructions: IFEval's loose")] = False,
    limit: Annotated[int | None, typer.Option(help="first problems only")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes that verify; 0: a core each")] = 0,
    endpoint: answering.Endpoint = "",
    api_key_env: answering.KeyVariable = "",
    ask_mode: answering.Asking = AskMode.TEMPLATE,
    concurrency: answering.Concurrency = 16,
    tries: answering.Tries = 6,
    timeout_s: answering.TimeoutS = 900.0,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
) -> int:
    """Evaluate a model or a server on row files, or every stage of a run on its test files."""
    from cascade_rl.errors import ConfigError

    if not endpoint and (Path(model) / "cascade.yaml").exists():
        _evaluate_run(Path(model), benchmark, split, as_json=as_json)
        return 0
    if not benchmark:
        raise ConfigError(
            f"nothing to evaluate {model} on", hint="name row files:  --benchmark math_val.parquet"
        )
    options = {
        "answer_pattern": answer_pattern and answer_pattern.value,
        "instruction_policy": policy and policy.value,
        "loose": loose or None,
    }
    settings = {
        "k": PILOT if budget is not None and k is None else k,
        "temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens,
        "yarn_factor": yarn_factor, "mode": mode, "seed": seed, "verifier": verifier,
        "limit": limit, "greedy": greedy, "verifier_options": _given(options) or None,
    }  # fmt: skip
    server = answering.Asked(endpoint, api_key_env, ask_mode, concurrency, tries, timeout_s)
    if budget is not None and not budget > 0:
        raise ConfigError(f"--budget is {budget}; expected a number", hint="for example  0.01")
    if unlocked and against is None:
        raise ConfigError("--unlocked compares two models", hint="name the other:  --against MODEL")
    wanted = Wanted(benchmark, _given(settings), budget, max_k, out, workers, unlocked)
    models = [model] if against is None else [against, model]
    return evaluate_model(models, server, wanted, as_json=as_json)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _evaluate_run(directory: Path, files: list[str] | None, split: str, *, as_json: bool) -> None:
    import yaml

    from cascade_rl.cli.ledger import show
    from cascade_rl.configfile import parse_config
    from cascade_rl.errors import ConfigError
    from cascade_rl.evaluation.ledger import build_ledger
    from cascade_rl.store import Run
    from cascade_rl.trainer import CascadedRLTrainer

    if files:
        raise ConfigError(
            f"{directory} is a run: its benchmarks are in its config, --benchmark is for a model",
            hint=f"for one stage's model:  cascade eval {directory}/stages/NAME-KEY/model ...",
        )
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
