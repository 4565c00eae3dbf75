"""Plain values as JSON text, types kept exactly: how a program's result leaves the sandbox.

Only exact builtin types cross (`type(x) is int`, never `isinstance`), so a result class that
overrides `__eq__` cannot reach the process that compares. Reading never evaluates anything.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection
from typing import Any

MAX_DEPTH = 100
MAX_ALIKE = 64
"""Members of one set or dict that may share a hash: crafted ones make building it quadratic."""


class NotPlain(ValueError):
    """The value is not made of exact builtin types, or is nested too deeply."""


def encode(value: Any) -> str:
    """ASCII JSON of a plain value: nested `[tag, payload]` pairs. Raises NotPlain."""
    return json.dumps(_pack(value, 0))


def decode(text: str) -> Any:
    """The value `encode` was given. Raises NotPlain for anything `encode` cannot write."""
    try:
        return _unpack(json.loads(text), 0)
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
        raise NotPlain(f"unreadable value: {error}") from None


_SCALARS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    type(None): ("n", lambda value: None),
    bool: ("b", lambda value: value),
    int: ("i", lambda value: format(value, "x")),  # hexadecimal: no limit on digits, linear time
    float: ("f", repr),
    complex: ("c", lambda value: [repr(value.real), repr(value.imag)]),
    str: ("s", lambda value: value),
    bytes: ("y", lambda value: value.hex()),
}
_DICTS = (dict, Counter, OrderedDict, defaultdict)  # the last three cross as what they equal
_SEQUENCES: dict[type, str] = {list: "l", tuple: "t", set: "S", frozenset: "F"}


def _pack(value: Any, depth: int) -> list[Any]:
    kind = type(value)
    if kind in _SCALARS:
        tag, write = _SCALARS[kind]
        return [tag, write(value)]
    if depth >= MAX_DEPTH:
        raise NotPlain(f"nested deeper than {MAX_DEPTH}")
    if kind in _SEQUENCES:
        return [_SEQUENCES[kind], [_pack(item, depth + 1) for item in value]]
    if kind in _DICTS:
        pairs = [[_pack(k, depth + 1), _pack(v, depth + 1)] for k, v in value.items()]
        return ["d", pairs]
    raise NotPlain(f"a {kind.__name__} is not a plain value")


def _complex(real: str, imaginary: str) -> complex:
    return complex(float(real), float(imaginary))


_READ_SCALAR: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "b": (bool, bool),
    "i": (str, lambda text: int(text, 16)),
    "f": (str, float),
    "c": (list, lambda pair: _complex(*pair)),
    "s": (str, str),
    "y": (str, bytes.fromhex),
}
_READ_SEQUENCE: dict[str, Callable[[list[Any]], Any]] = {
    "l": list,
    "t": tuple,
    "S": set,
    "F": frozenset,
}


def _unpack(node: Any, depth: int) -> Any:
    if type(node) is not list or len(node) != 2 or depth > MAX_DEPTH:
        raise NotPlain("not a [tag, payload] pair")
    tag, payload = node
    if tag == "n":
        return None
    if tag in _READ_SCALAR:
        kind, read = _READ_SCALAR[tag]
        if type(payload) is not kind:
            raise NotPlain(f"payload of {tag!r} is a {type(payload).__name__}")
        return read(payload)
    if type(payload) is not list:
        raise NotPlain(f"payload of {tag!r} is a {type(payload).__name__}")
    if tag == "d":
        pairs = [(_unpack(k, depth + 1), _unpack(v, depth + 1)) for k, v in payload]
        refuse_collisions([key for key, _ in pairs])
        return dict(pairs)
    items = [_unpack(item, depth + 1) for item in payload]
    if tag in "SF":
        refuse_collisions(items)
    return _READ_SEQUENCE[tag](items)


def refuse_collisions(items: Collection[Any]) -> None:
    """Raise NotPlain for members crafted to share one hash, before a set or dict is built."""
    if len(items) <= MAX_ALIKE or max(Counter(map(hash, items)).values()) <= MAX_ALIKE:
        return
    alike: dict[int, list[Any]] = {}
    for item in items:
        others = alike.setdefault(hash(item), [])
        if item not in others:
            others.append(item)
        if len(others) > MAX_ALIKE:
            raise NotPlain(f"more than {MAX_ALIKE} members share one hash")


def same(found: Any, expected: Any) -> bool:
    """Equal value and equal types throughout: True is not 1, 1 is not 1.0, nan is not nan.

    One concession, because expected values usually come from JSON, which has no tuple: a
    tuple found where a list was expected counts as that list.
    """
    if type(found) is tuple and type(expected) is list:
        found = list(found)
    if type(found) is not type(expected):
        return False
    if type(found) in (list, tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if type(found) is dict:
        return _same_dict(found, expected)
    if type(found) in (set, frozenset):
        return len(found) == len(expected) and _typed(found) == _typed(expected)
    return bool(found == expected)


def _same_dict(found: dict[Any, Any], expected: dict[Any, Any]) -> bool:
    if _typed(found) != _typed(expected):
        return False
    return all(same(value, expected[key]) for key, value in found.items())


def _typed(items: Any) -> set[Any]:
    return {_key(item) for item in items}


def _key(item: Any) -> Any:
    # Hashing merges 1, 1.0 and True into one key; the tag keeps them apart.
    if type(item) is tuple:
        return ("t", tuple(map(_key, item)))
    if type(item) is frozenset:
        return ("F", frozenset(map(_key, item)))
    return encode(item)
