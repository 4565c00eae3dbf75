"""Programs run by a SandboxFusion service, for those who keep one: `CASCADE_SANDBOX=http://...`.

Expected values stay here, as with our own sandbox. What the service cannot keep apart is not
sent: kind `assert` needs two processes that cannot reach each other, and is `infra`.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import httpx

from cascade_rl.sandbox.base import Language, Limits, Outcome, OutcomeStatus, Program, Wanted
from cascade_rl.sandbox.values import NotPlain, decode, encode

TIER = "fusion"
_TRIES = 3
_VALUES = Path(__file__).with_name("values.py")
_MARK = "\x1fcascade:"
_HARNESS = """\
import sys, types
from cascade_values import NotPlain, decode, encode
module = types.ModuleType("candidate")
sys.modules["candidate"] = module
with open("candidate_source.py", encoding="utf-8") as file:
    exec(compile(file.read(), "program.py", "exec"), module.__dict__)
name = {entry_point!r}
target = getattr(module, name, None)
if target is None and hasattr(module, "Solution"):
    target = getattr(module.Solution(), name)
for arguments in {inputs!r}:
    value = target(*decode(arguments))
    print({mark!r} + encode(value), flush=True)
"""


class FusionSandbox:
    """A `Sandbox` over HTTP. A service that does not answer makes outcomes `infra`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/run_code"

    @property
    def tier(self) -> str:
        """`fusion`: how well it isolates is the service's own affair."""
        return TIER

    @property
    def refusal(self) -> str:
        """Empty: programs are run."""
        return ""

    def missing(self, language: Language) -> str:
        """Empty: the service has both."""
        return ""

    def run(self, program: Program, limits: Limits, wanted: Wanted | None = None) -> Outcome:
        """Run every input in turn until one does not end well. Never raises for the program."""
        started = time.monotonic()
        if program.kind == "assert":
            return Outcome("infra", (), "SandboxFusion cannot run test code apart", tier=TIER)
        status: OutcomeStatus = "ok"
        reason, results = "", []
        with httpx.Client() as client:
            for request in _requests(program, limits):
                status, reason, found = self._one(client, program, limits, request)
                results += found
                if status != "ok" or (wanted and not wanted(len(results) - 1, results[-1])):
                    break
        wall = time.monotonic() - started
        return Outcome(status, tuple(results), reason, 0.0, wall, TIER)

    def _one(
        self, client: httpx.Client, program: Program, limits: Limits, request: dict[str, Any]
    ) -> tuple[OutcomeStatus, str, list[Any]]:
        try:
            reply = self._post(client, request)
            status, reason, stdout = _outcome(reply, limits)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return "infra", f"SandboxFusion: {type(error).__name__}: {error}", []
        if program.kind == "stdio":
            return status, reason, [stdout.encode()] if status == "ok" else []
        lines = [line for line in stdout.splitlines() if line.startswith(_MARK)]
        try:
            found = [decode(line.removeprefix(_MARK)) for line in lines[: len(program.inputs)]]
        except NotPlain as error:
            return "violation", f"forged result: {error}", []
        if status == "ok" and len(found) < len(program.inputs):
            return "runtime", "ended without a result", found
        return status, reason, found

    def _post(self, client: httpx.Client, request: dict[str, Any]) -> Any:
        """The reply's JSON; a busy or failing service is asked again."""
        for attempt in range(_TRIES):
            try:
                wait = request["run_timeout"] + request["compile_timeout"] + 30
                return client.post(self._url, json=request, timeout=wait).raise_for_status().json()
            except (httpx.HTTPError, ValueError):
                if attempt + 1 == _TRIES:
                    raise
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("the last try returns or raises")


def _requests(program: Program, limits: Limits) -> list[dict[str, Any]]:
    """One request a script's input, one for all calls."""
    files = {path: _base64(text) for path, text in program.files}
    common: dict[str, Any] = {
        "language": program.language,
        "compile_timeout": 20.0,
        "memory_limit_MB": limits.memory_mb,
        "files": files,
        "fetch_files": [],
    }
    if program.kind == "stdio":
        run = {"code": program.source, "run_timeout": limits.wall_s}
        return [{**common, **run, "stdin": text} for text in program.inputs]
    inputs = [encode(tuple(arguments)) for arguments in program.inputs]
    code = _HARNESS.format(entry_point=program.entry_point, inputs=inputs, mark=_MARK)
    files["cascade_values.py"] = _base64(_VALUES.read_text(encoding="utf-8"))
    files["candidate_source.py"] = _base64(program.source)
    timeout = min(limits.wall_s * len(inputs), 1.5 * limits.total_cpu_s)
    return [{**common, "code": code, "stdin": "", "run_timeout": timeout}]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def _outcome(reply: Any, limits: Limits) -> tuple[OutcomeStatus, str, str]:
    """The status, reason and stdout of one reply. Raises for one that is no such reply."""
    if reply["status"] == "SandboxError":
        raise ValueError(f"sandbox error: {reply.get('message', '')}")
    compiled = reply.get("compile_result")
    if compiled and (compiled["status"] != "Finished" or compiled["return_code"]):
        return "runtime", f"compile error: {compiled['stderr'][:2000]}", ""
    run = reply["run_result"]
    stdout = run["stdout"] or ""
    if run["status"] == "TimeLimitExceeded":
        return "timeout", f"ran past {limits.wall_s:g} s", stdout
    if run["status"] != "Finished":
        raise ValueError(f"run status {run['status']!r}")
    if len(stdout.encode("utf-8", "surrogatepass")) > limits.output_bytes:
        return "output", f"wrote more than {limits.output_bytes} bytes", ""
    if run["return_code"]:
        error = (run["stderr"] or "").strip().splitlines()[-1:]
        if error and error[0].startswith("MemoryError"):
            return "memory", f"needed more than {limits.memory_mb} MB", stdout
        return "runtime", error[0][:500] if error else f"exit {run['return_code']}", stdout
    return "ok", "", stdout
