"""Whether calls are those wanted: the rules of BFCL's AST evaluation, for Python's types.

Its rules, stated once:
- every required parameter is given, none that the signature or the wanted call does not name, and
  one may be left out only where "" is among its right values;
- a value has exactly the type that the signature names; an integer will do for a float, not inside
  a list, and a tuple for a tuple only; a value of the right values' own type will do as well;
- texts are compared without case, blanks and `,./-_*^`, quotes being one, in lists and in the
  values of an object too; a list has its order;
- an object's keys are each right by a list of values of their own, and may be left out like
  parameters; a list of objects is compared one by one.
Calls are matched in any order. One difference: theirs takes the first wanted call that fits, here
a matching is found where there is any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.errors import DataError
from cascade_rl.types import Calls, ToolCall, WantedCall

TYPES: Mapping[str, type] = {
    "string": str, "integer": int, "float": float, "number": float, "boolean": bool,
    "array": list, "tuple": list, "dict": dict, "object": dict, "any": str,
}  # fmt: skip
"""BFCL's names and JSON schema's; `any` is compared as text, as there."""
OPTIONAL = ""
_IGNORED = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters by name, each with its schema, and the names that must be given."""

    parameters: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]


def signatures(reference: Calls) -> dict[str, Signature]:
    """The functions on offer by name. Raises DataError for one that is not described."""
    found: dict[str, Signature] = {}
    for function in reference.functions:
        name, schema = function.get("name"), function.get("parameters")
        if not isinstance(name, str) or not isinstance(schema, Mapping):
            raise DataError(f"a function needs name and parameters, found {str(function)[:100]}")
        parameters, required = schema.get("properties") or {}, schema.get("required") or []
        if not isinstance(parameters, Mapping) or not isinstance(required, list | tuple):
            raise DataError(f"{name}: parameters need properties and a list of those required")
        found[name] = Signature(parameters, tuple(required))
    for call in reference.calls:
        if call.name not in found:
            raise DataError(f"the wanted call {call.name} is of no function on offer")
        _refuse_unknown(call, found[call.name])
    return found


def _refuse_unknown(call: WantedCall, signature: Signature) -> None:
    """Raise DataError for an argument that is wanted and that the signature does not describe."""
    for key, values in call.arguments.items():
        spec = signature.parameters.get(key)
        if spec is None and OPTIONAL not in values:
            raise DataError(f"the wanted call {call.name} has {key}, which it cannot have")
        if spec is not None and (not isinstance(spec, Mapping) or spec.get("type") not in TYPES):
            raise DataError(f"{call.name}.{key} has no type; expected one of {', '.join(TYPES)}")


def difference(
    calls: Sequence[ToolCall], wanted: Sequence[WantedCall], known: Mapping[str, Signature]
) -> str | None:
    """Why as many calls are not those wanted, each one of them; None where they are."""
    table = [[mismatch(call, want, known[want.name]) for call in calls] for want in wanted]
    taken: dict[int, int] = {}
    for place, row in enumerate(table):
        if not _matched(place, table, taken, set()):
            if len(row) == 1:
                return row[0]
            return f"nothing matches {wanted[place].name}: " + "; ".join(
                f"call {number + 1}, {reason or 'matches another'}"
                for number, reason in enumerate(row)
            )
    return None


def _matched(
    place: int, table: Sequence[Sequence[str | None]], taken: dict[int, int], seen: set[int]
) -> bool:
    """Give the wanted call a call that fits, moving others where need be (augmenting path)."""
    for number, reason in enumerate(table[place]):
        if reason is not None or number in seen:
            continue
        seen.add(number)
        if number not in taken or _matched(taken[number], table, taken, seen):
            taken[number] = place
            return True
    return False


