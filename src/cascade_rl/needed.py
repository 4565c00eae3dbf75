"""The files that a cascade reads: what rows each is to hold, and how to come by them.

One rule: all that is missing is said at once and before anything starts. Test files are not asked
for here: they are read by `cascade eval --split test` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.config import (
    BUILTIN,
    AnyStage,
    CascadeRLConfig,
    RewardModelStageConfig,
    SFTStageConfig,
)
from cascade_rl.errors import DataError

PROBLEM_KEYS = "data_source, prompt, ability, reward_model, extra_info"


@dataclass(frozen=True, slots=True)
class Needed:
    """A file, who reads it, what rows it is to hold, and the command that makes it."""

    file: str
    reader: str
    rows: str
    command: str

    @property
    def missing(self) -> bool:
        """Whether it is not there; generated rows always are."""
        return not self.file.startswith(BUILTIN) and not Path(self.file).exists()


def needed(config: CascadeRLConfig) -> list[Needed]:
    """Every file of the stages and of the benchmarks between them, in order, each once."""
    found: dict[str, Needed] = {}
    for one in _all(config):
        found.setdefault(one.file, one)
    return list(found.values())


def refuse_missing(config: CascadeRLConfig) -> None:
    """Raise DataError that names every file that is not there, its rows and what to type."""
    missing = [one for one in needed(config) if one.missing]
    if not missing:
        return
    lines = [f"{one.file} does not exist: {one.reader} reads {one.rows}" for one in missing]
    commands = dict.fromkeys(one.command for one in missing)
    first = next((one for one in missing if one.reader.startswith("stage ")), None)
    elsewhere = "" if first is None else _elsewhere(first)
    raise DataError("\n  ".join(lines), hint="\n".join([*commands, elsewhere]).rstrip("\n"))


def _elsewhere(one: Needed) -> str:
    name = one.reader.removeprefix("stage ")
    return f"or name rows that are there:  --set '{name}.train_files=[FILE]'"


def _all(config: CascadeRLConfig) -> Iterator[Needed]:
    for stage in config.stages:
        for file in stage.train_files:
            yield _of_stage(stage, file)
    for benchmark in config.benchmarks:
        rows = f"problems to evaluate on ({PROBLEM_KEYS})"
        command = _prepare(benchmark.file, "PUBLISHED", split=True)
        yield Needed(benchmark.file, f"benchmark {benchmark.name}", rows, command)


def _of_stage(stage: AnyStage, file: str) -> Needed:
    reader = f"stage {stage.name}"
    if isinstance(stage, SFTStageConfig):
        rows = "SFT rows (messages, source)"
        command = f"mix SFT rows:  cascade data mix nemotron-cascade --stage STAGE --out {file}"
        return Needed(file, reader, rows, command)
    if isinstance(stage, RewardModelStageConfig):
        rows = "preference rows (prompt, chosen, rejected, source)"
        return Needed(file, reader, rows, _prepare(file, "HELPSTEER3", split=False))
    domain = "any domain" if stage.domain == "blend" else f"ability {stage.domain}"
    rows = f"problems of {domain} ({PROBLEM_KEYS})"
    return Needed(file, reader, rows, _prepare(file, "PUBLISHED", split=True))


def _prepare(file: str, source: str, *, split: bool) -> str:
    """What writes files of that name where they have the usual ones; see docs/data.md."""
    flag = " --split_by_domain" if split else ""
    what = "problems (ABILITY_train, ABILITY_val)" if split else "preferences"
    return f"prepare {what}:  cascade data prepare {source} --out {Path(file).parent}{flag}"
