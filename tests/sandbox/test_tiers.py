"""Tiers: what each is held to at start, what it bounds, and what refuses to run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cascade_rl.errors import ConfigError
from cascade_rl.sandbox import Limits, Outcome, Program
from cascade_rl.sandbox.client import TierRefused, ZygoteSandbox, default_sandbox, full_name
from cascade_rl.sandbox.fusion import FusionSandbox
from cascade_rl.sandbox.selftest import REACHES, examine
from cascade_rl.sandbox.tiers import ENTRIES, OURS, T1, T1B, T2, T3, TIERS

LIMITS = Limits(cpu_s=1.0, memory_mb=256)


@pytest.fixture(scope="module", params=TIERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[ZygoteSandbox]:
    sandbox = ZygoteSandbox(request.param, allow_unsafe=True)
    try:
        sandbox.tier  # noqa: B018  starts it
    except TierRefused as why:
        pytest.skip(f"this machine does not form the tier: {why}")
    yield sandbox
    sandbox.close()


def call(source: str) -> Program:
    return Program(source, "call", ((1,),), entry_point="f")


def test_the_first_tier_that_holds_is_taken() -> None:
    sandbox = ZygoteSandbox()
    try:
        assert sandbox.tier == next(tier for tier in TIERS if tier not in sandbox.refused)
    finally:
        sandbox.close()


def test_every_attack_of_the_self_test_held(sandbox: ZygoteSandbox) -> None:
    if sandbox.tier == T3:
        assert sandbox.findings == ()
        return
    assert {finding.attack for finding in sandbox.findings} >= set(REACHES)
    assert all(finding.held for finding in sandbox.findings)


def test_the_self_test_sees_what_an_open_process_reaches() -> None:
    open_ = ZygoteSandbox("T3", allow_unsafe=True)
    try:
        findings = examine(open_.run)
    finally:
        open_.close()
    reached = {finding.attack for finding in findings if not finding.held}
    left = f"canary-{os.getpid()}"
    assert left not in {*os.listdir("/dev/shm"), *os.listdir("/var/tmp")}, "it tidies up"
    assert {"read a file of the host", "list /proc", "connect to the loopback"} <= reached
    assert {"start a process", "leave shared memory", "connect to an abstract socket"} <= reached


def test_a_tier_whose_self_test_fails_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacks reach the trusted side's own files: here they are handed to an open tier."""
    monkeypatch.setattr("cascade_rl.sandbox.client.T3", "no tier")  # so that it is examined
    sandbox = ZygoteSandbox("T3")
    with pytest.raises(TierRefused, match=r"a program could .*read a file of the host"):
        sandbox.tier  # noqa: B018
    assert sandbox._process is None


def test_nothing_runs_where_nothing_isolates() -> None:
    sandbox = ZygoteSandbox("T3")
    try:
        outcome = sandbox.run(call("def f(x): return x"), LIMITS)
        assert (outcome.status, outcome.results) == ("infra", ())
        assert "CASCADE_SANDBOX_ALLOW_UNSAFE=1" in outcome.reason
        assert sandbox.refusal
    finally:
        sandbox.close()


def test_outcomes_name_their_tier(sandbox: ZygoteSandbox) -> None:
    assert sandbox.run(call("def f(x): return x"), LIMITS).tier == sandbox.tier


def test_a_program_has_few_threads_and_no_process(sandbox: ZygoteSandbox) -> None:
    count = (
        "import threading\n"
        "def f(x):\n"
        "    stop, n = threading.Event(), 0\n"
        "    threading.stack_size(1 << 16)\n"
        "    try:\n"
        "        while n < 500:\n"
        "            threading.Thread(target=stop.wait, daemon=True).start(); n += 1\n"
        "    except RuntimeError: pass\n"
        "    stop.set()\n"
        "    return n\n"
    )
    outcome = sandbox.run(call(count), LIMITS)
    if not (sandbox.tier == T1B and os.getuid() == 0):  # the kernel exempts its own root
        [started] = outcome.results
        assert 2 <= started <= LIMITS.processes + OURS
    fork = "import os\ndef f(x):\n    os._exit(0) if os.fork() == 0 else None\n"
    assert sandbox.run(call(fork), LIMITS).status == ("ok" if sandbox.tier == T3 else "runtime")


