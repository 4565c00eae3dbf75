"""Test expressions as functions of the one value they ask the candidate for. Nothing is eval'd.

`assert sorted(f(3)) == [1, 2]` becomes the call f(3), made in the sandbox, and a function of
its value that computes `sorted(value) == [1, 2]` here, in the trusted process. The value is
hostile but plain; so only functions whose time is bounded by its size are understood, and what
a test says beyond them raises NotData: that test runs in a process of its own.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

from cascade_rl.sandbox.values import refuse_collisions

Expression = Callable[[Any], Any]
MAX_BITS = 100_000
MAX_ITEMS = 1_000_000
MAX_DIGITS = 1000


class NotData(ValueError):
    """The test says something that is not compared here."""


def _set(items: Iterable[Any] = ()) -> set[Any]:
    members = list(items)
    refuse_collisions(members)
    return set(members)


def _frozenset(items: Iterable[Any] = ()) -> frozenset[Any]:
    return frozenset(_set(items))


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > MAX_ITEMS:
        raise NotData(f"a range of more than {MAX_ITEMS}")
    return found


def _round(number: Any, ndigits: int | None = None) -> Any:
    if ndigits is not None and abs(ndigits) > MAX_DIGITS:
        raise NotData(f"rounding to more than {MAX_DIGITS} digits")
    return round(number, ndigits)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "all": all,
    "any": any,
    "bool": bool,
    "float": float,
    "frozenset": _frozenset,
    "int": int,
    "isinstance": isinstance,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "range": _range,
    "round": _round,
    "set": _set,
    "sorted": sorted,
    "str": str,
    "sum": sum,
    "tuple": tuple,
    "type": lambda value: type(value),
}
"""What a test may call by a bare name. None takes more time than the size of its arguments asks."""

TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}
MATH: dict[str, Any] = {
    name: getattr(math, name)
    for name in ("ceil", "e", "fabs", "floor", "inf", "isclose", "isnan", "nan", "pi", "sqrt")
}

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def _small(value: Any) -> Any:
    """The value; NotData for an integer so large that multiplying takes long."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise NotData("arithmetic on a huge integer")
    return value


def _number(value: Any) -> Any:
    if not isinstance(value, int | float | complex):
        raise TypeError(f"arithmetic on a {type(value).__name__}")
    return _small(value)


def _times(a: Any, b: Any) -> Any:
    for many, count in ((a, b), (b, a)):
        if type(many) in (str, list, tuple) and type(count) is int:
            if len(many) * count > MAX_ITEMS:
                raise NotData(f"a sequence of more than {MAX_ITEMS}")
            return many * count
    return _number(a) * _number(b)


def _power(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int and (_number(a).bit_length() or 1) * abs(b) > MAX_BITS:
        raise NotData("a huge power")
    return _number(a) ** _number(b)


def _of_numbers(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: function(_number(a), _number(b))


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _times,
    ast.Div: _of_numbers(operator.truediv),
    ast.FloorDiv: _of_numbers(operator.floordiv),
    ast.Mod: _of_numbers(operator.mod),
    ast.Pow: _power,
}


def expression(node: ast.expr, hole: ast.Call | None = None) -> Expression:
    """The expression as a function of the hole's value. Raises NotData for what is not known."""
    if node is hole:
        return lambda value: value
    match node:
        case ast.Constant(value=constant):
            return lambda value: constant
        case ast.Name(id=name) if name in TYPES:
            kind = TYPES[name]
            return lambda value: kind
        case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in MATH:
            found = MATH[name]
            return lambda value: found
        case ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
            return _display(node, hole)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            apply, inner = _UNARY[type(op)], expression(operand, hole)
            return lambda value: apply(inner(value))
        case ast.BinOp(left=a, op=binary, right=b) if type(binary) in _BINARY:
            combine, left, right = _BINARY[type(binary)], expression(a, hole), expression(b, hole)
            return lambda value: combine(left(value), right(value))
        case ast.BoolOp(op=boolean, values=parts):
            return _either([expression(part, hole) for part in parts], boolean)
        case ast.Compare():
            return _comparison(node, hole)
        case ast.Call():
            return _call(node, hole)
        case ast.Subscript(value=whole, slice=ast.expr() as index):
            item, at = expression(whole, hole), expression(index, hole)
            return lambda value: item(value)[at(value)]
    raise NotData(f"{ast.unparse(node)[:60]} is not plain data")


def constant(node: ast.expr) -> Any:
    """The value of an expression that asks the candidate for nothing. Raises NotData."""
    try:
        return expression(node)(None)
    except (ArithmeticError, LookupError, TypeError, ValueError, MemoryError) as error:
        raise NotData(f"{ast.unparse(node)[:60]}: {error}") from None


def _display(node: ast.expr, hole: ast.Call | None) -> Expression:
    if isinstance(node, ast.Dict):
        if any(key is None for key in node.keys):
            raise NotData("a dict that unpacks another")
        keys = [expression(key, hole) for key in node.keys if key is not None]
        values = [expression(item, hole) for item in node.values]
        return lambda value: {k(value): v(value) for k, v in zip(keys, values, strict=True)}
    assert isinstance(node, ast.List | ast.Tuple | ast.Set)
    items = [expression(item, hole) for item in node.elts]
    make: Callable[[Iterable[Any]], Any] = _set
    if not isinstance(node, ast.Set):
        make = list if isinstance(node, ast.List) else tuple
    return lambda value: make([item(value) for item in items])


def _either(parts: list[Expression], op: ast.boolop) -> Expression:
    """`and` and `or`: the value of the part that decides."""
    decisive = isinstance(op, ast.Or)

    def decide(value: Any) -> Any:
        found = None
        for part in parts:
            found = part(value)
            if bool(found) is decisive:
                break
        return found

    return decide


def _comparison(node: ast.Compare, hole: ast.Call | None) -> Expression:
    terms = [expression(term, hole) for term in (node.left, *node.comparators)]
    tests = [_comparator(op, right) for op, right in zip(node.ops, node.comparators, strict=True)]

    def holds(value: Any) -> bool:
        found = [term(value) for term in terms]
        pairs = zip(tests, found, found[1:], strict=False)
        return all(test(a, b) for test, a, b in pairs)

    return holds


def _comparator(op: ast.cmpop, right: ast.expr) -> Callable[[Any, Any], bool]:
    if isinstance(op, ast.Is | ast.IsNot):
        single = isinstance(right, ast.Constant) and type(right.value) in (bool, type(None))
        if not single and not (isinstance(right, ast.Name) and right.id in TYPES):
            raise NotData("`is` with anything but None, True, False or a type")
        return operator.is_ if isinstance(op, ast.Is) else operator.is_not
    return _COMPARISONS[type(op)]


def _call(node: ast.Call, hole: ast.Call | None) -> Expression:
    match node.func:
        case ast.Name(id=name) if name in FUNCTIONS:
            function = FUNCTIONS[name]
        case ast.Attribute(value=ast.Name(id="math"), attr=name) if callable(MATH.get(name)):
            function = MATH[name]
        case _:
            raise NotData(f"{ast.unparse(node.func)[:60]} is called")
    if function is sum and len(node.args) + len(node.keywords) > 1:
        raise NotData("a sum with a start, which of lists takes quadratic time")
    arguments = [expression(argument, hole) for argument in node.args]
    keywords = [(word.arg, expression(word.value, hole)) for word in node.keywords if word.arg]
    if len(keywords) < len(node.keywords):
        raise NotData("a call that unpacks a dict")
    return lambda value: function(
        *[argument(value) for argument in arguments],
        **{name: word(value) for name, word in keywords},
    )
