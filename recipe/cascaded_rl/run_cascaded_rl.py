"""The founding recipe's command line: its flags become a config, and `cascade run` does the rest.

One rule: a flag that cannot do what it says is refused. What there is no data for is left out and
said, unless it was asked for by name.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cascade_rl.cli import guarded
from cascade_rl.cli.run import run_config
from cascade_rl.config import CascadeRLConfig
from cascade_rl.configfile import parse_config, resolve_paths
from cascade_rl.errors import ConfigError, InputError
from cascade_rl.store.run import CONFIG, Run
from recipe.cascaded_rl.present import Asked, what_is_there
from recipe.cascaded_rl.start import where_it_starts

OWN_CONFIG = Path(__file__).parent / "config" / "cascaded_rl.yaml"
ENGINES, PLATFORMS = ("verl", "local"), ("cuda", "cpu")
DATA = "data/"
"""What the files of a config begin with that are looked for in --data_dir."""


def parser() -> argparse.ArgumentParser:
    """The flags; those of the founding recipe first."""
    found = argparse.ArgumentParser(
        prog="run_cascaded_rl.sh",
        description="Train the cascade, or some of its stages, one domain after another.",
        epilog="Killed? The same command goes on.",
        allow_abbrev=False,
    )
    add = found.add_argument
    add("--model", help="what the cascade starts from: a directory, or a name on the hub")
    add("--data_dir", "--data-dir", default="./data", type=Path, help="[default: ./data]")
    add("--output_dir", "--output-dir", default="./output", type=Path, help="[default: ./output]")
    add("--gpus", type=int, help="GPUs of this machine [default: 8 on verl, what is there locally]")
    add("--stages", default="", help="only these, one after another: math_rl,code_rl")
    add("--resume", help="keep what is before this stage; train it and what follows again")
    add("--engine", choices=ENGINES, help="[default: verl, or CASCADE_ENGINE]")
    add(
        "--platform",
        choices=PLATFORMS,
        help="cpu: without GPUs; on verl --gpus are then logical ones [or CASCADE_PLATFORM]",
    )
    add("--reward_url", "--reward-url", help="a reward model that  cascade serve-rm  serves")
    add("--config", default=OWN_CONFIG, type=Path, help="[default: the recipe's own]")
    add("--set", action="append", default=[], dest="sets", help="stage.key=value, repeatable")
    add("--dry-run", "--dry_run", action="store_true", help="show the plan and stop")
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status."""
    given = parser().parse_args(arguments)
    return guarded(lambda: run(given))


def run(given: argparse.Namespace) -> int:
    """Say what is left out and where it starts, then do what `cascade run` does."""
    given.engine = given.engine or from_environment("CASCADE_ENGINE", ENGINES) or "verl"
    given.platform = given.platform or from_environment("CASCADE_PLATFORM", PLATFORMS)
    values = read(given.config)
    config = with_flags(parse_config(values, given.sets), given)
    names = [name for name in given.stages.split(",") if name]
    asked = Asked(
        stages=frozenset(found for name in names for found in config.select(name)),
        resume=frozenset(config.select(given.resume)) if given.resume else frozenset(),
        model=config.model if given.model or "model" in values else None,
        reward_url=given.reward_url,
        output=given.output_dir,
    )
    config, left = what_is_there(config, asked)
    for name, why in left.items():
        print(f"left out: {name}: {why}")
    start = where_it_starts(config, asked, recorded(given.output_dir))
    print(start.said, flush=True)
    return run_config(
        start.config, given.output_dir, start.only, given.resume, dry_run=given.dry_run
    )


def from_environment(name: str, choices: Sequence[str]) -> str | None:
    """What the variable says in the place of a flag. Raises InputError."""
    value = os.environ.get(name) or None
    if value is not None and value not in choices:
        raise InputError(f"{name} is {value!r}; expected {' or '.join(choices)}")
    return value


def read(path: Path) -> dict[str, Any]:
    """The YAML as plain values. Raises ConfigError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"--config {path} holds {type(values).__name__}; expected keys")
    return values


def with_flags(config: CascadeRLConfig, given: argparse.Namespace) -> CascadeRLConfig:
    """The config with the data, the model and the machine that the flags name."""
    update: dict[str, Any] = {"engine": given.engine}
    if given.model:
        folder = Path(given.model)
        update["model"] = str(folder.resolve()) if folder.is_dir() else given.model
    if given.gpus is not None and given.gpus < 0:
        raise InputError(f"--gpus {given.gpus}; expected a number of GPUs")
    if given.engine == "verl":
        update["verl"] = config.verl.model_copy(update=_cluster(given))
    else:
        update["local"] = config.local.model_copy(update=_device(given))
    placed = _placed(config.model_copy(update=update), given.data_dir)
    return resolve_paths(placed, given.config.resolve().parent)


def _cluster(given: argparse.Namespace) -> dict[str, Any]:
    """What --gpus and --platform say of verl: one node."""
    if given.gpus == 0:
        raise InputError(
            "--gpus 0 on verl; expected one at least",
            hint="logical ones:  --gpus 2 --platform cpu,  or one process:  --engine local",
        )
    found: dict[str, Any] = {}
    if given.gpus is not None:
        found |= {"nodes": 1, "gpus_per_node": given.gpus}
    if given.platform is not None:
        found["platform"] = given.platform
    return found


def _device(given: argparse.Namespace) -> dict[str, Any]:
    """What --gpus and --platform say of the local engine, which has one device."""
    if given.gpus is not None and given.gpus > 1:
        raise InputError(
            f"--gpus {given.gpus} is for verl; the local engine trains on one device",
            hint="leave --gpus out, or --engine local",
        )
    by_count = {0: "cpu", 1: "cuda"}.get(given.gpus)
    if given.platform and by_count and given.platform != by_count:
        raise InputError(
            f"--gpus {given.gpus} and --platform {given.platform} contradict each other",
            hint="leave one of them out",
        )
    device = given.platform or by_count
    return {} if device is None else {"device": device}


def _placed(config: CascadeRLConfig, data: Path) -> CascadeRLConfig:
    """The config with its files under `data/` in the directory of the flag."""

    def at(name: str) -> str:
        if not name.startswith(DATA):
            return name
        path = (data / name.removeprefix(DATA)).resolve()
        lines = path.with_suffix(".jsonl")
        return str(lines if lines.exists() and not path.exists() else path)

    stages = tuple(
        stage.model_copy(
            update={
                "train_files": tuple(map(at, stage.train_files)),
                "val_files": tuple(map(at, stage.val_files)),
            }
        )
        for stage in config.stages
    )
    benchmarks = tuple(b.model_copy(update={"file": at(b.file)}) for b in config.benchmarks)
    return config.model_copy(update={"stages": stages, "benchmarks": benchmarks})


def recorded(output: Path) -> CascadeRLConfig | None:
    """What ran last in the output directory."""
    if not (output / CONFIG).exists():
        return None
    return parse_config(yaml.safe_load(Run(output).config_yaml))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
