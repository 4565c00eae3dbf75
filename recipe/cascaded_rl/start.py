"""Where a run starts: at the model, or where a stage that is finished in the output ended.

One rule: a finished stage is known by its key, as everywhere. `--stages` and `--resume` build
the cascade in which what is finished keeps its key: the whole one, or the one that ran here last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cascade_rl.cli.plan import state_of
from cascade_rl.config import AnyStage, CascadeRLConfig, StageConfig
from cascade_rl.errors import ConfigError
from cascade_rl.graph import StartModel
from cascade_rl.plan import make_plan
from cascade_rl.store.run import CONFIG, Run
from recipe.cascaded_rl.present import Asked, with_split_allowed


@dataclass(frozen=True, slots=True)
class Start:
    """What to run: a config, which of its stages (all where empty), and a line that says it."""

    config: CascadeRLConfig
    only: tuple[str, ...]
    said: str


def where_it_starts(
    config: CascadeRLConfig, asked: Asked, recorded: CascadeRLConfig | None
) -> Start:
    """The run that the command line means. Raises ConfigError where nothing is there to start from.

    `config` holds the stages there is data for, `recorded` is what ran last in the output.
    """
    start = _where(config, asked, recorded)
    return replace(start, config=with_split_allowed(start.config))


def _where(config: CascadeRLConfig, asked: Asked, recorded: CascadeRLConfig | None) -> Start:
    model = asked.model or (recorded.model if recorded else None)
    if model is not None:
        config = config.model_copy(update={"model": model})
    if asked.resume:
        return _resumed(config, asked, recorded, known=model is not None)
    if asked.stages:
        return _selected(config, asked, recorded, known=model is not None)
    if model is None:
        raise _no_model(f"nothing ran in {asked.output} yet, and no --model is given", "")
    return Start(config, (), f"the cascade starts from {model}")


# --- --stages -----------------------------------------------------------------------------------


def _selected(
    config: CascadeRLConfig, asked: Asked, recorded: CascadeRLConfig | None, *, known: bool
) -> Start:
    """From the first stage's parent where that is finished in the output, else from the model."""
    chosen = _with_inputs(config, asked.stages)
    first = next((s.name for s in chosen if s.role == "policy"), chosen[0].name)
    only = tuple(s.name for s in chosen)
    before = _before(config, first)
    if known:
        whole = _joined(config, before, chosen)
        if _finished(whole, first, asked.output):
            return Start(whole, only, _said(first, before, config.model, asked.output))
        last = _last_run(config, recorded, asked) if before else None
        if before and last and before in {s.name for s in last.stages}:
            chain = _chained(config, last, before, chosen)
            if _finished(chain, first, asked.output):
                return Start(chain, only, _said(first, before, chain.model, asked.output))
    if asked.model is None:
        raise _no_model(*_nothing_before(first, before, only if known else (), asked.output))
    alone = config.model_copy(update={"stages": tuple(chosen)})
    because = f"; {before} is not finished in {asked.output}" if before else ""
    return Start(alone, (), f"{first} starts from {asked.model}{because}")


def _with_inputs(config: CascadeRLConfig, names: frozenset[str]) -> list[AnyStage]:
    """The stages of those names, in order, and the reward models that they read."""
    wanted = set(names)
    for stage in config.stages:
        if stage.name in names and isinstance(stage, StageConfig):
            wanted |= set(stage.inputs.values())
    return [stage for stage in config.stages if stage.name in wanted]


def _joined(
    config: CascadeRLConfig, before: str | None, chosen: Sequence[AnyStage]
) -> CascadeRLConfig:
    """The whole cascade where the chosen stages follow each other in it, else without the rest.

    What is left out between two chosen stages is no parent: the second starts from the first.
    """
    policies = [s.name for s in config.stages if s.role == "policy"]
    mine = [s.name for s in chosen if s.role == "policy"]
    places = [policies.index(name) for name in mine]
    if places == list(range(min(places, default=0), min(places, default=0) + len(places))):
        return config
    names = {s.name for s in chosen} | set(policies[: policies.index(mine[0])])
    kept = tuple(s for s in config.stages if s.name in names or s.role != "policy")
    return config.model_copy(update={"stages": kept})


# --- --resume -----------------------------------------------------------------------------------


