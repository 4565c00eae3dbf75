"""The trusted side of the zygote: start it, send a program, read what came of it.

One `ZygoteSandbox` serves one process and is safe to share between its threads. A zygote that
dies or stops answering is replaced; the run that met it is repeated once, then is `infra`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cascade_rl.errors import ConfigError
from cascade_rl.sandbox import bubblewrap
from cascade_rl.sandbox.base import Language, Limits, Outcome, Program, Sandbox, Wanted
from cascade_rl.sandbox.selftest import Finding, examine
from cascade_rl.sandbox.tiers import T1B, T3, TIERS
from cascade_rl.sandbox.values import NotPlain, decode, encode

_PACKAGE = Path(__file__).resolve().parent.parent
# Bare stand-ins for the packages: what their __init__ imports stays out of the zygote.
_BOOTSTRAP = """
import sys, types
for name, path in (("cascade_rl", {path!r}), ("cascade_rl.sandbox", {path!r} + "/sandbox")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
from cascade_rl.sandbox.zygote import main
main({fd}, {tier!r}, {compiler!r})
"""
_GRACE_S, _COMPILE_GRACE_S = 10.0, 120.0
TIER_VARIABLE, UNSAFE_VARIABLE = "CASCADE_SANDBOX", "CASCADE_SANDBOX_ALLOW_UNSAFE"
"""Environment variables: a tier or the URL of a SandboxFusion service; 1 to let T3 run."""


class ZygoteLost(Exception):
    """The zygote died or stopped answering; never the program's doing."""


class TierRefused(ConfigError):
    """This machine does not form that tier; the message says what failed."""


class ZygoteSandbox:
    """Runs programs in clones of one warm process.

    `tier` is one of `tiers.TIERS`, its short form (`T2`), or `auto`: the first that this machine
    forms and whose self-test holds. In T3, which only bounds programs, nothing is run unless
    `allow_unsafe`; outcomes are then `infra`.
    """

    def __init__(self, tier: str = "auto", *, allow_unsafe: bool = False) -> None:
        self._wanted = TIERS if tier == "auto" else (full_name(tier),)
        self._allow_unsafe = allow_unsafe
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._owner = os.getpid()
        self._tier = ""
        self.refused: dict[str, str] = {}
        self.findings: tuple[Finding, ...] = ()
        self.compiler = shutil.which("g++", path="/usr/bin:/bin")

    @property
    def tier(self) -> str:
        """The tier in use; starts the zygote to find out. Raises TierRefused where there is none.

        `findings` then holds what the self-test saw, `refused` why better tiers were not taken.
        """
        with self._lock:
            self._ensure_started()
        return self._tier

    @property
    def refusal(self) -> str:
        """Why no program is run here; empty where programs are."""
        if self.tier != T3 or self._allow_unsafe:
            return ""
        return f"tier {T3} isolates nothing, it only bounds programs"

    def missing(self, language: Language) -> str:
        """Why a program in this language cannot be run; empty where it can."""
        if language == "cpp" and self.compiler is None:
            return "there is no C++ compiler: g++ is not in /usr/bin"
        return ""

    def run(self, program: Program, limits: Limits, wanted: Wanted | None = None) -> Outcome:
        """Run every input in turn until one does not end well. Never raises for the program.

        A run that used up its processor time is a time-out at once. One that waited too long
        is tried once more with twice the wall clock, so that a busy machine decides nothing.
        """
        outcome = self._run(program, limits, limits.wall_s, wanted)
        if outcome.status == "timeout" and outcome.reason.startswith("waited"):
            outcome = self._run(program, limits, 2 * limits.wall_s, wanted)
        return outcome

    def _run(
        self, program: Program, limits: Limits, wall_s: float, wanted: Wanted | None
    ) -> Outcome:
        request = {**_request(program, limits, wall_s), "asks": wanted is not None}
        lost = ""
        for _attempt in range(2):
            with self._lock:
                try:
                    self._ensure_started()
                    if self._tier == T3 and not self._allow_unsafe:
                        lost = f"tier {T3} is unsafe; allow it with {UNSAFE_VARIABLE}=1"
                        break
                    return self._exchange(program, request, wanted)
                except TierRefused as error:
                    lost = str(error)
                    break
                except (ZygoteLost, OSError) as error:
                    lost = str(error)
                    self._stop()
        return Outcome("infra", (), f"sandbox: {lost}", tier=self._tier)

    def _exchange(
        self, program: Program, request: dict[str, Any], wanted: Wanted | None = None
    ) -> Outcome:
        channel = self._channel
        assert channel is not None
        longest = max(request["wall_s"], 10 * request["cpu_s"] + 5)
        grace = _GRACE_S + (_COMPILE_GRACE_S if program.language == "cpp" else 0)
        deadline = time.monotonic() + len(program.inputs) * longest + grace
        _send_frame(channel, request, deadline)
        asked = 0
        while "asked" in (reply := _receive_frame(channel, deadline)):
            results = [text.encode("latin-1") for text in reply["asked"]]
            assert wanted is not None
            go_on = all(wanted(asked + n, result) for n, result in enumerate(results))
            asked += len(results)
            _send_frame(channel, {"go_on": go_on}, deadline)
        if "ended" in reply:
            raise ZygoteLost(f"the program's init ended with status {reply['ended']}")
        return _outcome(program, reply, self._tier)

    def _ensure_started(self) -> None:
        if self._owner != os.getpid():  # forked: the socket belongs to the parent
            self._process, self._channel, self._owner = None, None, os.getpid()
        if self._process is not None:
            return
        # After the first start the tier is settled; a replacement is not examined again.
        for tier in (self._tier,) if self._tier else self._wanted:
            reason = self._try(tier, examined=bool(self._tier))
            if not reason:
                atexit.register(self.close)
                self._tier = tier
                return
            self.refused[tier] = reason
        raise TierRefused("; ".join(f"{tier}: {why}" for tier, why in self.refused.items()))

    def _try(self, tier: str, *, examined: bool) -> str:
        """Start a zygote in that tier and attack it; why it will not do, or an empty string."""
        reason = self._start(tier)
        if not reason and not examined and tier != T3:
            self.findings = examine(lambda program, limits: self._once(program, limits, tier))
            reason = ", ".join(
                f"a program could {f.attack} ({f.detail})" for f in self.findings if not f.held
            )
        if reason:
            self._stop()
        return reason

    def _once(self, program: Program, limits: Limits, tier: str) -> Outcome:
        try:
            return self._exchange(program, _request(program, limits, limits.wall_s))
        except (ZygoteLost, OSError) as error:
            return Outcome("infra", (), str(error), tier=tier)

    def _start(self, tier: str) -> str:
        """Start a zygote in that tier; why it refused, or an empty string."""
        ours, theirs = socket.socketpair()
        code = _BOOTSTRAP.format(
            path=str(_PACKAGE), fd=theirs.fileno(), tier=tier, compiler=self.compiler
        )
        command = [sys.executable, "-I", "-S", "-c", code]
        if tier == T1B:
            bwrap = shutil.which("bwrap")
            if bwrap is None:
                ours.close()
                theirs.close()
                return "bubblewrap is not installed"
            compiles = self.compiler is not None
            command = bubblewrap.command(bwrap, str(_PACKAGE), command, compiles=compiles)
        self._process = subprocess.Popen(
            command,
            env={"LD_BIND_NOW": "1"},  # symbols are looked up once, not in every fork
            cwd="/",
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._channel = ours
        try:
            return str(_receive_frame(ours, time.monotonic() + 60).get("refused", ""))
        except (ZygoteLost, OSError) as error:
            return str(error)

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()  # the zygote then ends its init, tidies up and ends
        if self._process is not None and self._owner == os.getpid():
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._channel = self._process = None

    def close(self) -> None:
        """End the zygote and everything under it; a later run starts a new one."""
        with self._lock:
            if self._owner == os.getpid():
                self._stop()
        atexit.unregister(self.close)


def _request(program: Program, limits: Limits, wall_s: float) -> dict[str, Any]:
    inputs = program.inputs
    if program.kind == "call":
        inputs = tuple(encode(a if type(a) is dict else tuple(a)) for a in inputs)
    return {
        "kind": program.kind,
        "language": program.language,
        "asks": False,
        "source": program.source,
        "inputs": inputs,
        "entry_point": program.entry_point,
        "setup": program.setup,
        "files": program.files,
        "importable": program.importable,
        "cpu_s": limits.cpu_s,
        "total_cpu_s": limits.total_cpu_s,
        "wall_s": wall_s,
        "memory_mb": limits.memory_mb,
        "output_bytes": limits.output_bytes,
        "disk_mb": limits.disk_mb,
        "processes": limits.processes,
    }


def _outcome(program: Program, reply: dict[str, Any], tier: str) -> Outcome:
    status, reason, results = reply["status"], reply["reason"], []
    for text in reply["results"]:
        if program.kind == "stdio":
            results.append(text.encode("latin-1"))
            continue
        try:
            results.append(decode(text))
        except NotPlain as error:
            status, reason = "violation", f"forged result: {error}"
            break
    return Outcome(status, tuple(results), reason, reply["cpu_s"], reply["wall_s"], tier)


def _send_frame(channel: socket.socket, message: Any, deadline: float) -> None:
    body = json.dumps(message).encode("ascii")
    channel.settimeout(max(deadline - time.monotonic(), 0.01))
    channel.sendall(len(body).to_bytes(8, "big") + body)


def _receive_frame(channel: socket.socket, deadline: float) -> dict[str, Any]:
    size = int.from_bytes(_receive_exactly(channel, 8, deadline), "big")
    message = json.loads(_receive_exactly(channel, size, deadline))
    assert isinstance(message, dict)
    return message


def _receive_exactly(channel: socket.socket, count: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < count:
        channel.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            part = channel.recv(min(count - len(data), 1 << 20))
        except TimeoutError:
            raise ZygoteLost("no answer before the deadline") from None
        if not part:
            raise ZygoteLost("the zygote ended")
        data += part
    return bytes(data)


def full_name(tier: str) -> str:
    """`T2-landlock` for `T2`; ConfigError for what is no tier."""
    for name in TIERS:
        if tier in (name, name.split("-")[0]):
            return name
    raise ConfigError(
        f"{TIER_VARIABLE}={tier}: no tier is called that",
        hint=f"expected auto, a URL, or one of: {', '.join(TIERS)}",
    )


@functools.cache
def default_sandbox() -> Sandbox:
    """The one sandbox of this process, as the environment says; started at the first program."""
    return new_sandbox()


def new_sandbox() -> Sandbox:
    """Another such sandbox, for programs that run beside those of the default one."""
    wanted = os.environ.get(TIER_VARIABLE, "auto")
    if wanted.startswith(("http://", "https://")):
        from cascade_rl.sandbox.fusion import FusionSandbox  # httpx: only where it is used

        return FusionSandbox(wanted)
    return ZygoteSandbox(wanted, allow_unsafe=os.environ.get(UNSAFE_VARIABLE) == "1")
