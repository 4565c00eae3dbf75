"""The test formats of public code data sets, read into `Tests`.

A format is known by its keys, and each reader below names them. What a row may decide ends
there: nothing of it is executed, and pickled tests are read by `packed_tests`, which admits
plain data only. Anything that is not what its format says raises DataError.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cascade_rl.data.fields import as_text, maybe_number_at, parse_json, shown
from cascade_rl.data.packed_tests import unpacked
from cascade_rl.errors import DataError
from cascade_rl.types import AssertTest, CallTest, StdioTest, Tests
from cascade_rl.verifiers.code.asserts import parsed

Row = Mapping[str, Any]

FUNCTION_PRELUDE = """\
import bisect, collections, copy, functools, heapq, itertools, math, operator, random, re, string
from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict, defaultdict, deque
from functools import cache, cmp_to_key, lru_cache, reduce
from heapq import heapify, heappop, heappush, heapreplace, nlargest, nsmallest
from itertools import accumulate, chain, combinations, count, cycle, groupby, permutations
from itertools import product, starmap, takewhile, zip_longest
from math import ceil, comb, factorial, floor, gcd, inf, isqrt, log, log2, pi, sqrt
from typing import *
"""
"""What programs that fill in a function may use without importing it, as on the sites they come
from. No builtin is hidden by it: `pow` stays the one with three arguments."""


DEFINITIONS = (
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Assign, ast.AnnAssign),
)


def read_tests(row: Row) -> Tests | None:
    """The tests of a row in one of the formats; None where it has the keys of none."""
    for keys, read in FORMATS.items():
        if all(row.get(key) is not None for key in keys):
            try:
                tests = read(row)
            except (
                *(AttributeError, KeyError, TypeError, ValueError),
                *(OverflowError, RecursionError),
            ) as error:
                raise DataError(
                    f"tests under {', '.join(keys)} are unreadable: {type(error).__name__}: {error}"
                ) from None
            if not tests.cases:
                raise DataError(f"no tests under {', '.join(keys)}; expected one or more")
            return tests
    return None


def _humaneval(row: Row) -> Tests:
    """HumanEval: `test` defines check(candidate), `prompt` the imports and helpers it needs."""
    entry, prompt = as_text(row["entry_point"]), row.get("prompt")
    prompt = prompt if isinstance(prompt, str) and _body(prompt) else ""
    cases = (AssertTest(as_text(row["test"])),)
    return Tests(cases, entry, helpers_of(prompt, entry), prelude=prompt)


def _mbpp(row: Row) -> Tests:
    """MBPP: `test_list` of asserts after `test_imports` or `test_setup_code`."""
    setup = [*_list(row.get("test_imports") or []), row.get("test_setup_code") or ""]
    blocks = [*_list(row["test_list"]), *_list(row.get("challenge_test_list") or [])]
    return asserts_of(blocks, "\n".join(map(as_text, setup)).strip())


def _acecode(row: Row) -> Tests:
    """AceCode: `test_cases`, a list of asserts."""
    return asserts_of(_list(row["test_cases"]))


def asserts_of(blocks: Sequence[Any], setup: str = "") -> Tests:
    """Blocks of test code. Raises TypeError where one is not text."""
    return Tests(tuple(AssertTest(as_text(block)) for block in blocks), setup=setup)


def _livecodebench(row: Row) -> Tests:
    """LiveCodeBench: `public_test_cases` and `private_test_cases`, `metadata` with func_name."""
    public = _decoded(row["public_test_cases"])
    private = row.get("private_test_cases") or []
    if isinstance(private, str):
        private = unpacked(private) if not private.lstrip().startswith("[") else _decoded(private)
    cases = [*_list(public), *_list(private)]
    metadata = _decoded(row.get("metadata") or {})
    name = metadata.get("func_name") or row.get("func_name")
    if any(case.get("testtype") == "functional" for case in cases) and not name:
        raise DataError("functional tests without metadata.func_name")
    return _inputs_outputs([c["input"] for c in cases], [c["output"] for c in cases], name)


def _apps(row: Row) -> Tests:
    """APPS and TACO: `input_output`, an object of inputs, outputs and perhaps fn_name."""
    return _prime_code(_decoded(row["input_output"]))


def _nemo_gym(row: Row) -> Tests:
    """NeMo Gym: `unit_tests`, the same object."""
    return _prime_code(_decoded(row["unit_tests"]))


def _prime_code(row: Row) -> Tests:
    """Of verl's prime_code: `inputs`, `outputs` and perhaps `fn_name`."""
    return _inputs_outputs(_list(row["inputs"]), _list(row["outputs"]), row.get("fn_name"))


