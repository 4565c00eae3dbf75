"""What of a cascade there is data for: the rest is left out, with why.

One rule: what was asked for by name is never left out; its absence is an error that says which
rows are missing and what to type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.config import AnyStage, CascadeRLConfig, StageConfig
from cascade_rl.data.directory_step import REPORT
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.needed import refuse_missing
from cascade_rl.overlap import VAL_FILES

SERVE, ADDRESS = "cascade serve-rm MODEL --port 8001", "http://127.0.0.1:8001/score"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line names: stages to train, to train again, the model, the output."""

    stages: frozenset[str]
    resume: frozenset[str]
    model: str | None
    reward_url: str | None
    output: Path

    @property
    def named(self) -> frozenset[str]:
        """Stages that must be there."""
        return self.stages | self.resume


def what_is_there(
    config: CascadeRLConfig, asked: Asked
) -> tuple[CascadeRLConfig, Mapping[str, str]]:
    """The config without what there is no data for, and why by name.

    Raises DataError or ConfigError for a stage that was named, or where no stage is left.
    """
    left: dict[str, str] = {}
    kept: dict[str, AnyStage] = {}
    for stage in config.stages:
        if stage.name in asked.named:
            _refuse_absent(config, stage)
        if isinstance(stage, StageConfig):
            found = _with_judge(stage, config, asked, left)
            kept |= {} if found is None else {stage.name: found}
    read = {name for s in kept.values() if isinstance(s, StageConfig) for name in s.inputs.values()}
    for stage in config.stages:
        if not isinstance(stage, StageConfig) and stage.name in read | asked.named:
            kept[stage.name] = stage
    stages = [kept[stage.name] for stage in config.stages if stage.name in kept]
    if not stages:
        raise DataError(
            "there are no rows for any stage:\n  "
            + "\n  ".join(f"{name}: {why}" for name, why in left.items()),
            hint="python preprocess_dolci_dataset.py --input_path DOLCI --output_dir DATA "
            "--split_by_domain,  and name it:  --data_dir DATA",
        )
    benchmarks = tuple(b for b in config.benchmarks if Path(b.file).exists())
    left |= {
        f"benchmark {b.name}": _absent(b.file) for b in config.benchmarks if b not in benchmarks
    }
    return config.model_copy(update={"stages": tuple(stages), "benchmarks": benchmarks}), left


def _with_judge(
    stage: StageConfig, config: CascadeRLConfig, asked: Asked, left: dict[str, str]
) -> StageConfig | None:
    """The stage with the reward model there is for it, or None; `left` gets what is missing."""
    absent = [file for file in stage.train_files if not Path(file).exists()]
    if absent:
        left[stage.name] = _absent(absent[0])
        return None
    judge = stage.inputs.get("reward_model")
    if judge is None:
        return stage
    if asked.reward_url is not None:
        reward = stage.reward.model_copy(update={"model_url": asked.reward_url})
        return stage.model_copy(update={"reward": reward, "inputs": {}})
    why = _no_judge(stage, judge, config)
    if not why:
        return stage
    if stage.domain == "chat" and stage.name in asked.named:
        raise ConfigError(
            f"stage {stage.name} has no reward model: {why}",
            hint=f"serve one:  {SERVE}\nand name it:  --reward_url {ADDRESS}\n"
            "or train it here, on --engine local, from preferences:  "
            f"cascade data prepare HELPSTEER3 --out {Path(stage.train_files[0]).parent}",
        )
    if stage.domain == "chat":
        left[stage.name] = why
        return None
    left[f"the reward model of {stage.name}"] = why
    return stage.model_copy(update={"inputs": {}})


def _no_judge(stage: StageConfig, judge: str, config: CascadeRLConfig) -> str:
    """Why the stage cannot read the reward model that the config trains; empty where it can."""
    absent = [file for file in config.stage(judge).train_files if not Path(file).exists()]
    if absent:
        return f"{_absent(absent[0])}, and no --reward_url is given"
    on_gpus = (stage.engine or config.engine) == "verl" and config.verl.platform == "cuda"
    if on_gpus:
        return "it would need a GPU beside those that train, and no --reward_url is given"
    return ""


def _refuse_absent(config: CascadeRLConfig, stage: AnyStage) -> None:
    refuse_missing(config.model_copy(update={"stages": (stage,), "benchmarks": ()}))


def _absent(file: str) -> str:
    return f"{file} is not there"


def with_split_allowed(config: CascadeRLConfig) -> CascadeRLConfig:
    """The config, a stage's rows not being held against the side that was held out of them.

    `cascade data prepare` splits by prompt, so that none is on both sides; but rows made from one
    template share phrases, which the plan would take for a leak.
    """
    found = list(config.allow_overlap)
    measured = {b.file for b in config.benchmarks}
    for stage in config.stages:
        for file in stage.train_files:
            val = file.replace("_train.", "_val.")
            if val == file or not _one_split(Path(file), Path(val)):
                continue
            found += [f"{stage.name}:{b.name}" for b in config.benchmarks if b.file == val]
            if val in stage.val_files and val not in measured:
                found.append(f"{stage.name}:{VAL_FILES}")
    return config.model_copy(update={"allow_overlap": tuple(dict.fromkeys(found))})


def _one_split(train: Path, val: Path) -> bool:
    """Whether one `prepare` wrote both."""
    report = train.parent / REPORT
    if train.parent != val.parent or not report.exists():
        return False
    try:
        said = json.loads(report.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return said.get("command") == "prepare" and {train.name, val.name} <= set(
        said.get("outputs") or ()
    )
