"""Public test formats: each is read as its data set means it, and refused where it is not."""

from __future__ import annotations

import base64
import json
import pickle
import pickletools
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.code_formats import FORMATS, FUNCTION_PRELUDE, read_tests
from cascade_rl.data.packed_tests import PLAIN_OPCODES, plain_pickle, unpacked
from cascade_rl.data.references import REFERENCES, ground_truth
from cascade_rl.errors import DataError
from cascade_rl.types import AssertTest, CallTest, Reference, StdioTest, Tests

TEST = "def check(candidate):\n    assert candidate(1) == 2\n"


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def read(row: Any) -> Tests:
    found: Reference = REFERENCES["code"](json.dumps(row))
    assert isinstance(found, Tests)
    return found


STDIN = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]
CALLS = [{"input": '[1, 2]\n"a"', "output": "true", "testtype": "functional"}]
CONTEST = {"input": ["1\n"], "output": ["2\n"]}
NUMBERED: list[tuple[dict[str, Any], list[tuple[Any, ...]]]] = [
    ({"public_test_cases": json.dumps(STDIN), "private_test_cases": "[]"}, [("1\n", "2\n")]),
    (
        {"public_test_cases": STDIN, "private_test_cases": packed(json.dumps(STDIN))},
        [("1\n", "2\n")] * 2,
    ),
    ({"public_test_cases": STDIN, "private_test_cases": packed(STDIN)}, [("1\n", "2\n")] * 2),
    (
        {"public_test_cases": json.dumps(CALLS), "metadata": '{"func_name": "f"}'},
        [(([1, 2], "a"), True)],
    ),
    ({"input_output": {"inputs": ["1\n"], "outputs": ["2\n"]}}, [("1\n", "2\n")]),
    ({"input_output": '{"inputs": [["1", "2"]], "outputs": [["3"]]}'}, [("1\n2", "3")]),
    ({"input_output": {"inputs": [[1, 2]], "outputs": [3], "fn_name": "f"}}, [((1, 2), 3)]),
    ({"unit_tests": {"inputs": ["1\n"], "outputs": ["2\n"]}}, [("1\n", "2\n")]),
    ({"inputs": ["1\n"], "outputs": ["2\n"]}, [("1\n", "2\n")]),
    ({"inputs": ["1\n[2]"], "outputs": ['"x"'], "fn_name": "f"}, [((1, [2]), "x")]),
    ({"inputs": [[{"1": "a"}]], "outputs": [{"-2": 3}], "fn_name": "f"}, [(({1: "a"},), {-2: 3})]),
    ({"inputs": [[{"b": "a"}]], "outputs": ["x y"], "fn_name": "f"}, [(({"b": "a"},), "x y")]),
    (
        {"public_tests": CONTEST, "private_tests": CONTEST, "generated_tests": json.dumps(CONTEST)},
        [("1\n", "2\n")] * 3,
    ),
    ({"test": '[{"input": {"stdin": "1"}, "output": {"stdout": "2"}}]'}, [("1", "2")]),
    ({"test_list": ["assert f(1) == 2"], "test_imports": ["import math"]}, [("assert f(1) == 2",)]),
    ({"test_cases": ["assert f(1) == 2"]}, [("assert f(1) == 2",)]),
    ({"test": TEST, "entry_point": "f"}, [(TEST,)]),
    ({"asserts": ["assert f(1) == 2"]}, [("assert f(1) == 2",)]),
]


@pytest.mark.parametrize(("row", "cases"), NUMBERED)
def test_a_row_is_read_in_its_own_format(row: dict[str, Any], cases: list[Any]) -> None:
    found: list[Any] = []
    for case in read(row).cases:
        match case:
            case StdioTest():
                found.append((case.input, case.output))
            case CallTest():
                found.append((case.args, case.expected))
            case AssertTest():
                found.append((case.code,))
    assert found == cases


def test_every_format_has_a_row_here() -> None:
    for keys in FORMATS:
        assert any(all(key in row for key in keys) for row, _ in NUMBERED), keys


def test_a_bare_list_holds_asserts_or_inputs_and_outputs() -> None:
    assert read(["assert f(1) == 2"]).cases == (AssertTest("assert f(1) == 2"),)
    assert read([{"input": "1", "output": "2"}]).cases == (StdioTest("1", "2"),)


def test_a_result_that_may_stand_in_a_list_of_one_is_right_both_ways() -> None:
    row = {"inputs": [[1], [2]], "outputs": [[True], [[3]]], "fn_name": "f"}
    assert [(c.expected, c.also) for c in read(row).cases if isinstance(c, CallTest)] == [
        ([True], (True,)),
        ([[3]], ([3],)),
    ]
    row["outputs"] = [[1], [2, 3]]
    assert not any(c.also for c in read(row).cases if isinstance(c, CallTest))


def test_humanevals_prompt_serves_the_program_and_its_helpers_the_tests() -> None:
    prompt = 'from typing import List\n\ndef help(x):\n    return x\n\ndef f(x):\n    """Do."""\n'
    tests = read({"test": TEST, "entry_point": "f", "prompt": prompt})
    assert tests.prelude == prompt
    assert "def help" in tests.setup
    assert "def f(" not in tests.setup
    leetcode = "import math\nfrom typing import *\n"
    tests = read({"test": TEST, "entry_point": "Solution().f", "prompt": leetcode})
    assert tests.prelude == leetcode
    for words in ("Write a function f.", "f", "\0"):
        tests = read({"test": TEST, "entry_point": "f", "prompt": words})
        assert (tests.prelude, tests.setup) == ("", "")


