"""A cascade's YAML: read it, apply `--set`, say what is wrong in it, write it out resolved.

One rule: an error names the stage and the key as the user wrote them, what was found, what was
expected, and the nearest key there is. Relative paths are resolved against the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cascade_rl.config import (
    BUILTIN,
    BenchmarkConfig,
    CascadeRLConfig,
    Model,
    RewardModelStageConfig,
    SFTStageConfig,
    StageConfig,
)
from cascade_rl.errors import ConfigError


def load_config(path: Path, sets: Sequence[str] = ()) -> CascadeRLConfig:
    """Read a YAML file, apply `stage.key=value` settings, resolve paths against the file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; expected a YAML config or a preset name",
            hint="write one:  cascade init mini > cascade.yaml",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}; expected a mapping of keys")
    return parse_config(values, sets, base=path.resolve().parent)


def parse_config(
    values: Mapping[str, Any], sets: Sequence[str] = (), *, base: Path | None = None
) -> CascadeRLConfig:
    """Validate plain values. Errors name the key, what was found and what was expected."""
    try:
        config = CascadeRLConfig.model_validate(values)
        if sets:
            config = CascadeRLConfig.model_validate(with_settings(config, sets))
    except ValidationError as error:
        raise _explain(error, values) from None
    return resolve_paths(config, base) if base else config


def with_settings(config: CascadeRLConfig, sets: Sequence[str]) -> dict[str, Any]:
    """Plain values of `config` after `key=value` or `stage_or_family.key=value` settings.

    What was not set stays unset, so that the blocks of verl's settings still fill it.
    """
    values = config.model_dump(mode="json", exclude_unset=True)
    for setting in sets:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {setting!r} has no '='", hint="for example:  --set math_rl.rollout_n=8"
            )
        head, _, rest = key.partition(".")
        targets: list[dict[str, Any]] = [values]
        if rest and head not in CascadeRLConfig.model_fields:
            chosen = config.select(head)
            targets = [s for s in values["stages"] if s["name"] in chosen]
            key = rest
        for target in targets:
            _assign(target, key.split("."), yaml.safe_load(text))
    return values


def _assign(target: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        target = target.setdefault(key, {})
    target[keys[-1]] = value


def resolve_paths(config: CascadeRLConfig, base: Path) -> CascadeRLConfig:
    """Make every relative file absolute against `base`; built-in names and hub names stay."""

    def full(name: str) -> str:
        return name if name.startswith(BUILTIN) else str((base / name).resolve())

    stages = tuple(
        s.model_copy(
            update={
                "train_files": tuple(map(full, s.train_files)),
                "val_files": tuple(map(full, s.val_files)),
            }
        )
        for s in config.stages
    )
    benchmarks = tuple(
        b.model_copy(update={"file": full(b.file), "test_file": b.test_file and full(b.test_file)})
        for b in config.benchmarks
    )
    model = config.model
    if not model.startswith(BUILTIN) and (base / model).is_dir():
        model = str((base / model).resolve())
    return config.model_copy(update={"stages": stages, "benchmarks": benchmarks, "model": model})


def resolved_yaml(config: CascadeRLConfig) -> str:
    """The whole config, defaults included, as YAML that `load_config` reads back equal."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )


_PLAIN = {
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_parsing": "expected true or false",
    "missing": "is required",
    "tuple_type": "expected a list",
    "string_type": "expected text",
}


def _explain(error: ValidationError, values: Mapping[str, Any]) -> ConfigError:
    lines, hints = [], []
    for item in error.errors():
        place, stage_name = _place(item["loc"], values)
        if item["type"] == "extra_forbidden":
            lines.append(f"{place}: unknown key")
            near = difflib.get_close_matches(str(item["loc"][-1]), _keys(stage_name), n=1)
            if near:
                hints.append(f"did you mean {near[0]!r}?")
        else:
            message = _PLAIN.get(item["type"], item["msg"].removeprefix("Value error, "))
            silent = item["type"] in ("value_error", "missing")
            found = "" if silent else f" (found {_short(item['input'])})"
            lines.append(f"{place}: {message}{found}")
            if "rollout_n" in item["loc"] and stage_name:
                hints.append(f"set it:  --set {stage_name}.rollout_n=8")
    return ConfigError("\n  ".join(lines), hint="\n  ".join(dict.fromkeys(hints)))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _place(loc: Sequence[int | str], values: Mapping[str, Any]) -> tuple[str, str | None]:
    """A key path a person can find again: stages by name, union tags left out."""
    if len(loc) > 1 and loc[0] in ("stages", "benchmarks") and isinstance(loc[1], int):
        entries = values.get(str(loc[0])) or []
        entry = entries[loc[1]] if loc[1] < len(entries) else None
        name = entry.get("name") if isinstance(entry, Mapping) else getattr(entry, "name", None)
        rest = [str(p) for p in loc[2:] if p not in ("sft", "reward_model", "rl")]
        what = "stage" if loc[0] == "stages" else "benchmark"
        return " ".join([what, str(name or loc[1]), ".".join(rest)]).rstrip(), name
    return ".".join(map(str, loc)) or "config", None


def _keys(stage_name: str | None) -> list[str]:
    if stage_name is None:
        return list(CascadeRLConfig.model_fields)
    kinds: tuple[type[Model], ...] = (
        StageConfig,
        SFTStageConfig,
        RewardModelStageConfig,
        BenchmarkConfig,
    )
    return sorted({key for kind in kinds for key in kind.model_fields})
