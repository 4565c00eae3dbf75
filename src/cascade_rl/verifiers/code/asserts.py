"""Assert tests as data: `assert f(1) == 2` is a call made in the sandbox and a check made here.

A block is rewritten whole or not at all, and only where that means the same: each assert asks
the candidate once, with literal arguments, and the rest of it is plain arithmetic and
comparison (`expressions`). Equality is Python's `==` on plain values, which is what the assert
says; so here, unlike in call tests, 1.0 and True equal 1.
"""

from __future__ import annotations

import ast
import builtins
import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.sandbox.values import NotPlain, encode
from cascade_rl.verifiers.code.compare import short
from cascade_rl.verifiers.code.expressions import (
    FUNCTIONS,
    TYPES,
    Expression,
    NotData,
    constant,
    expression,
)

_KNOWN = {*FUNCTIONS, *TYPES, "math"}


@dataclass(frozen=True, slots=True)
class Check:
    """One assert: the call it makes, and what must hold of the call's value."""

    name: str
    arguments: tuple[Any, ...] | dict[str, Any]
    holds: Expression
    text: str

    def fault(self, value: Any) -> str:
        """Why the value is wrong, or an empty string."""
        try:
            if self.holds(value):
                return ""
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            return f"{self.text}: the value {short(value)} raises {type(error).__name__}: {error}"
        return f"{self.text}: the value is {short(value)}"


def parsed(code: str) -> ast.Module:
    """The syntax tree, whatever Python would warn of. Raises SyntaxError and its kin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


@functools.lru_cache(maxsize=1024)
def checks_of(code: str, entry_point: str | None, setup: str = "") -> tuple[Check, ...] | None:
    """The block's asserts as checks, in order; None where not all of it can be one.

    HumanEval's `def check(candidate)` counts, `candidate` being the entry point. `setup` may
    define what it likes, as long as the block uses none of it. Raises SyntaxError, and
    ValueError for a block that runs nothing.
    """
    body = parsed(code).body
    if not _runs(body, entry_point):
        raise ValueError("test code that defines what it never calls; expected asserts")
    defined = _defined(parsed(setup).body) | _defined(body)
    try:
        if defined & _KNOWN:
            raise NotData("the tests redefine what they use")
        statements, entry = _statements(body, entry_point)
        return tuple(_checks(statements, entry, defined))
    except (NotData, RecursionError):
        return None


def builtin_under_test(blocks: Sequence[str]) -> str | None:
    """The function asked for, where it has the name of a builtin: MBPP has `assert sum(10, 15)`.

    That is so only where the blocks call nothing else; otherwise a builtin's name is the
    builtin, whatever the program defines under it. Raises SyntaxError.
    """
    tests = [node for block in blocks for node in ast.walk(parsed(block))]
    calls = [node for node in tests if isinstance(node, ast.Call)]
    names = {call.func.id if isinstance(call.func, ast.Name) else "" for call in calls}
    name = names.pop() if len(names) == 1 else ""
    return name if hasattr(builtins, name) else None


def _defined(body: list[ast.stmt]) -> set[str]:
    """Names that running the statements binds, at any depth; `import math` binds none."""
    found: set[str] = set()
    for node in (inner for statement in body for inner in ast.walk(statement)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                found.add(name)
            case ast.Import(names=names):
                plain = {alias.name for alias in names if alias.asname is None}
                found |= plain - {"math"} | {alias.asname for alias in names if alias.asname}
            case ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name for alias in names}
    return found


def _runs(body: list[ast.stmt], entry: str | None) -> bool:
    """Whether running the block can fail: it does more than define and import."""
    idle = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.Pass)
    return any(
        (isinstance(statement, ast.FunctionDef) and statement.name == "check" and bool(entry))
        or not isinstance(statement, (*idle, ast.Expr))
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call))
        for statement in body
    )


def _statements(body: list[ast.stmt], entry: str | None) -> tuple[list[ast.stmt], str | None]:
    """The statements that test, inside `check` or not, and what `candidate` stands for."""
    found: list[ast.stmt] = []
    for statement in body:
        match statement:
            case ast.FunctionDef(name="check", body=inner):
                found += inner
            case ast.FunctionDef(body=[ast.Expr(value=ast.Call(func=ast.Name(id="check")))]):
                entry = entry or _candidate(statement.body[0])
            case ast.Expr(value=ast.Call(func=ast.Name(id="check"))):
                entry = entry or _candidate(statement)
            case ast.Expr(value=ast.Call(func=ast.Name(id=name), args=[])) if name.startswith(
                "test"
            ):
                continue
            case _:
                found.append(statement)
    return found, entry


def _candidate(statement: ast.stmt) -> str | None:
    """The f of `check(f)`."""
    match statement:
        case ast.Expr(value=ast.Call(args=[ast.Name(id=name)])):
            return name
    return None


def _checks(statements: list[ast.stmt], entry: str | None, defined: set[str]) -> Iterator[Check]:
    known: dict[str, ast.expr] = {}
    for statement in statements:
        match statement:
            case ast.Assert(test=test):
                whole = _Substitution(known).visit(test)
                calls = [node for node in ast.walk(whole) if _asks(node, entry, defined)]
                if not calls and constant(whole):
                    continue  # `assert True`
                yield _check(whole, calls, entry)
            case ast.Assign(targets=[ast.Name(id="METADATA")]):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_free(known, name):
                known[name] = _Substitution(known).visit(value)
            case ast.Pass() | ast.Import() | ast.ImportFrom():
                continue
            case ast.Expr(value=ast.Constant() | ast.Name()):
                continue
            case _:
                raise NotData(f"{ast.unparse(statement)[:60]} is more than an assert")
    if not all(_is_free(known, name) for name in known):
        raise NotData("a value that is never looked at")


def _is_free(known: dict[str, ast.expr], name: str) -> bool:
    """Whether a name may be assigned: it was not, or nothing is lost by what it was."""
    value = known.get(name, _SPENT)
    return not any(isinstance(node, ast.Call) for node in ast.walk(value))


def _asks(node: ast.AST, entry: str | None, defined: set[str]) -> bool:
    """Whether this is a call of the candidate's."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            known = name in defined or name in _KNOWN or hasattr(builtins, name)
            return name in (entry, "candidate") or not known
    return False