def _inputs_outputs(inputs: Sequence[Any], outputs: Sequence[Any], name: str | None) -> Tests:
    if len(inputs) != len(outputs):
        raise DataError(f"{len(inputs)} inputs and {len(outputs)} outputs; expected one for one")
    pairs = list(zip(inputs, outputs, strict=True))
    if not name:
        return Tests(tuple(StdioTest(_lines(a), _lines(b)) for a, b in pairs))
    calls = tuple(CallTest(_arguments(a), _value(b)) for a, b in pairs)
    # What the prelude imports must not pass for the function the program was asked to write.
    prelude = f"{FUNCTION_PRELUDE}globals().pop({as_text(name)!r}, None)\n"
    return Tests(_with_others(calls), name, prelude=prelude)


def _lines(text: Any) -> str:
    """Text, or its lines."""
    return text if isinstance(text, str) else "\n".join(map(as_text, _list(text)))


def _arguments(given: Any) -> tuple[Any, ...]:
    """The arguments, as a list, or as lines of JSON, one each."""
    if isinstance(given, str):
        lines = given.rstrip("\n").split("\n") if given else []
        return tuple(_integer_keys(parse_json(line, "an argument")) for line in lines)
    return tuple(_integer_keys(item) for item in _list(given))


def _value(given: Any) -> Any:
    """The expected value, as such or as JSON; text that is no JSON is itself."""
    if isinstance(given, str):
        try:
            given = parse_json(given, "an expected value")
        except DataError:
            return given
    return _integer_keys(given)


def _integer_keys(value: Any) -> Any:
    """A dict whose keys are all written integers had integers, which JSON cannot say."""
    if isinstance(value, dict) and value and all(_is_integer(key) for key in value):
        return {int(key): item for key, item in value.items()}
    return value


def _is_integer(key: str) -> bool:
    return key.removeprefix("-").isdecimal() and key.isascii() and len(key) < 20


def _with_others(calls: tuple[CallTest, ...]) -> tuple[CallTest, ...]:
    """APPS keeps some results in a list of one: where all of a row's may be, both are right."""
    if not all(isinstance(c.expected, list) and len(c.expected) == 1 for c in calls):
        return calls
    return tuple(CallTest(c.args, c.expected, (_integer_keys(c.expected[0]),)) for c in calls)


def _code_contests(row: Row) -> Tests:
    """CodeContests: public_tests, private_tests, generated_tests, each {input: [], output: []}."""
    inputs: list[Any] = []
    outputs: list[Any] = []
    for key in ("public_tests", "private_tests", "generated_tests"):
        part = _decoded(row.get(key) or {})
        inputs += _list(part.get("input") or [])
        outputs += _list(part.get("output") or [])
    tests = _inputs_outputs(inputs, outputs, None)
    seconds = row.get("time_limit")
    if isinstance(seconds, Mapping):
        seconds = (seconds.get("seconds") or 0) + (seconds.get("nanos") or 0) / 1e9
    memory = maybe_number_at(row, "memory_limit_bytes") or 0
    return Tests(
        tests.cases,
        time_limit_s=maybe_number_at({"time_limit": seconds or None}, "time_limit"),
        memory_limit_mb=max(int(memory) >> 20, 64) if memory else None,
    )


def _sandbox_fusion(row: Row) -> Tests:
    """SandboxFusion's CodeContests: `test`, a list of {input: {stdin}, output: {stdout}}."""
    cases = _list(_decoded(row["test"]))
    return _inputs_outputs(
        [case["input"]["stdin"] for case in cases],
        [case["output"]["stdout"] for case in cases],
        None,
    )


FORMATS: Mapping[tuple[str, ...], Callable[[Row], Tests]] = {
    ("test", "entry_point"): _humaneval,
    ("test_list",): _mbpp,
    ("public_test_cases",): _livecodebench,
    ("public_tests",): _code_contests,
    ("input_output",): _apps,
    ("unit_tests",): _nemo_gym,
    ("inputs", "outputs"): _prime_code,
    ("test_cases",): _acecode,
    ("test",): _sandbox_fusion,
}
"""By the keys a row must have; the first that fits reads it."""


def helpers_of(prompt: str, entry_point: str) -> str:
    """HumanEval's prompt without the function to write: what the tests may rely on.

    It runs beside the tests, so that a program cannot redefine the helpers it is tested with.
    """
    kept = [s for s in _body(prompt) if getattr(s, "name", "") != entry_point]
    return "\n".join(map(ast.unparse, kept))


def _body(prompt: str) -> list[ast.stmt]:
    """The statements of a prompt that is code and only imports and defines; [] for any other."""
    try:
        body = parsed(prompt).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return body if all(isinstance(statement, DEFINITIONS) for statement in body) else []


def _decoded(value: Any) -> Any:
    return parse_json(value, "tests") if isinstance(value, str) else value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, found {shown(value)}")
    return value
