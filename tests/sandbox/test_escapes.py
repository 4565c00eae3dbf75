"""Ways out that a reviewer of the sandbox has found, each shut: they stay shut."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade_rl.sandbox import Limits, Program
from cascade_rl.sandbox.client import TierRefused, ZygoteSandbox
from cascade_rl.sandbox.compiler import KEPT_BYTES, Compiler
from cascade_rl.sandbox.tiers import T2, TIERS
from cascade_rl.sandbox.values import NotPlain, decode
from cascade_rl.types import CallTest, Patch, Problem, Tests
from cascade_rl.verifiers import verify_code, verify_swe_resolved

LIMITS = Limits(cpu_s=0.3, memory_mb=256)


@pytest.fixture(scope="module", params=TIERS[:-1])
def sandbox(request: pytest.FixtureRequest) -> Iterator[ZygoteSandbox]:
    sandbox = ZygoteSandbox(request.param)
    try:
        sandbox.tier  # noqa: B018
    except TierRefused as why:
        pytest.skip(f"this machine does not form the tier: {why}")
    yield sandbox
    sandbox.close()


def call(source: str, *inputs: object) -> Program:
    return Program(source, "call", inputs or ((1,),), entry_point="f")


REFUSED = {
    "signals by F_SETOWN": (
        "import fcntl, os\ndef f(x):\n    r, w = os.pipe(); fcntl.fcntl(r, 8, os.getppid())"
    ),
    "a signal's number by F_SETSIG": (
        "import fcntl, os\ndef f(x):\n    r, w = os.pipe(); fcntl.fcntl(r, 10, 9)"
    ),
    "signals by FIOSETOWN": (
        "import fcntl, os, struct\ndef f(x):\n"
        "    r, w = os.pipe(); fcntl.ioctl(r, 0x8901, struct.pack('i', os.getppid()))"
    ),
    "names of files by inotify": (
        "import ctypes\ndef f(x):\n    if ctypes.CDLL(None).inotify_init() < 0: raise OSError"
    ),
    "memory in a memfd": "import os\ndef f(x): os.memfd_create('x')",
    "descriptors of its own for a thread": (
        "import ctypes, os\ndef f(x):\n"
        "    clone = {'x86_64': 56, 'aarch64': 220}[os.uname().machine]\n"
        "    if ctypes.CDLL(None).syscall(clone, 0x10000 | 0x100 | 0x800, 0, 0, 0, 0) < 0:\n"
        "        raise OSError"
    ),
    "a tree by open_tree_attr": (
        "import ctypes\ndef f(x):\n"
        "    if ctypes.CDLL(None).syscall(467, -100, b'/', 0, 0, 0) < 0: raise OSError"
    ),
    "a pair of internet sockets": (
        "import socket\ndef f(x): socket.socketpair(socket.AF_INET, socket.SOCK_STREAM)"
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_program_is_refused(name: str, sandbox: ZygoteSandbox) -> None:
    outcome = sandbox.run(call(REFUSED[name]), LIMITS)
    assert outcome.status == "runtime", outcome
    assert "Error" in outcome.reason


def test_locks_and_times_do_not_reach_the_next_program(sandbox: ZygoteSandbox) -> None:
    leave = (
        "import fcntl, os, struct\n"
        "def f(x):\n"
        "    lock = struct.pack('hhqqi', fcntl.F_WRLCK, 0, 1000, 1, 0)\n"
        "    fcntl.fcntl(2, 37, lock)\n"
        "    try: os.utime('.', (7, 7))\n"
        "    except PermissionError: pass\n"
    )
    look = (
        "import fcntl, os, struct\n"
        "def f(x):\n"
        "    lock = fcntl.fcntl(2, 36, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 1000, 1, 0))\n"
        "    return [struct.unpack('hhqqi', lock)[0] == fcntl.F_UNLCK, os.stat('.').st_mtime]\n"
    )
    assert sandbox.run(call(leave), LIMITS).status == "ok"
    [[unlocked, mtime]] = sandbox.run(call(look), LIMITS).results
    assert unlocked
    assert mtime != 7


def test_in_t2_no_mode_and_no_time_of_a_file_can_be_changed(sandbox: ZygoteSandbox) -> None:
    if sandbox.tier != T2:
        pytest.skip("the others show no file of the host")
    for what in ("os.chmod('.', 0)", "os.utime('.', (1, 1))", "os.chown('.', -1, -1)"):
        outcome = sandbox.run(call(f"import os\ndef f(x): {what}"), LIMITS)
        assert outcome.reason.startswith("PermissionError"), (what, outcome)


def test_writing_to_the_result_buys_no_time(sandbox: ZygoteSandbox) -> None:
    beat = (
        "import os, time\ndef f(x):\n    while True:\n        time.sleep(.3); os.write(3, b'x')\n"
    )
    burn = "import os\ndef f(x):\n    while True: os.write(3, b'x')\n"
    for source in (beat, burn):
        started = time.monotonic()
        outcome = sandbox.run(call(source), Limits(cpu_s=0.2, output_bytes=1 << 24))
        assert outcome.status == "timeout", outcome
        assert time.monotonic() - started < 20


@pytest.mark.parametrize("path", ["a" * 300 + ".py", "m.py/x.py", "../x.py", "/tmp/x.py", "a\0.py"])
def test_files_that_cannot_be_written_are_the_answers_own_doing(
    path: str, sandbox: ZygoteSandbox
) -> None:
    program = Program("x = 1", "assert", ("assert True",), files=(("m.py", ""), (path, "")))
    assert sandbox.run(program, LIMITS).status == "runtime"
    assert sandbox.run(call("def f(x): return x"), LIMITS).results == (1,)


def test_many_files_slow_no_later_program(sandbox: ZygoteSandbox) -> None:
    many = (
        "import os\ndef f(x):\n    try:\n        for n in range(20000): os.mkdir(str(n))\n"
        "    except OSError: pass\n"
    )
    sandbox.run(call(many), Limits(cpu_s=3.0))
    started = time.monotonic()
    assert sandbox.run(call("import os\ndef f(x): return os.listdir('.')"), LIMITS).results == ([],)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "test",
    [
        "assert all(map(lambda x: f(x) == x + 1, [1, 2]))",
        "for a, b in zip(map(f, [1, 2]), [2, 3]):\n    assert a == b",
    ],
)
@pytest.mark.parametrize("error", ["StopIteration", "StopAsyncIteration"])
def test_no_error_of_the_candidate_ends_a_loop_of_the_tests(
    error: str, test: str, sandbox: ZygoteSandbox
) -> None:
    program = Program(f"def f(x): raise {error}", "assert", (test,))
    assert sandbox.run(program, LIMITS).status == "runtime"


@pytest.mark.parametrize(
    ("added", "test"),
    [
        ("decimal.py", "from decimal import Decimal\nassert f(1) == Decimal('3')"),
        ("pytest.py", "import pytest\nassert f(1) == pytest.approx(3)"),
    ],
)
def test_a_patch_adds_no_module_to_the_tests_imports(added: str, test: str) -> None:
    files = {"calc.py": "def f(x):\n    return 0\n"}
    golden = (
        "--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def f(x):\n-    return 0\n+    return 3\n"
    )
    problem = Problem(
        "p", "swe", (), Patch(files, golden, ("calc.py",), "either", ""), "t", {"tests": [test]}
    )
    lines = "def Decimal(x): return 0\ndef approx(x): return 0"
    answer = f"### {added}\n<<<<<<< SEARCH\n=======\n{lines}\n>>>>>>> REPLACE"
    assert verify_swe_resolved(problem, answer).status != "right"


@pytest.mark.parametrize("text", ['["c", [1]]', '["c", []]', '["c", ["1", "2", "3"]]'])
def test_a_crafted_complex_number_is_no_value(text: str) -> None:
    with pytest.raises(NotPlain):
        decode(text)


def test_a_huge_key_is_compared_and_does_not_raise() -> None:
    tests = Tests((CallTest((1,), {1: 1.0}),), entry_point="f", tolerance=1e-6)
    problem = Problem("p", "code", (), tests, "t")
    answer = "```python\ndef f(x): return {1 << 400000: 1.0}\n```"
    assert verify_code(problem, answer).status == "wrong"


def test_large_binaries_do_not_pile_up(tmp_path: Path) -> None:
    def compile_with(command: list[str]) -> tuple[str, str]:
        (tmp_path / "program").write_bytes(bytes(20 << 20))
        return "ok", ""

    compiler = Compiler("g++")
    for n in range(4):
        fd, status, _ = compiler.binary(f"// {n}", str(tmp_path), compile_with)
        assert fd is not None and status == "ok"
        assert compiler._size() <= KEPT_BYTES
