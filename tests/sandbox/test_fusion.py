"""SandboxFusion: the same outcomes from a service that speaks its API."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.sandbox import Limits, Program
from cascade_rl.sandbox.fusion import FusionSandbox

LIMITS = Limits(cpu_s=0.5)


def run_code(request: dict[str, Any]) -> dict[str, Any]:
    """`/run_code` as the service answers it: files, stdin, a time limit, Python and C++."""
    if "service breaks" in request["code"]:
        return {"status": "SandboxError", "message": "no pod", "run_result": None}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in request["files"].items():
            (Path(folder) / name).write_bytes(base64.b64decode(content))
        command, compiled = [sys.executable, "main.py"], None
        (Path(folder) / "main.py").write_text(request["code"], encoding="utf-8")
        if request["language"] == "cpp":
            (Path(folder) / "main.cpp").write_text(request["code"], encoding="utf-8")
            compiled = finished(["g++", "main.cpp", "-o", "main"], folder, "", 60)
            if compiled["return_code"]:
                return {"status": "Failed", "compile_result": compiled, "run_result": None}
            command = ["./main"]
        run = finished(command, folder, request["stdin"], request["run_timeout"])
    status = "Success" if run["return_code"] == 0 else "Failed"
    return {"status": status, "message": "", "compile_result": compiled, "run_result": run}


def finished(command: list[str], folder: str, stdin: str, timeout: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            command, cwd=folder, input=stdin, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return {"status": "TimeLimitExceeded", "return_code": None, "stdout": "", "stderr": ""}
    return {
        "status": "Finished",
        "return_code": done.returncode,
        "stdout": done.stdout,
        "stderr": done.stderr,
    }


class Service(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(run_code(request)).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def fusion() -> Iterator[FusionSandbox]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield FusionSandbox(f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    thread.join()
    server.server_close()


def script(source: str, *inputs: str, language: Any = "python") -> Program:
    return Program(source, "stdio", inputs or ("",), language=language)


def test_scripts_run_once_an_input(fusion: FusionSandbox) -> None:
    outcome = fusion.run(script("print(int(input()) * 2)", "1", "2"), LIMITS)
    assert (outcome.status, outcome.results, outcome.tier) == ("ok", (b"2\n", b"4\n"), "fusion")


def test_calls_return_exact_types(fusion: FusionSandbox) -> None:
    source = "print('noise')\ndef f(x): return [x, (True, 1.0, None)]"
    outcome = fusion.run(Program(source, "call", ((1,), ("é",)), entry_point="f"), LIMITS)
    assert outcome.results == ([1, (True, 1.0, None)], ["é", (True, 1.0, None)])


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("1 / 0", "runtime"),
        ("raise MemoryError", "memory"),
        ("while True: pass", "timeout"),
        ("print('x' * (2 << 20))", "output"),
        ("# service breaks", "infra"),
    ],
)
def test_what_a_script_does_is_its_outcome(source: str, status: str, fusion: FusionSandbox) -> None:
    assert fusion.run(script(source), LIMITS).status == status


def test_a_call_that_ends_early_has_no_result(fusion: FusionSandbox) -> None:
    source = "import os\ndef f(x):\n    os._exit(0)"
    outcome = fusion.run(Program(source, "call", ((1,),), entry_point="f"), LIMITS)
    assert (outcome.status, outcome.results) == ("runtime", ())


def test_a_forged_result_is_a_violation(fusion: FusionSandbox) -> None:
    source = "print(chr(31) + 'cascade:nonsense')\ndef f(x): return 1"
    assert fusion.run(Program(source, "call", ((1,),), entry_point="f"), LIMITS).status in (
        "violation",
        "runtime",
    )


def test_cpp_and_its_compile_errors(fusion: FusionSandbox) -> None:
    good = '#include <cstdio>\nint main() { puts("7"); }'
    assert fusion.run(script(good, language="cpp"), LIMITS).results == (b"7\n",)
    outcome = fusion.run(script("int main() { return x; }", language="cpp"), LIMITS)
    assert outcome.reason.startswith("compile error")


def test_test_code_is_not_sent_where_it_cannot_be_kept_apart(fusion: FusionSandbox) -> None:
    outcome = fusion.run(Program("def f(x): return x", "assert", ("assert f(1)",)), LIMITS)
    assert outcome.status == "infra"
