"""Problems with tests: TACO, APPS, CodeContests, LiveCodeBench, HumanEval, MBPP and their like.

The tests are read by `code_formats`. Two rules. What a program must know to be tested (a header
to start from, a function's name, MBPP's asserts) is part of the prompt; what a program has not
to know is not. And a program known to pass is kept in `extra_info.solution`, so that the tests
can be checked against it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cascade_rl.data.code_formats import read_tests
from cascade_rl.data.contest_tests import SpecialJudge, read_archive
from cascade_rl.data.fields import shown
from cascade_rl.data.references import ground_truth
from cascade_rl.data.sources.common import (
    Raw,
    Unfit,
    items_of,
    maybe_text,
    problem,
    prompt_of,
    provenance,
    text_of,
)
from cascade_rl.data.sources.instruct import CPP, starter_block
from cascade_rl.errors import DataError
from cascade_rl.types import AssertTest, CallTest, Problem, Tests

MAX_SOLUTIONS = 5
"""So many known programs are kept; some problems come with hundreds."""


MBPP_SECONDS = {"123": 20.0}
"""By task id: MBPP's own program sums amicable numbers for longer than a test may by default."""


def humaneval(raw: Raw, source: str) -> Problem:
    """HumanEval and what is written like it: the prompt is code that the answer completes."""
    prompt, body = text_of(raw, "prompt"), maybe_text(raw, "canonical_solution")
    extra = {"solution": prompt + body} if body.strip() else {}
    tests = _tests(raw, "test", "entry_point", "prompt")
    return problem(raw, source, "code", prompt_of(prompt, "prompt"), tests, extra)


def mbpp(raw: Raw, source: str) -> Problem:
    """MBPP: the task in words, and the asserts, without which nobody knows the function's name."""
    shown_tests = [t for t in items_of(raw.get("test_list"), "test_list") if isinstance(t, str)]
    asked = text_of(raw, "prompt", "text").rstrip()
    text = f"{asked}\n\nYour code should pass these tests:\n" + "\n".join(shown_tests)
    keys = ("test_list", "test_imports", "test_setup_code", "challenge_test_list")
    tests = _tests({**raw, "test_list": items_of(raw.get("test_list"), "test_list")}, *keys)
    tests = replace(tests, time_limit_s=MBPP_SECONDS.get(str(raw.get("task_id"))))
    extra = {"solution": maybe_text(raw, "code")}
    return problem(raw, source, "code", prompt_of(text, "prompt"), tests, _filled(extra))


def apps(raw: Raw, source: str) -> Problem:
    """APPS and TACO: `question`, `input_output`, perhaps `starter_code` and `solutions`."""
    tests = _tests(raw, "input_output")
    seconds = _quantity(raw.get("time_limit"), "second")
    memory = _quantity(raw.get("memory_limit"), "megabyte")
    megabytes = None if memory is None else max(int(memory), 64)
    tests = replace(tests, time_limit_s=seconds, memory_limit_mb=megabytes)
    extra = _solutions(_list(raw.get("solutions")))
    prompt = _asked(text_of(raw, "question"), maybe_text(raw, "starter_code"), tests)
    return problem(raw, source, "code", prompt_of(prompt, "question"), tests, extra)


def livecodebench(raw: Raw, source: str) -> Problem:
    """LiveCodeBench: public tests, and private ones packed; `contest_date` is kept."""
    keys = ("public_test_cases", "private_test_cases", "metadata", "func_name")
    tests = _tests(raw, *keys)
    question, starter = text_of(raw, "question_content"), maybe_text(raw, "starter_code")
    prompt = prompt_of(_asked(question, starter, tests), "question_content")
    return problem(raw, source, "code", prompt, tests)


def livecodebench_pro(raw: Raw, source: str) -> Problem:
    """LiveCodeBench Pro: `problem_statement`, and under `testcases` the path of its tests' zip.

    The answer is a program in C++, which the benchmark's own judge expects and its limits fit.
    """
    archive = Path(text_of(raw, "testcases"))
    if not archive.exists():
        raise Unfit("no tests published", f"{archive} does not exist")
    try:
        tests = read_archive(archive)
    except SpecialJudge as error:
        raise Unfit("special judge", error.message) from None
    prompt = prompt_of(f"{text_of(raw, 'problem_statement').rstrip()}\n\n{CPP}", "problem")
    return problem(raw, source, "code", prompt, tests)


def code_contests(raw: Raw, source: str) -> Problem:
    """CodeContests: all tests, public, private and generated; solutions in Python 3."""
    keys = ("public_tests", "private_tests", "generated_tests", "time_limit", "memory_limit_bytes")
    tests = _tests(raw, *keys)
    extra = _solutions(_in_python(raw.get("solutions")))
    prompt = prompt_of(text_of(raw, "description"), "description")
    return problem(raw, source, "code", prompt, tests, extra)