def mismatch(call: ToolCall, wanted: WantedCall, signature: Signature) -> str | None:
    """Why a call is not the wanted one; None where it is."""
    if call.name != wanted.name:
        return f"{call.name} is called, not {wanted.name}"
    given = call.arguments
    for key in signature.required:
        if key not in given:
            return f"{call.name} lacks {key}"
    for key, value in given.items():
        if key not in signature.parameters or key not in wanted.arguments:
            return f"{call.name} has no parameter {key} here"
        if fault := _fault(value, wanted.arguments[key], signature.parameters[key]):
            return f"{call.name}.{key} is {str(value)[:80]!r}: {fault}"
    for key, values in wanted.arguments.items():
        if key not in given and OPTIONAL not in values:
            return f"{call.name} lacks {key}"
    return None


# --- one value --------------------------------------------------------------------------------


def _fault(value: Any, allowed: Sequence[Any], spec: Mapping[str, Any]) -> str | None:
    """What is wrong with a value; None for a right one."""
    name = spec["type"]
    kind = TYPES[name]
    if name == "tuple" and type(value) is tuple:
        value = list(value)
    if kind is float and type(value) is int:
        value = float(value)
    own = _own_type(allowed)
    if not _has_type(value, kind, _items_type(spec), allowed, own):
        return f"expected {name}"
    if own is None or own is kind:
        right = _equal(value, allowed, kind, _items_type(spec))
    else:  # the right values are of another type than the signature says
        right = _plain_equal(value, allowed)
    return None if right else f"expected one of {str(list(allowed))[:200]}"


def _own_type(allowed: Sequence[Any]) -> type | None:
    """The type of the right values, that of the first; None where there is only "left out"."""
    return next((type(item) for item in allowed if item != OPTIONAL), None)


def _items_type(spec: Mapping[str, Any]) -> type | None:
    """The type of a list's items, where the signature names it."""
    items = spec.get("items")
    if TYPES[spec["type"]] is not list or not isinstance(items, Mapping):
        return None
    return TYPES.get(items.get("type", ""))


def _has_type(
    value: Any, kind: type, items: type | None, allowed: Sequence[Any], own: type | None
) -> bool:
    exact = type(value) is kind  # True is an int by inheritance, and is none here
    if exact and (items is None or _items_fit(value, items, allowed)):
        return True
    return own is not None and type(value) is own and not (own is list and items is not None)


def _items_fit(value: Sequence[Any], items: type, allowed: Sequence[Any]) -> bool:
    """Whether all items have the named type, or the type that a right list has.

    Where the list may be left out, theirs does not look at its items' types either.
    """
    return any(
        type(right) is not list or all(type(item) in (items, _own_type(right)) for item in value)
        for right in allowed
    )


def _equal(value: Any, allowed: Sequence[Any], kind: type, items: type | None) -> bool:
    if kind is dict:
        return any(_same_object(value, right) for right in allowed if right != OPTIONAL)
    if kind is list and items is dict:
        return any(_same_objects(value, right) for right in allowed if right != OPTIONAL)
    if kind is str:
        return standard(value) in [standard(right) for right in allowed if type(right) is str]
    if kind is list:
        plain = [standard(item) for item in value]  # an empty one is right where none is needed
        return plain in [[standard(item) for item in right] for right in allowed]
    return _plain_equal(value, allowed)


def _plain_equal(value: Any, allowed: Sequence[Any]) -> bool:
    """Equality as Python has it, but True is not 1."""
    return any(
        value == right and isinstance(value, bool) == isinstance(right, bool) for right in allowed
    )


def standard(value: Any) -> Any:
    """A text as it is compared; anything else as it is."""
    if type(value) is not str:
        return value
    return _IGNORED.sub("", value).lower().replace("'", '"')


def _same_object(value: Mapping[str, Any], right: Any) -> bool:
    """Whether every key is right and none is missing; `right` has a list of values for each."""
    if not isinstance(right, Mapping) or any(key not in right for key in value):
        return False
    for key, item in value.items():
        if standard(item) not in [standard(one) for one in _values(right[key])]:
            return False
    return all(key in value or OPTIONAL in _values(right[key]) for key in right)


def _same_objects(value: Sequence[Any], right: Any) -> bool:
    return (
        isinstance(right, list | tuple)
        and len(value) == len(right)
        and all(
            isinstance(item, Mapping) and _same_object(item, one)
            for item, one in zip(value, right, strict=True)
        )
    )


def _values(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list | tuple) else [found]
