"""`cascade eval` on real rows, with a server whose answers are known: the known scores, exactly.

    python -m benchmarks.evaluation [--data ../shared/data] [--only NAME ...] [--kills 10]

Every problem of every file is asked. AIME 2024 and 2025, MATH-500, GSM8K, HumanEval, MBPP and
CodeContests are answered right or wrong by a rule; IFEval and IFBench with answers whose verdicts
others recorded, and with nothing, which follows no instruction, where there are none. The server
fails the first try of one request in five, and the command is killed again and again before it
may end. Then the mini start model answers the same files, once left alone and once killed again
and again: its scores must be the same. Exit status 1 where a score is not the known one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cascade_rl.chat import harmless
from cascade_rl.evaluation.suite import SUITE
from cascade_rl.types import Answer, Problem, StdioTest, Tests

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "aime24": "math/deepscaler_aime.json",
    "aime25": "math/aime25.jsonl",
    "math500": "math/deepscaler_math500.json",
    "gsm8k": "math/gsm8k_test.jsonl",
    "humaneval": "code/HumanEval.jsonl.gz",
    "mbpp": "code/mbpp_sanitized.json",
    "code_contests": "code/sf_code_contests.jsonl",
}
RECORDED = {
    "ifeval": ("if/ifeval_input_data.jsonl", "if/mifeval_en_model_verdicts.jsonl"),
    "ifbench": ("if/ifbench_test.jsonl", "if/ifbench_sample_verdicts.jsonl"),
}
"""The benchmark, and answers to it with the verdicts that others recorded."""
K = 2
UNLIKE = {"ifeval": {555, 780}, "ifbench": {138}}
"""Rows whose recorded strict verdict is not ours; `docs/verifiers.md` says why, row by row."""


@dataclass(frozen=True)
class Known:
    """A benchmark's file, what the server says to each prompt, and the score that must come out."""

    name: str
    file: Path
    texts: Mapping[str, Sequence[str]]
    score: float


def is_right(index: int, sample: int) -> bool:
    """Two thirds of the problems are solved, not always in both samples."""
    return (index * 7 + sample * 5) % 3 != 0


def by_rule(name: str, file: Path) -> Known:
    """A benchmark whose right and wrong answers can be written down."""
    problems = SUITE[name].read(str(file))
    texts = {
        prompt_of(problem): [answer_to(problem, is_right(i, s)) for s in range(K)]
        for i, problem in enumerate(problems)
    }
    right = [is_right(i, s) for i in range(len(problems)) for s in range(K)]
    return Known(name, file, texts, sum(right) / len(right))


def prompt_of(problem: Problem) -> str:
    """The last turn as a server gets it."""
    return harmless(problem.prompt[-1].content)


def answer_to(problem: Problem, right: bool) -> str:
    """A right answer or a wrong one."""
    reference = problem.reference
    if isinstance(reference, Answer):
        return f"So it is \\boxed{{{reference.text if right else -271828}}}."
    assert isinstance(reference, Tests)
    program = "print('?')"
    if right and "solution" in problem.extra:
        program = str(problem.extra["solution"])
    elif right:
        cases = {case.input: case.output for case in reference.cases if isinstance(case, StdioTest)}
        program = f"import sys\nprint({cases!r}[sys.stdin.read()], end='')"
    return f"```python\n{program}\n```"


