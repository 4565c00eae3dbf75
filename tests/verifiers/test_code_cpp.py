"""C++ answers: the fenced block of that language, compiled once, judged by what it prints."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from cascade_rl.errors import ConfigError
from cascade_rl.sandbox import Limits, Program
from cascade_rl.sandbox.client import ZygoteSandbox, default_sandbox
from cascade_rl.types import CallTest, Problem, StdioTest, Tests
from cascade_rl.verifiers import code, refuse_what_is_missing
from cascade_rl.verifiers.code import extract_program, verify_code

ADD = "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a OP b; }\n"


@functools.cache
def compiles() -> bool:
    program = Program("int main() {}", "stdio", ("",), language="cpp")
    return default_sandbox().run(program, Limits()).status == "ok"


@pytest.fixture
def compiler() -> None:
    if not compiles():
        pytest.skip("the sandbox compiles no C++ here: g++ is absent")


def problem() -> Problem:
    cases = tuple(StdioTest(f"{n} 2\n", f"{n + 2}\n") for n in range(20))
    return Problem("p", "code", (), Tests(cases, language="cpp"), "t")


def fenced(source: str) -> str:
    return f"```cpp\n{source}\n```\nwhich prints\n```\n17\n```\nlike\n```python\nprint(17)\n```\n"


@pytest.mark.usefixtures("compiler")
def test_a_cpp_program_is_judged_by_what_it_prints() -> None:
    assert verify_code(problem(), fenced(ADD.replace("OP", "+"))).status == "right"
    assert verify_code(problem(), fenced(ADD.replace("OP", "-"))).status == "wrong"


@pytest.mark.usefixtures("compiler")
def test_what_does_not_compile_is_a_runtime_failure_that_says_so() -> None:
    verdict = verify_code(problem(), fenced("int main() { return x; }"))
    assert verdict.status == "runtime"
    assert verdict.reason.startswith("compile error")
    assert {r.status for r in code.test_results(problem(), fenced("int"))} == {"runtime"}


def test_the_program_is_the_block_of_the_problems_language() -> None:
    text = "```python\nb\n```\n```c++\na\n```\n```Cpp\nint main;\n```\n```\nc\n```\n```java\nd\n```"
    assert extract_program(text, "cpp") == "int main;\n"
    assert extract_program(text) == "b\n"
    assert extract_program("```\nc\n```", "cpp") == "c\n"
    assert extract_program("```python\nb\n```", "cpp") is None


def test_cpp_is_tested_by_input_and_output_only() -> None:
    calls = Tests((CallTest((1,), 1),), entry_point="f", language="cpp")
    assert verify_code(Problem("p", "code", (), calls, "t"), "x").status == "invalid"


def test_what_this_machine_lacks_is_said_before_the_first_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpp = problem()
    python = replace(cpp, reference=Tests((StdioTest("1\n", "1\n"),)))
    bare = ZygoteSandbox()
    bare.compiler = None
    unsafe = ZygoteSandbox("T3")
    try:
        monkeypatch.setattr("cascade_rl.verifiers.default_sandbox", lambda: bare)
        refuse_what_is_missing([python])
        with pytest.raises(ConfigError, match=r"no C\+\+ compiler.*\n.*apt install"):
            refuse_what_is_missing([python, cpp])
        monkeypatch.setattr("cascade_rl.verifiers.default_sandbox", lambda: unsafe)
        with pytest.raises(ConfigError, match=r"no program is run here.*\n.*cascade doctor"):
            refuse_what_is_missing([python])
    finally:
        bare.close()
        unsafe.close()
