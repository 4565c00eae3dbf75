"""What goes into a mixture and how often: the file that `cascade data mix` reads, and presets.

One rule: a source says either `upsample` or `rows`, and both are exact. `upsample: 2` is every
row twice; `upsample: 1.5` every row once and a drawn half of them once more; `rows: 1000` is a
thousand rows, all of the source as often as it goes in and the rest drawn.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from cascade_rl.config import Model
from cascade_rl.errors import ConfigError


class SourceConfig(Model):
    """A file of rows. `name` is the file's, without its ending, unless given."""

    file: str
    name: str = ""
    upsample: float | None = Field(None, gt=0, allow_inf_nan=False)
    rows: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.upsample is not None and self.rows is not None:
            raise ValueError("upsample and rows are both given; expected one of them")
        return self

    @property
    def label(self) -> str:
        """What tables call the source."""
        return self.name or Path(self.file).stem

    def copies(self, rows: int) -> int:
        """How many rows of the mixture a source of `rows` rows makes."""
        if self.rows is not None:
            return self.rows
        factor = 1.0 if self.upsample is None else self.upsample
        return int(Fraction(str(factor)) * rows)


class StageMixture(Model):
    """The data of one training stage. Rows of more than `max_tokens` are dropped."""

    name: str = "mixture"
    max_tokens: int | None = Field(None, gt=0)
    sources: tuple[SourceConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        labels = [source.label for source in self.sources]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]!r}; give one another `name`")
        return self


class Mixture(Model):
    """Stages that are mixed one at a time, from one seed."""

    seed: int = Field(0, ge=0)
    stages: tuple[StageMixture, ...] = Field(min_length=1)

    def stage(self, name: str | None) -> StageMixture:
        """The stage of that name, or the only one. Raises ConfigError."""
        names = [stage.name for stage in self.stages]
        if name is None and len(names) == 1:
            return self.stages[0]
        if name not in names:
            what = "no stage is chosen" if name is None else f"there is no stage {name!r}"
            choices = " or ".join(f"--stage {name}" for name in names)
            raise ConfigError(f"{what}; the mixture has {len(names)}", hint=f"choose:  {choices}")
        return self.stages[names.index(name)]


def load_mixture(path: Path) -> Mixture:
    """Read a mixture from YAML; its files are found relative to it. Raises ConfigError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is neither a file nor a preset",
            hint=f"presets: {', '.join(PRESETS)}; print one:  cascade data mix NAME --print",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from None
    mixture = parse_mixture(values, str(path))
    return _relative_to(mixture, path.resolve().parent)


def parse_mixture(values: Any, what: str) -> Mixture:
    """The mixture of plain values. Errors name the key, what was found and what was expected."""
    try:
        return Mixture.model_validate(values)
    except ValidationError as error:
        lines, hints = [], []
        for item in error.errors():
            place = ".".join(map(str, item["loc"])) or "mixture"
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                message = "unknown key"
                near = difflib.get_close_matches(str(item["loc"][-1]), _KEYS, n=1)
                hints += [f"did you mean {near[0]!r}?"] if near else []
            lines.append(f"{what}: {place}: {message}")
        raise ConfigError("\n  ".join(lines), hint="\n  ".join(dict.fromkeys(hints))) from None


def mixture_yaml(mixture: Mixture) -> str:
    """The mixture as YAML that `load_mixture` reads back equal."""
    values = mixture.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump({"seed": mixture.seed, **values}, sort_keys=False, allow_unicode=True)


def _relative_to(mixture: Mixture, folder: Path) -> Mixture:
    stages = tuple(
        stage.model_copy(
            update={
                "sources": tuple(
                    source.model_copy(update={"file": str(folder / source.file)})
                    for source in stage.sources
                )
            }
        )
        for stage in mixture.stages
    )
    return mixture.model_copy(update={"stages": stages})


_KEYS = [key for kind in (SourceConfig, StageMixture, Mixture) for key in kind.model_fields]


# --- published compositions -------------------------------------------------------------------


def nemotron_cascade() -> Mixture:
    """The two SFT stages of Nemotron-Cascade (2512.13607, sections 3.1.1 and 3.2).

    Stage 1 holds general data, math, code and science to 16K tokens; stage 2 holds general data
    again, new math, code and science, tool calls and SWE to 32K. SWE counts three times in stage
    2. Science counts twice; the paper prints the factor after both stages' sizes, and here it
    is stage 2's.
    """

    def source(name: str, upsample: float | None = None) -> SourceConfig:
        return SourceConfig(file=f"{name}.parquet", upsample=upsample)

    first = ("general", "math-1", "code-1", "science-1")
    second = (
        *map(source, ("general", "math-2", "code-2")),
        source("science-2", 2),
        source("tool-calling"),
        *(source(f"swe-{kind}", 3) for kind in ("repair", "localization", "tests")),
    )
    return Mixture(
        stages=(
            StageMixture(name="stage-1", max_tokens=16384, sources=tuple(map(source, first))),
            StageMixture(name="stage-2", max_tokens=32768, sources=second),
        )
    )


PRESETS: Mapping[str, Callable[[], Mixture]] = {"nemotron-cascade": nemotron_cascade}
