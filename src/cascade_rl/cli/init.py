"""`cascade init PRESET`: a published or embedded recipe as YAML to edit."""

from __future__ import annotations

from typing import Annotated

import typer


def init(
    preset: Annotated[str, typer.Argument(help="mini, mini-full, founding-recipe, ...")] = "mini",
) -> None:
    """Print a preset as YAML:  cascade init mini > cascade.yaml"""
    import difflib

    from cascade_rl.configfile import resolved_yaml
    from cascade_rl.errors import ConfigError
    from cascade_rl.presets import PRESETS

    if preset not in PRESETS:
        near = difflib.get_close_matches(preset, PRESETS, n=1)
        raise ConfigError(
            f"no preset is called {preset!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"presets: {', '.join(PRESETS)}",
        )
    print(resolved_yaml(PRESETS[preset]()), end="")