def test_limits_of_a_contest_and_of_the_row_are_read() -> None:
    row: dict[str, Any] = {"public_tests": CONTEST, "memory_limit_bytes": 256 << 20}
    tests = read(row | {"time_limit": {"seconds": 2, "nanos": 500_000_000}})
    assert (tests.time_limit_s, tests.memory_limit_mb) == (2.5, 256)
    tests = read(row | {"time_limit_s": 1, "language": "cpp", "tolerance": 1e-6})
    assert (tests.time_limit_s, tests.language, tests.tolerance) == (1, "cpp", 1e-6)


def test_what_the_prelude_imports_hides_no_builtin_and_is_no_answer() -> None:
    names: dict[str, Any] = {}
    exec(FUNCTION_PRELUDE, names)
    builtin = vars(__builtins__) if not isinstance(__builtins__, dict) else __builtins__
    assert not set(builtin) & set(names) - {"__builtins__"} - {"__name__"}
    tests = read({"inputs": [[[1]]], "outputs": [[1]], "fn_name": "accumulate"})
    exec(tests.prelude, names)
    assert "accumulate" not in names


@pytest.mark.parametrize("row", [row for row, _ in NUMBERED])
def test_what_is_read_is_written_and_read_again(row: dict[str, Any]) -> None:
    tests = read(row | {"tolerance": 0.5, "time_limit_s": 3})
    if any(
        isinstance(case, CallTest) and case.args and {1: "a"} in case.args for case in tests.cases
    ):
        with pytest.raises(DataError, match="JSON changes"):
            ground_truth(tests)
        return
    assert REFERENCES["code"](ground_truth(tests)) == tests


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "no tests"),
        ({"tests": []}, "no tests"),
        ({"test_list": []}, "no tests"),
        ({"inputs": [], "outputs": []}, "no tests"),
        ({"test_list": [1]}, "expected text, found int 1"),
        ({"inputs": ["1"], "outputs": []}, "1 inputs and 0 outputs"),
        ({"inputs": "1", "outputs": "2"}, "expected a list"),
        ({"inputs": [[1]], "outputs": [1], "fn_name": 3}, "expected text, found int 3"),
        ({"inputs": ["not json"], "outputs": ["1"], "fn_name": "f"}, "an argument is not JSON"),
        ({"input_output": "{"}, "tests is not JSON"),
        ({"input_output": "[]"}, "unreadable"),
        ({"public_test_cases": CALLS}, "without metadata.func_name"),
        ({"public_test_cases": [{"input": "1"}]}, "KeyError: 'output'"),
        ({"public_test_cases": STDIN, "private_test_cases": "!!!"}, "not base64"),
        ({"public_test_cases": STDIN, "private_test_cases": "AAAA"}, "not zlib data"),
        ({"public_tests": CONTEST, "time_limit": "2 s"}, "expected a number above 0"),
        ({"test": "[1]"}, "unreadable"),
        ({"inputs": ["1"], "outputs": ["1"], "language": "rust"}, "expected one of python, cpp"),
        ({"inputs": ["1"], "outputs": ["1"], "tolerance": -1}, "expected a number above 0"),
    ],
)
def test_a_row_without_readable_tests_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError) as error:
        read(row)
    assert reason in str(error.value)


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


HOSTILE: list[tuple[bytes, str]] = [
    (pickle.dumps(Evil()), "opcode"),
    (pickle.dumps(Evil(), 0), "opcode"),
    (pickle.dumps([{"a": Path("x")}]), "opcode"),
    (pickle.dumps(len), "opcode"),
    (pickle.dumps({1, 2}), "opcode"),
    (b"cos\nsystem\n(S'echo'\ntR.", "opcode GLOBAL"),
    (b"(S'os'\nios\nsystem\n.", "opcode INST"),
    (b"\x80\x04N\x8c\x02os\x8c\x06system\x93.", "opcode STACK_GLOBAL"),
    (b"Pid\n.", "opcode PERSID"),
    (b"\x82\x01.", "opcode EXT1"),
    (b"Nr" + struct.pack("<I", 2**31 - 1) + b".", "memo entry"),
    (b"\x8b" + struct.pack("<i", 2**30) + b".", "no pickle"),
    (b"X" + struct.pack("<I", 2**31) + b"a.", "no pickle"),
    (b"", "no pickle"),
    (b".", "no pickle"),
    (b"]", "no pickle"),
    (b"(" * 100, "no pickle"),
]


@pytest.mark.parametrize(("data", "reason"), HOSTILE)
def test_a_hostile_pickle_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        plain_pickle(data)
    assert not Path("evil").exists()


def test_a_small_pickle_cannot_stand_for_an_endless_value() -> None:
    doubled: list[Any] = []
    for _ in range(64):
        doubled = [doubled, doubled]
    itself: list[Any] = []
    itself.append(itself)
    started = time.perf_counter()
    for value in (doubled, itself):
        with pytest.raises(DataError, match="more than"):
            plain_pickle(pickle.dumps(value))
    assert time.perf_counter() - started < 10


def test_packed_tests_are_bounded_before_they_are_opened() -> None:
    bomb = base64.b64encode(zlib.compress(b"\0" * 50_000_000)).decode()
    with pytest.raises(DataError, match="open to more than 1000000 bytes"):
        unpacked(bomb, limit=1_000_000)


def test_only_opcodes_of_plain_data_are_let_through() -> None:
    named = {opcode.name for opcode in pickletools.opcodes}
    assert named >= PLAIN_OPCODES
    assert not PLAIN_OPCODES & {
        "GLOBAL",
        "STACK_GLOBAL",
        "REDUCE",
        "BUILD",
        "NEWOBJ",
        "INST",
        "OBJ",
    }


def test_a_format_that_is_not_known_is_none() -> None:
    assert read_tests({"answer": "5"}) is None
