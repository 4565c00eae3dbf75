"""Reading one key of a plain row, and saying what was found where it is not what it should be."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from cascade_rl.errors import DataError

Name = TypeVar("Name", bound=str)


def text_at(row: Mapping[str, Any], key: str, where: str = "", default: str | None = None) -> str:
    """The text under a key; None and absent give the default."""
    found = row.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, str):
        raise DataError(f"{where}{key} is {shown(found)}; expected text")
    return found


def maybe_text_at(row: Mapping[str, Any], key: str, where: str = "") -> str | None:
    """The text under a key, or None where there is none."""
    return None if row.get(key) is None else text_at(row, key, where)


def maybe_number_at(row: Mapping[str, Any], key: str, where: str = "") -> float | None:
    """The positive number under a key, or None where there is none."""
    found = row.get(key)
    if found is None or (isinstance(found, int | float) and found > 0):
        return found
    raise DataError(f"{where}{key} is {shown(found)}; expected a number above 0")


def mappings_at(row: Mapping[str, Any], key: str, where: str = "") -> list[Mapping[str, Any]]:
    """The list of objects under a key, each perhaps as JSON, or the list as JSON; [] if absent."""
    found = row.get(key) or []
    found = parse_json(found, f"{where}{key}") if isinstance(found, str) else found
    if not isinstance(found, list):
        raise DataError(f"{where}{key} is {shown(found)}; expected a list")
    items = [parse_json(i, f"{where}{key}") if isinstance(i, str) else i for i in found]
    for item in items:
        if not isinstance(item, Mapping):
            raise DataError(f"{where}{key} holds {shown(item)}; expected objects")
    return items


def mapping_at(
    row: Mapping[str, Any], key: str, default: Mapping[str, Any] | None = None, where: str = ""
) -> Mapping[str, Any]:
    """The object under a key; None and absent give the default."""
    found = row.get(key)
    found = default if found is None else found
    if not isinstance(found, Mapping):
        raise DataError(f"{where}{key} is {shown(found)}; expected an object")
    return found


def choice_at(
    row: Mapping[str, Any],
    key: str,
    choices: Sequence[Name],
    where: str = "",
    default: Name | None = None,
) -> Name:
    """The value under a key, when it is one of the choices."""
    found = default if row.get(key) is None else row[key]
    for choice in choices:
        if choice == found:
            return choice
    raise DataError(f"{where}{key} is {shown(found)}; expected one of {', '.join(choices)}")


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what} is not JSON: {error}; found {text[:60]!r}") from None


LONGEST_LITERAL = 1_000_000


def parse_json_or_literal(text: str, what: str) -> Any:
    """The value of a JSON text, or of a Python literal as some published labels are.

    Nothing in it is run: names, calls and operators are refused.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        as_json = error
    if len(text) > LONGEST_LITERAL:  # a Python literal takes a hundred times its size to parse
        raise DataError(f"{what} is not JSON: {as_json}; and too long for a Python literal")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown escape in a string is kept as it is
            return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(
            f"{what} is neither JSON ({as_json}) nor a Python literal ({error}); "
            f"found {text[:60]!r}"
        ) from None


def as_text(value: Any) -> str:
    """The value, when it is text; TypeError otherwise."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {shown(value)}")
    return value


def as_list(value: Any) -> Sequence[Any]:
    """The value, when it is a list; TypeError otherwise."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {shown(value)}")
    return value


def present(row: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that are not None, at every depth; what JSON lacks, a date say, becomes text."""
    return {str(key): _plain(value) for key, value in row.items() if value is not None}


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return present(value)
        case list() | tuple():
            return [_plain(item) for item in value]
    return str(value)


def shown(value: Any) -> str:
    """The value as an error message shows it: its type and its first characters."""
    if value is None:
        return "missing"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:60] + '...'}"