def _resumed(
    config: CascadeRLConfig, asked: Asked, recorded: CascadeRLConfig | None, *, known: bool
) -> Start:
    """From what is finished before the stage; in the whole cascade, or the one that ran last."""
    again = [s for s in config.stages if s.name in asked.resume]
    first = again[0].name
    only = tuple(s.name for s in _with_inputs(config, asked.stages)) if asked.stages else ()
    candidates = [config] if known else []
    last = _last_run(config, recorded, asked)
    if last is not None and first in {s.name for s in last.stages}:
        after = _names_from(last, first)
        rest = [s for s in config.stages if s.name in after]
        candidates.append(_chained(config, last, _place_before(last, first), rest))
    for candidate in candidates:
        if _finished(candidate, first, asked.output):
            before = _before(candidate, first)
            return Start(candidate, only, _said(first, before, candidate.model, asked.output))
    before = _before(config, first)
    model = asked.model or (recorded.model if recorded else "MODEL")
    raise ConfigError(
        f"nothing to resume {first} from: {before or 'no cascade'} is not finished in "
        f"{asked.output}",
        hint=f"train it from a model:  --stages {first} --model {model}\n"
        "or all of the cascade:  leave --resume out",
    )


def _names_from(config: CascadeRLConfig, first: str) -> set[str]:
    names = [s.name for s in config.stages]
    return set(names[names.index(first) :])


def _place_before(config: CascadeRLConfig, name: str) -> str | None:
    """The stage before it, of whatever kind."""
    names = [s.name for s in config.stages]
    place = names.index(name)
    return names[place - 1] if place else None


# --- both ---------------------------------------------------------------------------------------


def _before(config: CascadeRLConfig, name: str) -> str | None:
    """The stage it starts from; None where that is the start model."""
    stage = config.stage(name)
    if stage.parent is not None:
        return None if stage.parent == "start" else stage.parent
    names = [s.name for s in config.stages if s.role == "policy" or s.name == name]
    place = names.index(name)
    return names[place - 1] if place else None


def _last_run(
    config: CascadeRLConfig, recorded: CascadeRLConfig | None, asked: Asked
) -> CascadeRLConfig | None:
    """The config that ran here last, unless another model is asked for now."""
    if recorded is None or (asked.model is not None and config.model != recorded.model):
        return None
    return recorded


def _chained(
    config: CascadeRLConfig, last: CascadeRLConfig, until: str | None, then: Sequence[AnyStage]
) -> CascadeRLConfig:
    """The stages that ran last up to one of them, as they ran, and then others."""
    names = [s.name for s in last.stages]
    count = 0 if until is None else names.index(until) + 1
    first = [s.model_copy(update={"engine": s.engine or last.engine}) for s in last.stages[:count]]
    known = {s.name for s in first}
    stages = (*first, *(s for s in then if s.name not in known))
    same = {"model": last.model, "seed": last.seed, "data_seed": last.data_seed, "chat": last.chat}
    return config.model_copy(update={"stages": stages, **same})


def _finished(config: CascadeRLConfig, name: str, output: Path) -> bool:
    """Whether what the stage starts from is finished in the output, or is the start model."""
    rolled_back = Run(output).rolled_back() if (output / CONFIG).exists() else ()
    plan = make_plan(with_split_allowed(config), rolled_back)
    planned = next((stage for stage in plan.stages if stage.name == name), None)
    if planned is None:  # a gate rolled it back
        return False
    parent = plan.by_key(planned.parent)
    return isinstance(parent, StartModel) or state_of(parent, output) == "done"


def _said(first: str, before: str | None, model: str, output: Path) -> str:
    return f"{first} starts from {f'{before} in {output}' if before else model}"


def _nothing_before(
    first: str, before: str | None, only: Sequence[str], output: Path
) -> tuple[str, str]:
    """What is wrong, and what else to type: run the stage before too, or start from its model."""
    if before is None:
        return f"{first} starts from the model, and no --model is given", ""
    trained = [path.parent / "model" for path in output.glob(f"stages/{before}-*/stage.json")]
    found = f"stage {first} starts from {before}, which is not finished in {output}"
    if not trained:
        instead = f"--stages {','.join((before, *only))}" if only else ""
        return f"{found}, and no --model is given", instead
    return f"{found} with these settings (model, data, engine, GPUs)", f"--model {trained[0]}"


def _no_model(message: str, instead: str) -> ConfigError:
    hint = "name one:  --model Qwen/Qwen3-8B"
    return ConfigError(message, hint=f"{hint}\nor:  {instead}" if instead else hint)
