"""The slips that make mutants, by kind: what may stand in the place of one node of a program.

A slip gives new nodes and never changes the one it is given. Deleting a statement leaves `pass`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

Expressions = Callable[[ast.expr], Iterator[ast.expr]]
Statements = Callable[[ast.stmt], Iterator[list[ast.stmt]]]

COMPARISONS: Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq, ast.LtE, ast.GtE),
    ast.NotEq: (ast.Eq, ast.Lt, ast.Gt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC: Mapping[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.FloorDiv),
    ast.Div: (ast.FloorDiv, ast.Mult),
    ast.FloorDiv: (ast.Div, ast.Mod, ast.Mult),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr, ast.BitXor),
    ast.BitOr: (ast.BitAnd, ast.BitXor),
    ast.BitXor: (ast.BitAnd, ast.BitOr),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
NAMES: Mapping[str, tuple[str, ...]] = {
    "min": ("max",),
    "max": ("min",),
    "any": ("all",),
    "all": ("any",),
    "sum": ("max", "len"),
    "len": ("sum",),
    "ceil": ("floor",),
    "floor": ("ceil",),
    "round": ("int",),
    "int": ("round",),
    "lower": ("upper",),
    "upper": ("lower",),
    "isupper": ("islower",),
    "islower": ("isupper",),
    "isdigit": ("isalpha",),
    "isalpha": ("isdigit", "isalnum"),
    "isalnum": ("isalpha",),
    "startswith": ("endswith",),
    "endswith": ("startswith",),
    "strip": ("lstrip", "rstrip"),
    "find": ("rfind",),
    "index": ("count",),
    "append": ("extend",),
    "add": ("discard",),
    "sorted": ("list",),
    "nlargest": ("nsmallest",),
    "nsmallest": ("nlargest",),
    "bisect_left": ("bisect_right",),
    "bisect_right": ("bisect_left",),
    "search": ("match", "fullmatch"),
    "match": ("search", "fullmatch"),
    "fullmatch": ("match",),
    "findall": ("split",),
    "union": ("intersection",),
    "intersection": ("union",),
    "difference": ("intersection",),
    "keys": ("values",),
    "values": ("keys",),
}
"""A function or method mistaken for its neighbour."""


def _constant(value: object) -> ast.expr:
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)  # type: ignore[arg-type]


def _plus(node: ast.expr, by: int) -> ast.expr:
    operator = ast.Add() if by > 0 else ast.Sub()
    return ast.BinOp(node, operator, ast.Constant(abs(by)))


def _comparison(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for index, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], others)


def _arithmetic(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            for other in ARITHMETIC.get(type(op), ()):
                yield ast.BinOp(left, other(), right)
            yield left
            yield right
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield operand


def _boundary(node: ast.expr) -> Iterator[ast.expr]:
    """A constant, an index or a bound of a range that is off by one."""
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield _constant(value + 1)
            yield _constant(value - 1)
            if value not in (0, 1, -1):
                yield ast.Constant(0)
        case ast.Constant(value=str() as value):
            yield ast.Constant("" if value else "x")
            if len(value) > 1:
                yield ast.Constant(value[:-1])
                yield ast.Constant(value[1:])
        case ast.Call(func=ast.Name(id="range") as name, args=args):
            for index, argument in enumerate(args[:2]):
                if not isinstance(argument, ast.Constant):
                    for by in (1, -1):
                        changed = [*args[:index], _plus(argument, by), *args[index + 1 :]]
                        yield ast.Call(name, changed, [])
            if len(args) == 1:
                yield ast.Call(name, [ast.Constant(1), *args], [])
        case ast.Subscript(value=whole, slice=ast.Slice() as cut, ctx=ast.Load()):
            yield from (ast.Subscript(whole, s, ast.Load()) for s in _cuts(cut))
        case ast.Subscript(value=whole, slice=index, ctx=ast.Load()):
            if not isinstance(index, ast.Constant | ast.Tuple):
                yield ast.Subscript(whole, _plus(index, 1), ast.Load())
                yield ast.Subscript(whole, _plus(index, -1), ast.Load())


def _cuts(cut: ast.Slice) -> Iterator[ast.Slice]:
    """The slice without an end, and with an end off by one."""
    if cut.lower is not None:
        yield ast.Slice(None, cut.upper, cut.step)
        yield ast.Slice(_plus(cut.lower, 1), cut.upper, cut.step)
    if cut.upper is not None:
        yield ast.Slice(cut.lower, None, cut.step)
        yield ast.Slice(cut.lower, _plus(cut.upper, -1), cut.step)
        yield ast.Slice(cut.lower, _plus(cut.upper, 1), cut.step)
    if cut.step is not None:
        yield ast.Slice(cut.lower, cut.upper, None)


def _logic(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield body
            yield orelse
            yield ast.IfExp(test, orelse, body)


def _call(node: ast.expr) -> Iterator[ast.expr]:
    """Arguments swapped or forgotten, a neighbouring function, no call at all."""
    match node:
        case ast.Call(func=function, args=args, keywords=words):
            for index in range(len(args) - 1):
                swapped = [*args]
                swapped[index], swapped[index + 1] = args[index + 1], args[index]
                yield ast.Call(function, swapped, words)
            for index in range(len(words)):
                yield ast.Call(function, args, [*words[:index], *words[index + 1 :]])
            if len(args) > 1:
                yield ast.Call(function, args[:-1], words)
            if len(args) == 1 and isinstance(function, ast.Name):
                yield args[0]
            if isinstance(function, ast.Attribute) and not isinstance(function.value, ast.Name):
                yield function.value
            if isinstance(function, ast.Attribute) and len(args) <= 1:
                yield function.value
            yield from (ast.Call(other, args, words) for other in _neighbours(function))


def _neighbours(function: ast.expr) -> Iterator[ast.expr]:
    match function:
        case ast.Name(id=name):
            yield from (ast.Name(other, ast.Load()) for other in NAMES.get(name, ()))
        case ast.Attribute(value=owner, attr=name):
            for other in NAMES.get(name, ()):
                yield ast.Attribute(owner, other, ast.Load())


def _comprehension(node: ast.expr) -> Iterator[ast.expr]:
    """A filter forgotten or turned round, elements left out at the ends."""
    match node:
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            for index, part in enumerate(node.generators):
                before, after = node.generators[:index], node.generators[index + 1 :]
                for other in _loops(part):
                    yield type(node)(node.elt, [*before, other, *after])


def _loops(part: ast.comprehension) -> Iterator[ast.comprehension]:
    for index, condition in enumerate(part.ifs):
        rest = [*part.ifs[:index], *part.ifs[index + 1 :]]
        yield ast.comprehension(part.target, part.iter, rest, 0)
        turned = [*part.ifs[:index], ast.UnaryOp(ast.Not(), condition), *part.ifs[index + 1 :]]
        yield ast.comprehension(part.target, part.iter, turned, 0)
    for shorter in _shorter(part.iter):
        yield ast.comprehension(part.target, shorter, part.ifs, 0)


def _shorter(items: ast.expr) -> Iterator[ast.expr]:
    """The items without the first, without the last."""
    listed = ast.Call(ast.Name("list", ast.Load()), [items], [])
    yield ast.Subscript(listed, ast.Slice(ast.Constant(1), None, None), ast.Load())
    last = ast.UnaryOp(ast.USub(), ast.Constant(1))
    yield ast.Subscript(listed, ast.Slice(None, last, None), ast.Load())


EXPRESSIONS: Mapping[str, Expressions] = {
    "comparison": _comparison,
    "arithmetic": _arithmetic,
    "boundary": _boundary,
    "logic": _logic,
    "call": _call,
    "comprehension": _comprehension,
}


# --- statements -------------------------------------------------------------------------------


def _removed(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    match node:
        case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Break() | ast.Continue():
            yield [ast.Pass()]
        case ast.Delete() | ast.For() | ast.While() | ast.Raise() | ast.Assert():
            yield [ast.Pass()]


def _augmented(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    match node:
        case ast.AugAssign(target=target, op=op, value=value):
            for other in ARITHMETIC.get(type(op), ()):
                yield [ast.AugAssign(target, other(), value)]
            yield [ast.Assign([target], value, lineno=node.lineno)]


def _branch(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """A condition turned round, a branch dropped or always taken."""
    match node:
        case ast.If(test=test, body=body, orelse=orelse):
            yield [ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)]
            yield body
            yield orelse or [ast.Pass()]
        case ast.While(test=test, body=body):
            yield [ast.If(test, [part for part in body if not _leaves(part)] or [ast.Pass()], [])]


def _leaves(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Break | ast.Continue) for inner in ast.walk(node))


def _loop(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """A loop that misses its first or last item, or ends after one round."""
    match node:
        case ast.For(target=target, iter=items, body=body, orelse=orelse):
            for shorter in _shorter(items):
                yield [ast.For(target, shorter, body, orelse, lineno=node.lineno)]
            yield [ast.For(target, items, [*body, ast.Break()], orelse, lineno=node.lineno)]
        case ast.Break():
            yield [ast.Continue()]
        case ast.Continue():
            yield [ast.Break()]


def _returned(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """A return forgotten, without its value, or with a value off by one."""
    match node:
        case ast.Return(value=ast.expr() as value):
            yield [ast.Return(ast.Constant(None))]
            yield [ast.Expr(value)]
            if isinstance(value, ast.Compare | ast.BoolOp):
                yield [ast.Return(ast.UnaryOp(ast.Not(), value))]
                yield [ast.Return(ast.Constant(True))]
                yield [ast.Return(ast.Constant(False))]
            elif not isinstance(value, ast.Constant):
                yield [ast.Return(_plus(value, 1))]
                yield [ast.Return(ast.Subscript(value, _all_but_last(), ast.Load()))]


def _all_but_last() -> ast.Slice:
    return ast.Slice(None, ast.UnaryOp(ast.USub(), ast.Constant(1)), None)


def _early(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """A loop body that returns in its first round what the function returns after the loop."""
    match node:
        case ast.FunctionDef(body=[*_, ast.Return() as last]) if len(node.body) > 1:
            for index, part in enumerate(node.body):
                if isinstance(part, ast.For):
                    inner = ast.For(
                        part.target, part.iter, [*part.body, last], part.orelse, lineno=part.lineno
                    )
                    body = [*node.body[:index], inner, *node.body[index + 1 :]]
                    changed = ast.FunctionDef(
                        node.name, node.args, body, node.decorator_list, node.returns,
                        lineno=node.lineno,
                    )  # fmt: skip
                    changed.type_params = []  # type: ignore[attr-defined]
                    yield [changed]


STATEMENTS: Mapping[str, Statements] = {
    "removed": _removed,
    "arithmetic": _augmented,
    "branch": _branch,
    "loop": _loop,
    "return": _returned,
    "early return": _early,
}
