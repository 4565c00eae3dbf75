"""JSON files held to a shape: what does not fit is said with file, place and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cascade_rl.errors import DataError

Shape = TypeVar("Shape", bound=BaseModel)


def read_json(path: Path, hint: str) -> Any:
    """One JSON document. Raises DataError where there is none."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", hint=hint) from None


def fitted(shape: type[Shape], value: object, where: str, hint: str) -> Shape:
    """The value as `shape`. Raises DataError that names the first place that does not fit."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        wrong = error.errors()
        place = ".".join(str(part) for part in wrong[0]["loc"]) or "the document"
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        reason = wrong[0]["msg"][:1].lower() + wrong[0]["msg"][1:]
        raise DataError(f"{where}: {place}: {reason}{more}", hint=hint) from None
