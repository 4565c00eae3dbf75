"""Hostile programs: each ends as it should, reaches nothing, and leaves nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cascade_rl.sandbox import Limits, Program
from cascade_rl.sandbox.client import TierRefused, ZygoteSandbox
from cascade_rl.sandbox.tiers import T1B, T3, TIERS

CASES = Path(__file__).resolve().parents[1] / "cases"
ATTACKS = [json.loads(line) for line in (CASES / "sandbox_attacks.jsonl").read_text().splitlines()]
FORBIDDEN = [
    json.loads(line) for line in (CASES / "sandbox_forbidden.jsonl").read_text().splitlines()
]
LIMITS = Limits(cpu_s=0.3, memory_mb=256, output_bytes=1 << 20)


def started(tier: str) -> ZygoteSandbox:
    sandbox = ZygoteSandbox(tier, allow_unsafe=True)
    try:
        assert sandbox.tier == tier
    except TierRefused as why:
        pytest.skip(f"this machine does not form the tier: {why}")
    return sandbox


@pytest.fixture(scope="module", params=TIERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[ZygoteSandbox]:
    sandbox = started(request.param)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", params=TIERS[:-1])
def isolated(request: pytest.FixtureRequest) -> Iterator[ZygoteSandbox]:
    sandbox = started(request.param)
    yield sandbox
    sandbox.close()


def call(source: str, *inputs: Any) -> Program:
    return Program(source, "call", inputs or ((1,),), entry_point="f")


@pytest.mark.parametrize("case", ATTACKS, ids=lambda case: case["name"])
def test_an_attack_ends_as_it_should(case: dict[str, Any], sandbox: ZygoteSandbox) -> None:
    if case["name"] == "SIGKILL to everyone" and sandbox.tier == T3:
        pytest.skip("nothing there confines signals")
    inputs = ("",) if case["kind"] == "stdio" else ((1,),)
    program = Program(case["source"], case["kind"], inputs, entry_point="f")
    outcome = sandbox.run(program, LIMITS)
    assert outcome.status in case["status"], outcome
    after = sandbox.run(call("def f(x): return x + 1"), LIMITS)
    assert after.results == (2,), "the sandbox still works"


@pytest.mark.parametrize("case", FORBIDDEN, ids=lambda case: case["name"])
def test_a_program_cannot_reach(case: dict[str, Any], isolated: ZygoteSandbox) -> None:
    outcome = isolated.run(call(case["source"]), LIMITS)
    assert outcome.status == "runtime", outcome
    assert "Error" in outcome.reason


def test_nothing_of_the_expected_output_is_in_the_process(sandbox: ZygoteSandbox) -> None:
    source = (
        "import gc, sys\n"
        "def f(x):\n"
        "    frame, found = sys._getframe(), []\n"
        "    while frame:\n"
        "        found.append(repr(frame.f_locals)); frame = frame.f_back\n"
        "    found += [repr(y) for y in gc.get_objects() if isinstance(y, (dict, list, tuple))]\n"
        "    return any(chr(83) + 'ECRET' in text for text in found if 'chr(83)' not in text)\n"
    )
    # The caller holds "SECRET" as what it expects; only the source and the input travel.
    expected = "SECRET"
    outcome = sandbox.run(call(source, (expected[:0],)), Limits())
    assert outcome.results == (False,)


def test_runs_share_no_state(sandbox: ZygoteSandbox) -> None:
    source = (
        "import json, os\n"
        "print(sorted(os.listdir()), hasattr(json, 'mark'))\n"
        "json.mark = 1\n"
        "try: open('mark', 'w').close()\n"
        "except PermissionError: pass\n"
    )
    scripts = Program(source, "stdio", ("", "", ""))
    for _ in range(2):
        assert sandbox.run(scripts, LIMITS).results == (b"[] False\n",) * 3


def test_the_results_before_a_failure_are_kept(sandbox: ZygoteSandbox) -> None:
    source = "def f(x):\n    print(1 / (3 - x))\n    return x"
    outcome = sandbox.run(call(source, (1,), (2,), (3,), (4,)), LIMITS)
    assert (outcome.status, outcome.results) == ("runtime", (1, 2))
    assert outcome.reason.startswith("ZeroDivisionError")


@pytest.mark.parametrize("kind", ["call", "assert"])
def test_a_program_without_inputs_is_run_and_bounded(kind: Any, sandbox: ZygoteSandbox) -> None:
    def status(source: str) -> str:
        return sandbox.run(Program(source, kind, (), entry_point="f"), LIMITS).status

    assert status("def f(x): return x") == "ok"
    assert status("1 / 0") == "runtime"
    assert status("while True: pass") == "timeout"


def test_every_input_has_the_whole_time_limit(sandbox: ZygoteSandbox) -> None:
    source = (
        "import time\n"
        "def f(x):\n"
        "    end = time.process_time() + x\n"
        "    while time.process_time() < end: pass\n"
        "    return x\n"
    )
    limits = Limits(cpu_s=0.8)
    assert sandbox.run(call(source, *[(0.35,)] * 4), limits).status == "ok"
    outcome = sandbox.run(call(source, (0.1,), (3.0,), (0.1,)), limits)
    assert (outcome.status, outcome.results) == ("timeout", (0.1,))


def test_a_busy_program_is_stopped_by_processor_time_not_by_the_clock(
    sandbox: ZygoteSandbox,
) -> None:
    outcome = sandbox.run(call("def f(x):\n    while True: pass"), Limits(cpu_s=0.5))
    assert outcome.status == "timeout"
    assert outcome.cpu_s >= 0.5


def test_hostile_programs_leave_no_process(sandbox: ZygoteSandbox) -> None:
    zygote = psutil.Process(sandbox._process.pid)  # type: ignore[union-attr]
    for case in ATTACKS:
        if case["name"] in ("daemon that stays", "fork bomb", "thread bomb"):
            sandbox.run(call(case["source"]), LIMITS)
    family = zygote.children(recursive=True)
    assert len(family) == (3 if sandbox.tier == T1B else 1)
    try:
        before = [process.num_fds() for process in (zygote, *family)]
    except psutil.AccessDenied:
        return  # an ordinary user cannot look into them; that they are few is known by now
    sandbox.run(call("def f(x): return x"), LIMITS)
    assert [process.num_fds() for process in (zygote, *family)] == before


def test_a_program_leaves_nothing_for_the_next(sandbox: ZygoteSandbox) -> None:
    leave = (
        "import ctypes, os\n"
        "def f(x):\n"
        "    try: open('left', 'w').close()\n"
        "    except PermissionError: pass\n"
        "    ctypes.CDLL(None).shmget(7, 4096, 0o1666)\n"
        "    return os.listdir('.')"
    )
    find = (
        "import ctypes, os\n"
        "def f(x):\n"
        "    return [os.listdir('.'), ctypes.CDLL(None).shmget(7, 4096, 0)]"
    )
    sandbox.run(call(leave), LIMITS)
    [(found, segment)] = sandbox.run(call(find), LIMITS).results
    assert found == []
    if sandbox.tier != T3:
        assert segment == -1


def test_an_init_that_dies_is_replaced(sandbox: ZygoteSandbox) -> None:
    zygote = psutil.Process(sandbox._process.pid)  # type: ignore[union-attr]
    *_, init = zygote.children(recursive=True)
    init.kill()
    for _ in range(3):
        assert sandbox.run(call("def f(x): return x"), LIMITS).results == (1,)


def test_closing_ends_every_process() -> None:
    sandbox = ZygoteSandbox()
    assert sandbox.tier
    process = sandbox._process
    assert process is not None
    sandbox.close()
    assert not psutil.pid_exists(process.pid)


def test_a_zygote_that_dies_is_replaced() -> None:
    sandbox = ZygoteSandbox()
    assert sandbox.tier
    assert sandbox._process is not None
    sandbox._process.kill()
    assert sandbox.run(call("def f(x): return x"), LIMITS).results == (1,)
    sandbox.close()


def test_a_forked_process_gets_a_zygote_of_its_own() -> None:
    sandbox = ZygoteSandbox()
    assert sandbox.tier
    pid = os.fork()
    if pid == 0:
        good = sandbox.run(call("def f(x): return x"), LIMITS).results == (1,)
        sandbox.close()
        os._exit(0 if good else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert sandbox.run(call("def f(x): return x"), LIMITS).results == (1,)
    sandbox.close()


def test_the_zygote_dies_with_its_process() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        sandbox = ZygoteSandbox()
        assert sandbox.tier and sandbox._process is not None
        os.write(writer, str(sandbox._process.pid).encode())
        time.sleep(100)
        os._exit(0)
    zygote = psutil.Process(int(os.read(reader, 100)))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    for _ in range(100):
        if not zygote.is_running() or zygote.status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the zygote outlived its process")


def test_assert_code_reaches_the_candidate_only_by_value(sandbox: ZygoteSandbox) -> None:
    tests = (
        "assert f(2) == 4",
        "import math\nassert math.isclose(g(2), 2 ** 0.5)",
        "try:\n    h()\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError",
        "assert peek(make()) == 7",
    )
    source = (
        "import math\ndef f(x): return 2 * x\ndef g(x): return math.sqrt(x)\n"
        "def h(): raise ValueError('no')\n"
        "class Box: pass\ndef make():\n    b = Box(); b.v = 7; return b\ndef peek(b): return b.v\n"
    )
    assert sandbox.run(Program(source, "assert", tests), LIMITS).status == "ok"


@pytest.mark.parametrize(
    "source",
    [
        "class Y:\n    def __eq__(self, other): return True\ndef f(x): return Y()",
        "import os\ndef f(x): os.write(3, b'V[\"n\", null]'); os._exit(0)",
        "import sys\nsys.exit(0)",
        "def f(x): raise SystemExit(0)",
        "import builtins\nbuiltins.AssertionError = Exception\ndef f(x): return 5",
        "import os\ndef f(x):\n    for n in range(3, 64):\n        try: os.write(n, b'V')\n"
        "        except OSError: pass\n    return 5",
    ],
)
def test_no_candidate_passes_an_assert_by_lying(source: str, sandbox: ZygoteSandbox) -> None:
    outcome = sandbox.run(Program(source, "assert", ("assert f(2) == 4",)), LIMITS)
    assert outcome.status == "runtime", outcome


def test_arguments_may_be_given_by_keyword(sandbox: ZygoteSandbox) -> None:
    program = call("def f(x, y=1): return x - y", (5,), {"y": 2, "x": 9})
    assert sandbox.run(program, LIMITS).results == (4, 7)
