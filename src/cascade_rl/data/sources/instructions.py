"""Prompts with instructions that a program can check: IFEval, IFBench, Nemotron-Cascade's set."""

from __future__ import annotations

import json
from typing import Any

from cascade_rl.data.fields import parse_json_or_literal
from cascade_rl.data.sources.common import Raw, items_of, problem, prompt_of
from cascade_rl.types import Problem


def instructions(raw: Raw, source: str) -> Problem:
    """`prompt`, `instruction_id_list`, and `kwargs`, one object an instruction."""
    label = {
        "instruction_id_list": items_of(raw.get("instruction_id_list"), "instruction_id_list"),
        "kwargs": _kwargs(raw.get("kwargs")),
    }
    prompt = prompt_of(raw.get("prompt"), "prompt")
    truth = json.dumps(label, default=str)
    return problem(raw, source, "instruction_following", prompt, truth)


def _kwargs(found: Any) -> Any:
    """As a list or an object, written as text perhaps, and so perhaps each entry."""
    if isinstance(found, str):
        found = parse_json_or_literal(found, "kwargs")
    if not isinstance(found, list | tuple):
        return found
    return [
        parse_json_or_literal(item, "kwargs") if isinstance(item, str) else item for item in found
    ]
