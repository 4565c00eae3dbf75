"""What `reward_model.ground_truth` holds for each ability: a reference as one string, both ways.

JSON where it has structure. One rule: what is written reads back equal, types included, so a
test whose expected value is a tuple, which JSON would make a list, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Literal

from cascade_rl.data.code_formats import FORMATS as CODE_FORMATS
from cascade_rl.data.code_formats import read_tests
from cascade_rl.data.fields import (
    as_list,
    as_text,
    choice_at,
    mapping_at,
    mappings_at,
    maybe_number_at,
    maybe_text_at,
    parse_json,
    parse_json_or_literal,
    present,
    shown,
    text_at,
)
from cascade_rl.errors import DataError
from cascade_rl.types import (
    Answer,
    AssertTest,
    Calls,
    CallTest,
    Constraints,
    Domain,
    Patch,
    Preference,
    Reference,
    StdioTest,
    Tests,
    WantedCall,
)

Format = Literal["search_replace", "diff", "either"]
Language = Literal["python", "cpp"]
INSIDE = "ground_truth."
FORMATS: tuple[Format, ...] = ("search_replace", "diff", "either")
LANGUAGES: tuple[Language, ...] = ("python", "cpp")


def _answer(text: str) -> Answer:
    if not text.strip():
        raise DataError("ground_truth is empty; expected the answer of a math problem")
    return Answer(text)


def _preference(text: str) -> Preference:
    return Preference()


def _tests(text: str) -> Tests:
    value = parse_json(text, "ground_truth")
    if isinstance(value, list) and value:  # a bare list of asserts, or of inputs and outputs
        value = {"asserts" if isinstance(value[0], str) else "tests": value}
    elif not isinstance(value, Mapping):
        raise DataError(f"ground_truth holds {shown(value)}; expected a JSON object")
    own = bool(value.get("tests") or value.get("asserts"))
    tests = None if own else read_tests(value)
    if tests is None:
        tests = _own_tests(value)
    memory = maybe_number_at(value, "memory_limit_mb", INSIDE) or tests.memory_limit_mb
    return replace(
        tests,
        time_limit_s=maybe_number_at(value, "time_limit_s", INSIDE) or tests.time_limit_s,
        memory_limit_mb=None if memory is None else int(memory),
        language=choice_at(value, "language", LANGUAGES, INSIDE, "python"),
        tolerance=maybe_number_at(value, "tolerance", INSIDE),
    )


def _own_tests(value: Mapping[str, Any]) -> Tests:
    entry_point = maybe_text_at(value, "entry_point", INSIDE)
    cases = _cases(value, entry_point)
    if not cases:
        formats = ", ".join(" and ".join(keys) for keys in CODE_FORMATS)
        raise DataError(
            "ground_truth has no tests; expected `tests` or `asserts` with one or more, "
            f"or the keys of a known format: {formats}"
        )
    setup = text_at(value, "setup", INSIDE, default="")
    return Tests(cases, entry_point, setup, prelude=text_at(value, "prelude", INSIDE, default=""))


def _cases(
    value: Mapping[str, Any], entry_point: str | None
) -> tuple[StdioTest, ...] | tuple[CallTest, ...] | tuple[AssertTest, ...]:
    try:
        if value.get("asserts"):
            return tuple(AssertTest(as_text(code)) for code in value["asserts"])
        if entry_point is not None:
            tests = value["tests"]
            return tuple(
                CallTest(
                    tuple(as_list(t["args"])), t["expected"], tuple(as_list(t.get("also", [])))
                )
                for t in tests
            )
        tests = value.get("tests") or []
        return tuple(StdioTest(as_text(t["input"]), as_text(t["output"])) for t in tests)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"ground_truth's tests are unreadable ({type(error).__name__}: {error}); expected "
            '{"tests": [{"input", "output"}]}, {"entry_point", "tests": [{"args", "expected"}]} '
            'or {"asserts": [code]}'
        ) from None


def _call_test(test: Mapping[str, Any]) -> CallTest:
    also = tuple(as_list(test.get("also", [])))
    return CallTest(tuple(as_list(test["args"])), test["expected"], also)


def _constraints(text: str) -> Constraints:
    """IFEval's object, or a label of IF-RLVR and Dolci: `[{'instruction_id': ..., 'kwargs': ...}]`.

    Such a label is JSON or a Python literal, its one object perhaps JSON inside it.
    """
    value = parse_json_or_literal(text, "ground_truth")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        value = parse_json_or_literal(value, "ground_truth's only entry")
    if not isinstance(value, Mapping):
        raise DataError(f"ground_truth holds {shown(value)}; expected one object of instructions")
    names = value.get("instruction_id_list", value.get("instruction_id"))
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not names:
        raise DataError(
            f"ground_truth.instruction_id_list is {shown(names)}; expected a list of ids, "
            "here or as instruction_id"
        )
    return Constraints(tuple(map(str, names)), _kwargs(value.get("kwargs"), len(names)))


def _kwargs(found: Any, count: int) -> tuple[Mapping[str, Any], ...]:
    """Arguments for each instruction; None, for one or for all, means none."""
    kwargs = [None] * count if found is None else found
    kwargs = [kwargs] if isinstance(kwargs, Mapping) else kwargs
    if not isinstance(kwargs, list | tuple):
        raise DataError(f"ground_truth.kwargs is {shown(found)}; expected a list of objects")
    for given in kwargs:
        if given is not None and not isinstance(given, Mapping):
            raise DataError(f"ground_truth.kwargs holds {shown(given)}; expected objects or None")
    if len(kwargs) != count:
        raise DataError(
            f"instruction_id_list has {count} entries and kwargs {len(kwargs)}; "
            "expected one for one"
        )
    return tuple(present(given or {}) for given in kwargs)


def _patch(text: str) -> Patch:
    value = _structure(text)
    files = mapping_at(value, "files", where=INSIDE)
    strings = all(isinstance(content, str) for content in files.values())
    form = choice_at(value, "format", FORMATS, INSIDE, "either")
    if not strings:
        raise DataError("ground_truth.files maps a path to what is not text")
    patch = text_at(value, "patch", INSIDE)
    shown_paths = value.get("shown") or list(files)
    paths = tuple(map(str, shown_paths)) if isinstance(shown_paths, list) else ()
    unknown = sorted(set(paths) - set(files))
    if unknown:
        raise DataError(f"ground_truth.shown names {unknown[0]!r}, which is not in files")
    return Patch(files, patch, paths, form, text_at(value, "issue", INSIDE, default=""))


def _calls(text: str) -> Calls:
    """`functions`, and `calls` of name and arguments, each with the list of its right values."""
    value = _structure(text)
    functions = tuple(mappings_at(value, "functions", INSIDE))
    if not functions:
        raise DataError("ground_truth.functions is empty; expected one or more")
    wanted = []
    for call in mappings_at(value, "calls", INSIDE):
        name, arguments = text_at(call, "name", INSIDE), mapping_at(call, "arguments", where=INSIDE)
        for key, values in arguments.items():
            if not isinstance(values, list):
                raise DataError(f"{INSIDE}calls: {name}.{key} is {shown(values)}; expected a list")
        wanted.append(WantedCall(name, {key: tuple(found) for key, found in arguments.items()}))
    return Calls(functions, tuple(wanted))


REFERENCES: Mapping[Domain, Callable[[str], Reference]] = {
    "math": _answer,
    "code": _tests,
    "instruction_following": _constraints,
    "swe": _patch,
    "chat": _preference,
    "tool_calls": _calls,
}


def _structure(text: str) -> Mapping[str, Any]:
    value = parse_json(text, "ground_truth")
    if not isinstance(value, Mapping):
        raise DataError(f"ground_truth holds {shown(value)}; expected a JSON object")
    return value


def ground_truth(reference: Reference) -> str:
    """The string a reference is kept as; reading it gives an equal reference.

    Raises DataError for a call test whose values JSON would change (tuples, sets, nan).
    """
    match reference:
        case Answer():
            return reference.text
        case Preference():
            return ""
        case Constraints():
            names, kwargs = list(reference.instruction_ids), [dict(k) for k in reference.kwargs]
            return _exact_json({"instruction_id_list": names, "kwargs": kwargs})
        case Calls():
            calls = [
                {"name": call.name, "arguments": {k: list(v) for k, v in call.arguments.items()}}
                for call in reference.calls
            ]
            return _exact_json(
                {"functions": [dict(f) for f in reference.functions], "calls": calls}
            )
        case Patch():
            return _exact_json(
                asdict(reference) | {"files": dict(reference.files), "shown": list(reference.shown)}
            )
        case Tests():
            return _exact_json(_tests_dict(reference))


def _tests_dict(tests: Tests) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tests.entry_point is not None:
        found["entry_point"] = tests.entry_point
    for case in tests.cases:
        match case:
            case StdioTest():
                found.setdefault("tests", []).append({"input": case.input, "output": case.output})
            case CallTest():
                test = {"args": list(case.args), "expected": case.expected}
                test |= {"also": list(case.also)} if case.also else {}
                found.setdefault("tests", []).append(test)
            case AssertTest():
                found.setdefault("asserts", []).append(case.code)
    optional = {
        "setup": tests.setup or None,
        "time_limit_s": tests.time_limit_s,
        "memory_limit_mb": tests.memory_limit_mb,
        "prelude": tests.prelude or None,
        "language": None if tests.language == "python" else tests.language,
        "tolerance": tests.tolerance,
    }
    return found | {key: value for key, value in optional.items() if value is not None}


def _exact_json(value: dict[str, Any]) -> str:
    with suppress(TypeError, ValueError):
        text = json.dumps(value, ensure_ascii=False)
        if json.loads(text) == value:
            return text
    raise DataError(
        "a reference holds a value that JSON changes (a tuple, a set, nan, a non-string key)",
        hint='compare it in code instead:  {"asserts": ["assert f(1) == (1, 2)"]}',
    )
