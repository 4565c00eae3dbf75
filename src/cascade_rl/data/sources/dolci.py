"""Dolci-Think-RL and other rows made for open-instruct: a verifier's name and its ground truth.

One rule: the verifier's name decides the ability, and a name that is not in the table is a
reject. There is no column for the domain and no default. Both revisions are read: `dataset` and
`ground_truth` as lists or as single values, the prompt as `messages` or as `user: ...` text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cascade_rl.data.fields import parse_json_or_literal, shown
from cascade_rl.data.packed_tests import unpacked
from cascade_rl.data.sources.common import (
    Raw,
    Unfit,
    answer_of,
    items_of,
    problem,
    prompt_of,
    prompt_of_prefixed,
)
from cascade_rl.errors import DataError
from cascade_rl.types import Domain, Message, Problem

WHERE = "ground_truth"


def dolci(raw: Raw, source: str) -> Problem:
    """A row whose `dataset` names the verifier of its `ground_truth`."""
    name = _verifier(raw)
    domain, read = VERIFIERS[name]
    truths = items_of_truth(raw.get(WHERE))
    reference = read(truths)
    extra = {"verifier": name}
    if domain == "chat" and any(isinstance(t, str) and t.strip() for t in truths):
        extra["reference_answer"] = "\n\n".join(t for t in truths if isinstance(t, str))
    return problem(raw, source, domain, _prompt(raw), reference, extra)


def _verifier(raw: Raw) -> str:
    names = {str(name).lower() for name in items_of(raw.get("dataset"), "dataset")}
    if len(names) != 1:
        raise DataError(f"dataset is {shown(raw.get('dataset'))}; expected one verifier's name")
    (name,) = names
    if name not in VERIFIERS:
        known = ", ".join(VERIFIERS)
        raise Unfit("unknown verifier", f"dataset names the verifier {name!r}; known are {known}")
    return name


def _prompt(raw: Raw) -> tuple[Message, ...]:
    if raw.get("messages"):
        return prompt_of(raw["messages"], "messages")
    found = raw.get("prompt")
    if isinstance(found, str) and not found.lstrip().startswith("[{"):
        return prompt_of_prefixed(found, "prompt")
    return prompt_of(found, "prompt")


def items_of_truth(value: Any) -> list[Any]:
    """The ground truths; a text is one of them, whatever is written in it."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


# --- ground truths, by verifier ---------------------------------------------------------------


def _only(truths: Sequence[Any]) -> Any:
    if len(truths) != 1:
        raise DataError(f"{WHERE} has {len(truths)} entries; expected one")
    return truths[0]


def _math(truths: Sequence[Any]) -> str:
    return answer_of(_only(truths), WHERE)


def _ifeval(truths: Sequence[Any]) -> str:
    """A label as JSON, as a Python literal, or already read."""
    label = _only(truths)
    return label if isinstance(label, str) else json.dumps(label, default=str)


def _chat(truths: Sequence[Any]) -> str:
    return ""


def _asserts(truths: Sequence[Any]) -> str:
    return json.dumps({"asserts": _tests(truths)}, default=str)


def _stdio(truths: Sequence[Any]) -> str:
    return json.dumps({"tests": _tests(truths)}, default=str)


def _tests(truths: Sequence[Any]) -> list[Any]:
    """The list of tests: as such, as JSON, as a literal, or packed (base64 of zlib of pickle).

    One text that begins with none of these is a test itself.
    """
    tests = truths[0] if len(truths) == 1 else truths
    if isinstance(tests, str):
        tests = _opened(tests)
    if isinstance(tests, Mapping):
        tests = [tests]
    if not isinstance(tests, list | tuple) or not tests:
        raise DataError(f"{WHERE} holds {shown(tests)}; expected a list of tests")
    return list(tests)


def _opened(text: str) -> Any:
    start = text.lstrip()[:7]
    if start.startswith(("[", "{")):
        return parse_json_or_literal(text, WHERE)
    if start.startswith(("assert ", "def ", "import ", "from ")):
        return [text]
    return unpacked(text)


VERIFIERS: Mapping[str, tuple[Domain, Callable[[Sequence[Any]], str]]] = {
    "math": ("math", _math),
    "gsm8k": ("math", _math),
    "code": ("code", _asserts),
    "code_stdio": ("code", _stdio),
    "ifeval": ("instruction_following", _ifeval),
    "general-quality": ("chat", _chat),
    "general-quality_ref": ("chat", _chat),
    "string_f1": ("chat", _chat),  # free answers beside a reference, in older mixtures
}
"""By the name in `dataset`: the ability, and what reads the ground truth. Chat rows keep a
reference answer in `extra_info.reference_answer`; a reward model scores them."""
