"""Tool calls: those of the answer against those wanted, as BFCL matches them; 1 or 0.

What counts as a call: `<tool_call>` with JSON as our chat template renders it, or an answer that
is nothing but JSON of name and arguments, or nothing but Python calls, `[f(a=1), g(b=[2])]`, in a
fence or not. Python is parsed, never run, and an argument is a literal. Calls inside the thinking
do not count. How values are compared is in `tool_match`.

One surprise: where it is right to call nothing, any answer without a call is right. A call that
cannot be read is a call there, other than in BFCL's own code, which takes it for none.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cascade_rl.chat import (
    CALL_CLOSE,
    CALL_OPEN,
    THINK_OPEN,
    answer_part,
    has_open_thought,
    parse_tool_calls,
)
from cascade_rl.errors import DataError
from cascade_rl.types import Calls, Problem, ToolCall, Verdict, right, unjudged, wrong
from cascade_rl.verifiers.code.asserts import parsed
from cascade_rl.verifiers.tool_match import Signature, difference, signatures

VERSION = "tool-calls-2"
LONGEST = 50_000
"""Characters of an answer; a longer one calls nothing that can be read."""
MOST_BITS = 1000
"""Of an integer in an argument."""
_FENCE = re.compile(r"\A\s*(`{3,})[^\n`]*\n(.*?)\n?\1\s*\Z", re.DOTALL)


class Unreadable(Exception):
    """An answer that calls a function in a way that cannot be read."""


def verify_tool_calls(problem: Problem, text: str) -> Verdict:
    """Score 1 when the answer's calls are the wanted ones, in any order, else 0.

    Source: the AST evaluation of the Berkeley Function-Calling Leaderboard, Python's categories.
    """
    reference = problem.reference
    if not isinstance(reference, Calls):
        return unjudged("invalid", "a tool-call problem needs functions and calls")
    try:
        known = signatures(reference)
    except DataError as error:
        return unjudged("invalid", error.message)
    if has_open_thought(text):
        return wrong("the thought never ends")
    try:
        calls = read_calls(text)
        for call in calls:
            _refuse_huge(call.arguments)
    except Unreadable as error:
        return wrong(f"a call that cannot be read: {error}")
    return _judged(calls, reference, known)


def _judged(calls: Sequence[ToolCall], reference: Calls, known: dict[str, Signature]) -> Verdict:
    shown = "; ".join(f"{c.name}({json.dumps(dict(c.arguments), default=repr)})" for c in calls)
    answer = shown[:500] if calls else None
    if len(calls) != len(reference.calls):
        wanted = len(reference.calls) or "no"
        return wrong(f"{len(calls) or 'no'} calls; expected {wanted}", answer=answer)
    found = difference(calls, reference.calls, known)
    return right(answer) if found is None else wrong(found, answer=answer)


def read_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls of a completion's answer, in order; none where it is prose.

    Raises Unreadable for what begins as a call and is none.
    """
    answer = answer_part(text).partition(THINK_OPEN)[0]
    if len(answer) > LONGEST:
        raise Unreadable(f"the answer has more than {LONGEST} characters")
    if CALL_OPEN in answer or CALL_CLOSE in answer:
        try:
            return parse_tool_calls(answer)
        except (DataError, RecursionError) as error:
            raise Unreadable(str(error)[:300]) from None
    fenced = _FENCE.match(answer)
    bare = (fenced[2] if fenced else answer).strip().strip("`").strip()
    if bare.startswith(("{", "[")):
        calls = _from_json(bare)
        if calls is not None:
            return calls
    return tuple(_from_python(bare))


def _from_json(text: str) -> tuple[ToolCall, ...] | None:
    """Calls written as JSON objects; None where the text is no JSON, or JSON of something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    calls = []
    for item in value if isinstance(value, list) else [value]:
        match item:
            case {"name": str(name), "arguments": dict(arguments)} if len(item) == 2:
                calls.append(ToolCall(name, arguments))
            case _:
                return None
    return tuple(calls)


def _from_python(text: str) -> Iterator[ToolCall]:
    """Calls written as Python; none where the text is anything but calls and lists of them."""
    try:
        body = parsed(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    expressions = [statement.value for statement in body if isinstance(statement, ast.Expr)]
    items = [
        item
        for value in expressions
        for item in (value.elts if isinstance(value, ast.List | ast.Tuple) else [value])
    ]
    calls = [item for item in items if isinstance(item, ast.Call)]
    if len(expressions) == len(body) and len(calls) == len(items):
        yield from (_call(item) for item in calls)


def _call(node: ast.Call) -> ToolCall:
    name = _name(node.func)
    if node.args:
        raise Unreadable(f"{name} has an argument without a name")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Unreadable(f"{name} has arguments under **")
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            raise Unreadable(f"{name}: {keyword.arg} is no literal") from None
    return ToolCall(name, arguments)


def _refuse_huge(value: Any) -> None:
    """Raise Unreadable for an integer that is no float, and that Python does not print."""
    if isinstance(value, Mapping):
        for item in value.items():
            _refuse_huge(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            _refuse_huge(item)
    elif isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise Unreadable(f"an integer of more than {MOST_BITS} bits")


def _name(node: ast.expr) -> str:
    """`f` or `module.f`. Raises Unreadable for anything else that is called."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise Unreadable("what is called is no name")
    return ".".join(reversed([*parts, node.id]))