def sandbox_fusion(raw: Raw, source: str) -> Problem:
    """CodeContests as SandboxFusion keeps it: `content`, `test`, `labels` as JSON."""
    labels = _object(raw.get("labels"))
    facts = {key: labels.get(key) for key in ("difficulty", "source", "name")}
    known = provenance({**facts, **raw})
    prompt = prompt_of(text_of(raw, "content"), "content")
    return problem(raw, source, "code", prompt, _tests(raw, "test"), known)


def acecode(raw: Raw, source: str) -> Problem:
    """AceCode: `question` and asserts; a recorded program that passed all of them is kept."""
    passed = [
        sample.get("completion")
        for sample in _list(raw.get("inferences"))
        if isinstance(sample, Mapping) and sample.get("pass_rate") == 1
    ]
    tests = _tests(raw, "test_cases")
    prompt = prompt_of(text_of(raw, "question"), "question")
    return problem(raw, source, "code", prompt, tests, _solutions(passed))


def nemo_gym(raw: Raw, source: str) -> Problem:
    """NeMo Gym's code rows: the prompt in `responses_create_params`, tests in the metadata."""
    asked, metadata = raw.get("responses_create_params"), raw.get("verifier_metadata")
    if not isinstance(asked, Mapping) or not isinstance(metadata, Mapping):
        raise DataError("responses_create_params and verifier_metadata; expected objects")
    prompt = prompt_of(asked.get("input"), "responses_create_params.input")
    origin = " ".join(str(raw[key]) for key in ("dataset", "source") if raw.get(key))
    return problem(raw, source, "code", prompt, _tests(metadata, "unit_tests"), {"origin": origin})


# --- tests ------------------------------------------------------------------------------------


def _tests(raw: Raw, *keys: str) -> Tests:
    """The tests under these keys alone, so that no other column is taken for them."""
    tests = read_tests({key: raw[key] for key in keys if raw.get(key) is not None})
    if tests is None:
        raise DataError(f"{keys[0]} is {shown(raw.get(keys[0]))}; expected tests")
    return _writable(tests)


def _writable(tests: Tests) -> Tests:
    """The tests, or the same as asserts where JSON cannot hold their values (integer keys)."""
    try:
        ground_truth(tests)
    except DataError:
        blocks = tuple(AssertTest(_as_assert(tests.entry_point, case)) for case in tests.cases)
        return replace(tests, cases=blocks, entry_point=None)
    return tests


def _as_assert(name: str | None, case: Any) -> str:
    if name is None or not isinstance(case, CallTest):
        raise DataError("a test holds a value that a file cannot keep")
    call = f"{name}({', '.join(map(repr, case.args))})"
    if not case.also:
        block = f"assert {call} == {case.expected!r}"
    else:
        block = f"assert {call} in {[case.expected, *case.also]!r}"
    try:
        if ast.literal_eval(repr((case.args, case.expected))) == (case.args, case.expected):
            return block
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    raise DataError("a test holds a value that is no plain data")


# --- prompts ----------------------------------------------------------------------------------


def _asked(question: str, starter: str, tests: Tests) -> str:
    """The question, then the header to start from, or at least the function's name."""
    if starter.strip():
        return question.rstrip() + starter_block(starter)
    name = tests.entry_point
    if name and not re.search(rf"\b{re.escape(name)}\b", question):
        return f"{question.rstrip()}\n\nName the function `{name}`."
    return question


# --- known programs, limits -------------------------------------------------------------------


def _solutions(programs: Iterable[Any]) -> dict[str, Any]:
    """`solution`, the first known program, and `solutions`, the first few."""
    texts = [text for text in programs if isinstance(text, str) and text.strip()]
    kept = list(dict.fromkeys(texts))[:MAX_SOLUTIONS]
    return {"solution": kept[0], "solutions": kept} if kept else {}


def _in_python(found: Any) -> list[Any]:
    """CodeContests' solutions in Python 3, which it numbers 3."""
    if not isinstance(found, Mapping):
        return []
    pairs = zip(_list(found.get("language")), _list(found.get("solution")), strict=False)
    return [text for language, text in pairs if language in (3, "PYTHON3")]


def _list(found: Any) -> list[Any]:
    """A list, perhaps as JSON; [] for anything else, since these columns are extras."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return []
    return list(found) if isinstance(found, list | tuple) else []


def _object(found: Any) -> Mapping[str, Any]:
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return {}
    return found if isinstance(found, Mapping) else {}


_QUANTITY = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*(\w+?)s?\s*")


def _quantity(found: Any, unit: str) -> float | None:
    """TACO's `2.0 seconds` or `256.0 megabytes` as a number."""
    match = _QUANTITY.fullmatch(found) if isinstance(found, str) else None
    return float(match[1]) if match and match[2] == unit and float(match[1]) > 0 else None


def _filled(extra: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in extra.items() if value}