def _check(test: ast.expr, calls: list[Any], entry: str | None) -> Check:
    if len(calls) != 1:
        raise NotData(f"{len(calls)} calls of the candidate in one assert")
    call: ast.Call = calls[0]
    assert isinstance(call.func, ast.Name)
    name = entry if call.func.id == "candidate" and entry else call.func.id
    arguments = _arguments(call)
    try:
        encode(arguments)
    except NotPlain as error:
        raise NotData(str(error)) from None
    return Check(name, arguments, expression(test, call), "assert " + ast.unparse(test)[:200])


def _arguments(call: ast.Call) -> tuple[Any, ...] | dict[str, Any]:
    if call.keywords:
        if call.args or any(word.arg is None for word in call.keywords):
            raise NotData("positional and keyword arguments in one call")
        return {str(word.arg): constant(word.value) for word in call.keywords}
    found: list[Any] = []
    for argument in call.args:
        if isinstance(argument, ast.Starred):
            found += constant(argument.value)
        else:
            found.append(constant(argument))
    return tuple(found)


class _Substitution(ast.NodeTransformer):
    """Puts what a name was assigned where it is used.

    Only a scalar may be used twice: of anything else the two uses would be one object.
    """

    def __init__(self, known: dict[str, ast.expr]) -> None:
        self._known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self._known.get(node.id)
        if value is None:
            return node
        if not isinstance(value, ast.Constant):
            self._known[node.id] = _SPENT
        return value


_SPENT = ast.Await(value=ast.Constant(value=None))
"""Stands for a value already used; no expression understands it, so the block is not data."""
