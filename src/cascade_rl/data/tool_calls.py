"""Whether the tool calls of a conversation are ones its tools can take.

A tool is a signature, `{"type": "function", "function": {"name", "parameters"}}` or its inner
object alone; `parameters` is a JSON schema. References are resolved inside the schema only, so
nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

from cascade_rl.types import Conversation, ToolCall


def tool_fault(conversation: Conversation) -> str:
    """What is wrong with the tools or a call of them, or an empty string.

    Without tools nothing can be said of the calls.
    """
    if not conversation.tools:
        return ""
    known: dict[str, Mapping[str, Any]] = {}
    for tool in conversation.tools:
        inner = tool.get("function", tool)
        name = inner.get("name") if isinstance(inner, Mapping) else None
        if not isinstance(name, str):
            return f"a tool without a name: {str(dict(tool))[:100]}"
        known[name] = inner
    for fault in (_schema_fault(name, tool) for name, tool in known.items()):
        if fault:
            return fault
    calls = [call for message in conversation.messages for call in message.tool_calls]
    return next(filter(None, (call_fault(call, known) for call in calls)), "")


def call_fault(call: ToolCall, known: Mapping[str, Mapping[str, Any]]) -> str:
    """What is wrong with one call, given the tools by name."""
    tool = known.get(call.name)
    if tool is None:
        return f"a call of {call.name!r}; the tools are {', '.join(sorted(known))}"
    schema = _schema(tool)
    kind = validator_for(schema, Draft202012Validator)
    try:
        errors = list(kind(schema, registry=REGISTRY).iter_errors(dict(call.arguments)))
    except (Unresolvable, RecursionError) as error:
        return f"{call.name}: the schema cannot be followed: {error}"
    return f"{call.name}: {_said(errors[0])}" if errors else ""


def _schema(tool: Mapping[str, Any]) -> Any:
    found = tool.get("parameters", tool.get("input_schema"))
    return {} if found is None else found


def _schema_fault(name: str, tool: Mapping[str, Any]) -> str:
    schema = _schema(tool)
    if not isinstance(schema, Mapping):
        return f"{name}: parameters is no JSON schema"
    try:
        validator_for(schema, Draft202012Validator).check_schema(dict(schema))
    except SchemaError as error:
        return f"{name}: parameters is no JSON schema: {error.message[:150]}"
    return ""


def _said(error: ValidationError) -> str:
    where = ".".join(map(str, error.absolute_path))
    return f"{where}: {error.message[:150]}" if where else error.message[:150]
