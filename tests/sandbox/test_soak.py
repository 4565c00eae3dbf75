"""Hostile programs in a row: afterwards the machine is as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest

from cascade_rl.sandbox import Limits, Program
from cascade_rl.sandbox.client import TierRefused, ZygoteSandbox
from cascade_rl.sandbox.tiers import T3, TIERS

CASES = Path(__file__).resolve().parents[1] / "cases"
ATTACKS = [json.loads(line) for line in (CASES / "sandbox_attacks.jsonl").read_text().splitlines()]
LIMITS = Limits(cpu_s=0.05, memory_mb=128)


def state() -> tuple[int, list[str], int, list[str], int]:
    """Mounts, our scratch directories, cgroups, shared memory of strangers, our descriptors.

    What other tests do meanwhile does not count.
    """
    mounts = len(Path("/proc/self/mounts").read_text().splitlines())
    scratch = [name for name in os.listdir("/tmp") if name.startswith(f"cascade-{os.getpid()}-")]
    groups = sum(len(folders) for _, folders, _ in os.walk("/sys/fs/cgroup"))
    shared = [entry.name for entry in os.scandir("/dev/shm") if is_strange(entry)]
    return mounts, scratch, groups, shared, len(os.listdir("/proc/self/fd"))


def is_strange(entry: os.DirEntry[str]) -> bool:
    """Whether a file belongs to a user that a sandbox may have been given.

    Self-tests that run beside this one write and remove canaries.
    """
    try:
        owner = entry.stat(follow_symlinks=False).st_uid
    except FileNotFoundError:
        return False
    return owner not in (0, os.getuid()) and not entry.name.startswith("canary-")


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def soak(tier: str, programs: int) -> None:
    before = state()
    sandbox = ZygoteSandbox(tier, allow_unsafe=True)
    try:
        sandbox.tier  # noqa: B018
    except TierRefused as why:
        pytest.skip(f"this machine does not form the tier: {why}")
    cases = [case for case in ATTACKS if "everyone" not in case["name"] or tier != T3]
    try:
        memory, members = 0, 0
        for n in range(programs):
            case = cases[n % len(cases)]
            inputs = ("",) if case["kind"] == "stdio" else ((1,),)
            source = f"{case['source']}\n# {n}"
            sandbox.run(Program(source, case["kind"], inputs, entry_point="f"), LIMITS)
            if n == programs // 4:
                memory, members = measured(sandbox)
        after, left = measured(sandbox)
    finally:
        sandbox.close()
    assert left == members
    assert after < 1.1 * memory + (4 << 20)
    assert state() == before


def measured(sandbox: ZygoteSandbox) -> tuple[int, int]:
    """Resident bytes of what the sandbox keeps running, and how many processes that is."""
    outcome = sandbox.run(Program("def f(x): return x", "call", ((1,),), entry_point="f"), LIMITS)
    assert outcome.results == (1,), outcome
    assert sandbox._process is not None
    kept = family(psutil.Process(sandbox._process.pid))
    return sum(process.memory_full_info().uss for process in kept), len(kept)


@pytest.mark.parametrize("tier", TIERS)
def test_hostile_programs_in_a_row_leave_nothing(tier: str) -> None:
    soak(tier, 120)


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_two_thousand_hostile_programs_leave_nothing(tier: str) -> None:
    soak(tier, 2000)