def recorded(name: str, file: Path, verdicts: Path) -> Known:
    """A benchmark answered as recorded; an answer of nothing, where none is, follows nothing."""
    said: dict[str, list[tuple[str, bool]]] = {}
    for index, line in enumerate(verdicts.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        if index not in UNLIKE[name]:
            held = all(row["strict"])
            said.setdefault(row["prompt"].strip(), []).append((row["response"], held))
    texts, held, real = {}, [], 0
    for problem in SUITE[name].read(str(file)):
        answers = said.get(problem.prompt[-1].content.strip(), [])[:K]
        real += len(answers)
        answers += [("", False)] * (K - len(answers))
        texts[prompt_of(problem)] = [text for text, _ in answers]
        held += [verdict for _, verdict in answers]
    print(f"     {name}: {real} of {len(held)} answers have a recorded verdict")
    return Known(name, file, texts, sum(held) / len(held))


@contextmanager
def served(known: Sequence[Known]) -> Iterator[tuple[str, Callable[[], int]]]:
    """A server of all answers that fails the first try of one request in five; and its count."""
    texts: dict[str, Sequence[str]] = {}
    for one in known:
        texts |= one.texts
    tried: set[str] = set()
    lock = threading.Lock()
    asked = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal asked
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(raw)
            key = hashlib.sha256(raw).hexdigest()
            with lock:
                asked += 1
                fails = int(key, 16) % 5 == 0 and key not in tried
                tried.add(key)
            thinking = body.get("chat_template_kwargs", {}).get("enable_thinking")
            sample = body["seed"] - 1
            message = {
                "content": texts[body["messages"][-1]["content"]][sample],
                "reasoning_content": "I think." if thinking else "",
            }
            found = {"choices": [{"message": message, "finish_reason": "stop"}],
                     "usage": {"completion_tokens": 9}}  # fmt: skip
            sent = b"later" if fails else json.dumps(found).encode()
            self.send_response(503 if fails else 200)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # whoever asked was killed
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", lambda: asked
    finally:
        server.shutdown()
        server.server_close()


def killed_until(command: Sequence[str], kills: int, progress: Callable[[], int]) -> str:
    """What the command prints once it may end, after so many SIGKILLs at random moments."""
    draw = random.Random(0)
    for kill in range(kills + 1):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              start_new_session=True) as process:  # fmt: skip
            if kill == kills:
                said, _ = process.communicate()
                if process.returncode:
                    sys.exit(f"error: the command ended with status {process.returncode}")
                return said
            begun, more = progress(), draw.randrange(20, 700)
            while process.poll() is None and progress() < begun + more:
                time.sleep(0.02)
            if process.poll() is None:
                time.sleep(draw.uniform(0.0, 2.0))
                os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError


def cascade(*arguments: object) -> list[str]:
    """The command line of this project."""
    return [sys.executable, "-m", "cascade_rl.cli", *map(str, arguments)]


def measured(known: Sequence[Known], folder: Path, kills: int) -> int:
    """How many scores are not the known ones."""
    with served(known) as (url, asked):
        command = cascade("eval", "scripted", "--endpoint", url, *files_of(known), "--out",
                          folder / "kept", "--k", K, "--json", "--concurrency", 32)  # fmt: skip
        found = scores_in(killed_until(command, kills, asked))
        sent = sum(len(texts) for one in known for texts in one.texts.values())
        print(f"{asked()} requests for {sent} answers, after {kills} kills")
    wrong = 0
    for one in known:
        wrong += not same("", one.name, found[one.name], len(one.texts), one.score)
    return wrong


def with_mini(known: Sequence[Known], folder: Path, kills: int) -> int:
    """How many scores of the mini start model depend on whether the command was killed."""
    from cascade_rl.mini.model import build_model

    model = folder / "mini"
    build_model(model, 0)

    def command(out: Path) -> list[str]:
        return cascade("eval", model, *files_of(known), "--k", 1, "--max-new-tokens", 32,
                       "--yarn-factor", 16, "--out", out, "--json")  # fmt: skip

    def judged() -> int:
        return sum(len(path.read_bytes().splitlines()) for path in killed.glob("*.jsonl"))

    killed = folder / "mini-killed"
    alone = scores_in(killed_until(command(folder / "mini-alone"), 0, judged))
    found = scores_in(killed_until(command(killed), kills, judged))
    wrong = 0
    for one in known:
        score = alone[one.name]["mean"]
        wrong += not same("mini on ", one.name, found[one.name], len(one.texts), score)
    return wrong


def files_of(known: Sequence[Known]) -> list[str]:
    """The benchmarks as `cascade eval` is told them."""
    return [part for one in known for part in ("--benchmark", f"{one.name}={one.file}")]


def scores_in(said: str) -> dict[str, Any]:
    """The scores by benchmark that the command printed."""
    scores: dict[str, Any] = json.loads(said)["stages"][0]["scores"]
    return scores


def same(who: str, name: str, score: Mapping[str, Any], problems: int, known: float) -> bool:
    """Whether all problems were judged and the score is the known one; printed."""
    exact = score["n"] == problems and abs(score["mean"] - known) < 1e-12
    print(f"{'ok  ' if exact else 'MISS'} {who + name:22} {score['n']:5} of {problems:5} problems"
          f"   {score['mean']:.6f}   known {known:.6f}", flush=True)  # fmt: skip
    return exact


def main() -> int:
    """1 where something is not as it is known to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=[*FILES, *RECORDED], help="benchmarks")
    given = parser.parse_args()
    if not given.data.is_dir():
        print(f"{given.data} is not there: nothing to evaluate on")
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        chosen = given.only or [*FILES, *RECORDED]
        known = [by_rule(n, given.data / file) for n, file in FILES.items() if n in chosen]
        known += [
            recorded(name, *(given.data / file for file in files))
            for name, files in RECORDED.items()
            if name in chosen
        ]
        wrong = measured(known, folder, given.kills)
        wrong += with_mini(known, folder, given.kills)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
