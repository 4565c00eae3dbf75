"""Peers' reward functions as `cascade audit` calls them, in the peers' own environment.

`prime_code` is verl's verifier of code, loaded by path because verl's package imports Ray, and
called as verl's `default_compute_score` calls it. `accuracy_reward` is TRL's for mathematics,
`math_verify` the library under it.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _prime_code() -> Any:
    verl = importlib.util.find_spec("verl")
    assert verl is not None and verl.origin is not None, "verl is not installed"
    folder = Path(verl.origin).parent / "utils" / "reward_score" / "prime_code"
    spec = importlib.util.spec_from_file_location(
        "prime_code", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prime_code"] = module
    spec.loader.exec_module(module)
    return module


def prime_code(
    data_source: str, solution_str: str, ground_truth: str, extra_info: object = None
) -> float:
    """Verl 0.9's reward for the data sources codecontests, apps, codeforces and taco."""
    return float(_prime_code().compute_score(solution_str, ground_truth, continuous=True)[0])


def math_verify(text: str, ground_truth: str) -> float:
    """Math-Verify 0.9 with its default configuration."""
    from math_verify import parse, verify

    return float(verify(parse(f"${ground_truth}$"), parse(text)))


def accuracy_reward(**columns: Any) -> list[float | None]:
    """TRL 1.16's reward for mathematics."""
    from trl.rewards import accuracy_reward

    found: list[float | None] = accuracy_reward(**columns)
    return found
