"""`cascade doctor`: whether this machine can run a cascade, and how fast and how safely.

torch is asked in a process of its own: an import that crashes is a finding, not our end.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Literal

from cascade_rl.cli.common import console

Mark = Literal["ok", "note", "fail"]
Finding = tuple[Mark, str]
FREE_GB = 2.0
_ASK_TORCH = (
    "import torch; print(torch.__version__, torch.cuda.get_device_name(0) "
    "if torch.cuda.is_available() else 'cpu', torch.get_num_threads(), sep='|')"
)


def doctor() -> int:
    """Check Python, torch, device, threads, sandbox, disk and Chromium; exit 1 where one fails."""
    checks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "torch": _torch,
        "transformers": lambda: _package("transformers"),
        "verl": lambda: _package("verl", needed=False),
        "threads": _threads,
        "sandbox": _sandbox,
        "c++": _compiler,
        "disk": _disk,
        "chromium": _chromium,
    }
    screen = console()
    worst = 0
    for name, check in checks.items():
        mark, text = check()
        color = {"ok": "green", "note": "yellow", "fail": "red"}[mark]
        screen.print(f"[{color}]{mark:4}[/{color}]  {name:13}", end="")
        screen.print(text, markup=False)
        worst |= mark == "fail"
    return int(worst)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if platform.system() != "Linux":
        return "fail", f"{found}; the sandbox and the store's lock need Linux"
    return "ok", found


def _torch() -> Finding:
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK_TORCH], capture_output=True, text=True
    )
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or [f"died with {asked.returncode}"])[-1]
        return "fail", f"{reason}; reinstall with  make install"
    found, device, threads = asked.stdout.strip().split("|")
    return "ok", f"{found}, device {device}, {threads} threads by default"


def _package(name: str, *, needed: bool = True) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return "ok", version(name)
    except PackageNotFoundError:
        if needed:
            return "fail", "not installed; run  make install"
        return "note", "not installed; the cluster engine needs it:  make install-verl"


def _threads() -> Finding:
    cores = len(os.sched_getaffinity(0))
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    text = f"{cores} cores, OMP_WAIT_POLICY {policy}"
    if policy.upper() != "PASSIVE":
        return "note", f"{text}; on a busy machine set OMP_WAIT_POLICY=PASSIVE"
    return "ok", text


def _sandbox() -> Finding:
    from cascade_rl.sandbox.client import TierRefused, ZygoteSandbox, default_sandbox
    from cascade_rl.sandbox.tiers import T1, T3

    sandbox = default_sandbox()
    if not isinstance(sandbox, ZygoteSandbox):
        return "note", f"{sandbox.tier}: programs are sent to {os.environ['CASCADE_SANDBOX']}"
    try:
        tier = sandbox.tier
    except TierRefused as error:
        return "fail", f"no program can be run: {error}"
    finally:
        sandbox.close()
    better = [f"{name} is not formed: {why}" for name, why in sandbox.refused.items()]
    held = ", ".join(finding.attack for finding in sandbox.findings)
    lines = [f"{tier}: the self-test's programs could not {held}", *better]
    if tier != T1:
        lines += [f"to raise it: {hint}" for name, hint in RAISE.items() if name in sandbox.refused]
    if tier == T3:
        lines[0] = f"{tier}: isolates nothing; programs run only with allow_unsafe_sandbox"
    return ("ok" if tier == T1 else "note"), ("\n" + " " * 19).join(lines)


RAISE = {
    "T1-namespaces": "allow user namespaces: sysctl -w user.max_user_namespaces=10000 "
    "kernel.apparmor_restrict_unprivileged_userns=0; in Docker --security-opt seccomp=unconfined",
    "T1b-bubblewrap": "install bubblewrap:  apt install bubblewrap",
    "T2-landlock": "a kernel with Landlock ABI 6 (Linux 6.12), booted with lsm=landlock,...",
}


def _compiler() -> Finding:
    found = shutil.which("g++", path="/usr/bin:/bin")
    if found is None:
        return "note", "no g++ in /usr/bin; problems in C++ need it:  apt install g++"
    return "ok", found


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 1e9
    text = f"{free:.1f} GB free here"
    return ("ok", text) if free >= FREE_GB else ("fail", f"{text}; mini needs {FREE_GB:.0f} GB")


def _chromium() -> Finding:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        return "note", "absent; only the test of the report needs it:  apt install chromium"
    return "ok", found