def test_closed_and_deep_directories_are_gone_for_the_next_program(sandbox: ZygoteSandbox) -> None:
    if sandbox.tier == T2:
        pytest.skip("programs cannot write there")
    mess = (
        "import os\n"
        "def f(x):\n"
        "    os.mkdir('closed'); open('closed/file', 'w').close(); os.chmod('closed', 0)\n"
        "    os.symlink('/', 'link'); os.mkfifo('fifo')\n"
        "    for n in range(1500): os.mkdir('d'); os.chdir('d')\n"
        "    os.chmod('.', 0)\n"
    )
    assert sandbox.run(call(mess), LIMITS).status == "ok"
    look = "import os\ndef f(x): return os.listdir('.')"
    assert sandbox.run(call(look), LIMITS).results == ([],)


def test_the_files_a_program_is_given_leave_it_room_for_its_own(sandbox: ZygoteSandbox) -> None:
    if sandbox.tier not in (T1, T1B):
        pytest.skip("nothing there counts files")
    files = tuple((f"d{n // 100}/f{n}", "") for n in range(ENTRIES + 200))
    source = (
        "import os\nprint(sum(len(names) for _, _, names in os.walk('.')))\n"
        "try: open('own', 'w').close()\nexcept PermissionError: pass\n"
    )
    outcome = sandbox.run(Program(source, "stdio", ("",) * 2, files=files), LIMITS)
    assert outcome.results == (b"%d\n" % len(files),) * 2, outcome.reason
    look = "import os\ndef f(x): return os.listdir('.')"
    assert sandbox.run(call(look), LIMITS).results == ([],)


def test_scripts_of_one_program_share_no_file_and_no_module(sandbox: ZygoteSandbox) -> None:
    source = (
        "import json, os\nprint(os.listdir('.'), hasattr(json, 'mark'))\njson.mark = 1\n"
        "try: os.makedirs('a/b')\nexcept OSError: pass\n"
    )
    outcome = sandbox.run(Program(source, "stdio", ("",) * 4), LIMITS)
    assert outcome.results == (b"[] False\n",) * 4


def test_the_inputs_of_a_program_share_a_time_limit(sandbox: ZygoteSandbox) -> None:
    source = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    limits = Limits(cpu_s=1.0, total_cpu_s=0.5)
    outcome = sandbox.run(Program(source, "stdio", ("",) * 20), limits)
    assert outcome.status == "timeout"
    assert len(outcome.results) <= 3


# --- C++ --------------------------------------------------------------------------------------

TWICE = "#include <iostream>\nint main() { int a; std::cin >> a; std::cout << 2 * a << '\\n'; }"


def cpp(source: str, *inputs: str) -> Program:
    return Program(source, "stdio", inputs or ("1\n",), language="cpp")


@pytest.fixture(scope="module")
def compiling(sandbox: ZygoteSandbox) -> ZygoteSandbox:
    if sandbox.compiler is None:
        pytest.skip("no g++ on this machine")
    return sandbox


def test_cpp_is_compiled_once_and_run_on_every_input(compiling: ZygoteSandbox) -> None:
    first = compiling.run(cpp(TWICE, "1", "2", "3"), LIMITS)
    assert (first.status, first.results) == ("ok", (b"2\n", b"4\n", b"6\n"))
    again = compiling.run(cpp(TWICE, "4"), LIMITS)
    assert again.results == (b"8\n",)
    assert again.cpu_s < first.cpu_s / 4, "the binary was kept"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("int main() { return x; }", "runtime"),
        ("#include </etc/passwd>\nint main() {}", "runtime"),
        ("int main() { for (;;); }", "timeout"),
        ("int main() { int *p = 0; return *p; }", "runtime"),
        ("#include <cstdlib>\nint main() { abort(); }", "runtime"),
        ("#include <vector>\nint main() { std::vector<char> v(1u << 30, 1); }", "runtime"),
        ('#include <cstdio>\nint main() { for (;;) puts("xxxxxxxxxxxxxxxxxxxxxxxxx"); }', "output"),
        ("#include <unistd.h>\nint main() { return fork() < 0 ? 0 : 3; }", "ok"),
        ("#include <sys/socket.h>\nint main() { return socket(2, 1, 0) < 0 ? 0 : 3; }", "ok"),
        ('#include <cstdio>\nint main() { return fopen("/etc/passwd", "r") ? 3 : 0; }', "ok"),
    ],
)
def test_hostile_cpp_ends_as_it_should(source: str, status: str, compiling: ZygoteSandbox) -> None:
    if compiling.tier == T3 and status == "ok":
        pytest.skip("nothing there isolates")
    outcome = compiling.run(cpp(source), LIMITS)
    if compiling.tier == T3 and "passwd" in source:
        assert outcome.reason.startswith("compile error")
        return
    assert outcome.status == status, outcome
    assert compiling.run(cpp(TWICE, "4"), LIMITS).results == (b"8\n",)


