"""Verifiers that do what the answer says, for the pool's tests."""

from __future__ import annotations

import os
import time

from cascade_rl.types import Answer, Problem, Verdict, failed, right, unjudged

PROBLEM = Problem("p", "math", (), Answer("5"), "t")


def obedient(problem: Problem, text: str) -> Verdict:
    """Right, after having slept, died, computed forever or said where it runs."""
    command, _, value = text.partition(" ")
    if command == "sleep":
        time.sleep(float(value))
    elif command == "die":
        os._exit(3)
    elif command == "exit":
        raise SystemExit(value)
    elif command == "spin":
        while True:
            pass
    elif command == "print":
        print("a verifier that prints", flush=True)
    elif command == "infra":
        return unjudged("infra", "asked for")
    elif command == "timeout":
        return failed("timeout", "asked for")
    elif command == "pid":
        return right(f"{os.getpid()} {os.getppid()}")
    elif command == "cores":
        time.sleep(0.2)  # so that every worker gets one
        return right(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
    return right(text)


def options(problem: Problem, text: str, *, note: str = "none") -> Verdict:
    return right(note)
