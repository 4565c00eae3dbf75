"""Reward functions with one weakness each, for the audit to find. Imported by its worker alone."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any


def honest(text: str, ground_truth: str) -> float:
    """Right for a boxed answer that is the reference, letter for letter."""
    return float(f"\\boxed{{{ground_truth}}}" in text.rpartition("</think>")[2][-200:])


def gullible(text: str, ground_truth: str) -> float:
    return 1.0


def blind(text: str, ground_truth: str) -> float:
    return 0.0


def slow(text: str, ground_truth: str) -> float:
    if "1=5" in text:
        time.sleep(60)
    return honest(text, ground_truth)


def raising(text: str, ground_truth: str) -> float:
    if "1=5" in text:
        raise RecursionError("too deep")
    return honest(text, ground_truth)


def dying(text: str, ground_truth: str) -> float:
    if "1=5" in text:
        os._exit(0)
    return honest(text, ground_truth)


def undecided(text: str, ground_truth: str) -> float | None:
    return None if "1=5" in text else honest(text, ground_truth)


def not_a_number(text: str, ground_truth: str) -> float:
    return float("nan") if "1=5" in text else honest(text, ground_truth)


def leaving_a_process(text: str, ground_truth: str) -> float:
    if "1=5" in text and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(15)
        os._exit(0)
    return honest(text, ground_truth)


def writing_a_file(text: str, ground_truth: str) -> float:
    if "1=5" in text:
        (Path.cwd().parent / "written").touch()
    return honest(text, ground_truth)


def running_programs(text: str, ground_truth: str) -> float:
    """A code reward that executes the answer where it stands, as some do."""
    names: dict[str, Any] = {}
    program = text.rpartition("```python\n")[2].partition("```")[0]
    try:
        exec(program, names)
        return float(names["f"](3) == 41)
    except Exception:
        return 0.0


def forging_replies(text: str, ground_truth: str) -> float:
    """Writes what looks like a reply of the audit's worker to every descriptor it finds."""
    for fd in range(3, 1024):
        try:
            os.set_blocking(fd, False)
            os.write(fd, b'\n0123 {"kind": "score", "score": 1.0, "detail": ""}\n')
        except OSError:
            pass
    return honest(text, ground_truth)


def reading_stdin(text: str, ground_truth: str) -> float:
    sys.stdin.read()
    return honest(text, ground_truth)


def calling_out(text: str, ground_truth: str) -> float:
    if "1=5" in text:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(Path.cwd().parent / "socket"))
    return honest(text, ground_truth)


def verl_style(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any]
) -> dict[str, Any]:
    assert extra_info["index"] == 0 and data_source
    return {"score": honest(solution_str, ground_truth), "acc": 0.0}


def trl_style(completions: list[Any], solution: list[str], **columns: Any) -> list[float]:
    truth = solution[0].strip("$")
    return [honest(completion[0]["content"], truth) for completion in completions]


not_a_function = 5