def test_a_template_bomb_is_a_compile_error(compiling: ZygoteSandbox) -> None:
    if compiling.tier != T1:
        pytest.skip("ten seconds; the limit is the same in every tier")
    bomb = (
        "template<int n, int m> struct B {\n"
        "  static const int v = B<n - 1, m>::v + B<n - 1, m + 1>::v;\n};\n"
        "template<int m> struct B<0, m> { static const int v = 1; };\n"
        "int main() { return B<800, 0>::v; }"
    )
    outcome = compiling.run(cpp(bomb), LIMITS)
    assert (outcome.status, outcome.results) == ("runtime", ())
    assert outcome.reason.startswith("compile error")


def test_without_a_compiler_cpp_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *a, **k: None)
    sandbox = ZygoteSandbox()
    try:
        outcome = sandbox.run(cpp(TWICE), LIMITS)
        assert outcome.status == "infra"
        assert "g++" in outcome.reason
    finally:
        sandbox.close()


# --- choosing ---------------------------------------------------------------------------------


def test_a_tier_is_called_by_its_short_name() -> None:
    assert [full_name(name) for name in ("T1", "T1b", "T2", T3)] == [T1, T1B, T2, T3]


def test_an_unknown_tier_is_an_error_that_lists_them() -> None:
    with pytest.raises(ConfigError, match=r"T9.*\n.*T1-namespaces"):
        full_name("T9")


def test_the_environment_names_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_SANDBOX", "http://localhost:1")
    default_sandbox.cache_clear()
    try:
        found = default_sandbox()
        assert isinstance(found, FusionSandbox)
        outcome: Outcome = found.run(call("def f(x): return x"), LIMITS)
        assert outcome.status == "infra"
    finally:
        default_sandbox.cache_clear()


def test_no_scratch_directory_outlives_its_sandbox(sandbox: ZygoteSandbox) -> None:
    def scratch() -> set[str]:
        return {name for name in os.listdir("/tmp") if name.startswith(f"cascade-{os.getpid()}-")}

    before = scratch()
    again = ZygoteSandbox(sandbox.tier, allow_unsafe=True)
    assert again.run(call("def f(x): return x"), LIMITS).status == "ok"
    assert len(scratch() - before) == (again.tier in (T2, T3))
    again.close()
    assert scratch() == before


def test_inputs_that_sleep_share_a_limit_too(sandbox: ZygoteSandbox) -> None:
    source = "import time\ntime.sleep(0.5)"
    limits = Limits(cpu_s=1.0, total_cpu_s=1.0)
    outcome = sandbox.run(Program(source, "stdio", ("",) * 20), limits)
    assert outcome.status == "timeout"
    assert len(outcome.results) <= 4


def test_a_run_ends_when_no_more_is_wanted(sandbox: ZygoteSandbox) -> None:
    seen: list[int] = []

    def wanted(index: int, result: bytes) -> bool:
        seen.append(index)
        return result != b"5\n"

    program = Program("print(input())", "stdio", tuple(f"{n}\n" for n in range(40)))
    outcome = sandbox.run(program, LIMITS, wanted)
    assert outcome.status == "ok"
    assert outcome.results == tuple(f"{n}\n".encode() for n in range(8))
    assert seen == [0, 1, 2, 3, 4, 5]
    everything = sandbox.run(program, LIMITS, lambda index, result: True)
    assert len(everything.results) == 40
