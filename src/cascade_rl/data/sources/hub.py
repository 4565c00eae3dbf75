"""Rows of a data set on the Hugging Face Hub, by its name: the one place that imports `datasets`.

One rule: one split is read, `train` unless another is named, so that no test split is taken for
training in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from cascade_rl.errors import DataError

INSTEAD = "give a file or directory instead; to fetch one:  hf download --repo-type dataset {name}"


def hub_rows(name: str, subset: str | None = None, split: str | None = None) -> Iterator[Any]:
    """The rows of a data set's split, streamed.

    Raises DataError where `datasets` is not installed, the hub cannot be reached, or there is
    no such data set, subset or split.
    """
    instead = INSTEAD.format(name=name)
    try:
        from datasets import load_dataset
    except ImportError:
        raise DataError(
            f"{name!r} is no file here, and `datasets`, which fetches from the hub, is missing",
            hint=f"pip install 'cascade-rl[hub]'\n{instead}",
        ) from None
    try:
        splits = load_dataset(name, subset, streaming=True)
        yield from splits[_split(name, list(splits), split)]
    except (OSError, ValueError, RuntimeError, httpx.HTTPError) as error:
        first = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{name!r} is no file here and cannot be had from the hub: "
            f"{type(error).__name__}: {first}",
            hint=instead,
        ) from None


def _split(name: str, found: list[str], wanted: str | None) -> str:
    if wanted is None:
        wanted = found[0] if len(found) == 1 else "train"
    if wanted not in found:
        raise DataError(
            f"{name} has no split {wanted!r}; it has {', '.join(found)}",
            hint=f"name one:  --split {found[0]}",
        )
    return wanted
