"""What a model reads in a round: the problem, one subtask, and what earlier rounds taught.

One rule: of the tests that score, only the kind of a verdict is told, as the olympiad tells it to
its contestants; never an input, an answer, or anything that a program printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cascade_rl.evaluation.ioi.judge import TestResult
from cascade_rl.evaluation.ioi.medals import DIGITS
from cascade_rl.evaluation.ioi.strategy import History, State, Submission
from cascade_rl.evaluation.ioi.task import Task
from cascade_rl.sandbox.base import Language
from cascade_rl.types import Message

NAMES: dict[Language, str] = {"cpp": "C++17", "python": "Python 3"}
_SAID = {
    "right": "accepted",
    "partial": "partially correct",
    "wrong": "wrong answer",
    "runtime": "runtime error",
    "timeout": "time limit exceeded",
    "memory": "memory limit exceeded",
    "output": "output limit exceeded",
    "violation": "security violation",
    "compile": "compilation failed",
}


def round_prompt(
    task: Task, subtask: int, language: Language, state: State, history: History
) -> tuple[Message, ...]:
    """The one user turn of a round."""
    parts = [
        *_problem(task, language),
        *_subtasks(task, subtask, state),
        *_insights(task, subtask, language, history),
        *_attempts(task, subtask, language, history),
        _request(task, subtask, language),
    ]
    return (Message("user", "\n\n".join(parts)),)


def _problem(task: Task, language: Language) -> Iterator[str]:
    yield (
        "You are solving a problem of the International Olympiad in Informatics. It has subtasks, "
        "each with points and constraints of its own."
    )
    yield f"# Problem: {task.title}\n\n{task.statement.strip()}"
    limits = f"{task.time_limits_s[language]:g} s of processor time, {task.memory_limit_mb} MB"
    yield f"Limits for each test: {limits}."


def _subtasks(task: Task, wanted: int, state: State) -> Iterator[str]:
    lines = ["# Subtasks", ""]
    for s, one in enumerate(task.subtasks):
        best = state.best(s)
        stands = "solved" if best == 1 else f"best so far {_number(best * one.points)}"
        mark = "  <- to be solved now" if s == wanted else ""
        about = f": {one.constraints.strip()}" if one.constraints.strip() else ""
        points = _number(one.points)
        lines.append(f"- Subtask {one.name} ({points} points, {stands}){about}{mark}")
    yield "\n".join(lines)


def _insights(task: Task, subtask: int, language: Language, history: History) -> Iterator[str]:
    """What solved other subtasks, and how far it got on this one."""
    name = task.subtasks[subtask].name
    if history.insights:
        yield "# Subtasks that are solved\n\nTheir programs may help with the one to be solved now."
    for one in history.insights:
        solved = [task.subtasks[s] for s in one.subtasks]
        heads = [
            f"Subtask {subtask.name}, under these constraints: {subtask.constraints.strip()}"
            if subtask.constraints.strip()
            else f"Subtask {subtask.name}"
            for subtask in solved
        ]
        program = _code(one.submission.source, language)
        here = _verdict(task, subtask, one.submission.verdict.results_S[subtask])
        yield "\n".join(heads) + f" was solved by:\n\n{program}\n\nOn subtask {name} it got {here}"


def _attempts(task: Task, subtask: int, language: Language, history: History) -> Iterator[str]:
    name = task.subtasks[subtask].name
    if history.best:
        yield f"# The best submissions so far on subtask {name}"
    for one in history.best:
        yield _shown(task, subtask, one, language)
    if history.failed:
        yield f"# Recent submissions that did not solve subtask {name}\n\nThe last is the newest."
    for one in history.failed:
        yield _shown(task, subtask, one, language)


def _shown(task: Task, subtask: int, one: Submission, language: Language) -> str:
    """A submission with its verdict: on the subtask first, then on all."""
    result = one.verdict.results_S[subtask]
    lines = [f"Verdict on subtask {task.subtasks[subtask].name}: {_verdict(task, subtask, result)}"]
    if result.status == "compile":
        lines.append(result.detail)
    else:
        rest = [
            f"subtask {task.subtasks[s].name} {_verdict(task, s, other)}"
            for s, other in enumerate(one.verdict.results_S)
            if s != subtask
        ]
        lines += [f"Elsewhere: {'; '.join(rest)}"] if rest else []
    return _code(one.source, language) + "\n\n" + "\n".join(lines)


def _verdict(task: Task, subtask: int, result: TestResult) -> str:
    points = task.subtasks[subtask].points
    return f"{_number(points * result.score)} of {_number(points)}, {_SAID[result.status]}"


def _request(task: Task, subtask: int, language: Language) -> str:
    name, spoken = task.subtasks[subtask].name, NAMES[language]
    what = f"one complete {spoken} program that reads standard input and writes standard output"
    if language in task.graders:
        what = f"{spoken} code with the functions that the statement asks for, and no main program"
    return (
        f"# Now\n\nSolve subtask {name}: the program must be right and fast enough for all of its "
        "tests. What solves further subtasks too is welcome. Do not hand in again what has been "
        f"submitted. Answer with {what}, in one block that begins with ```{language}."
    )


def _code(source: str, language: Language) -> str:
    """A fenced block; the fence is longer than any inside."""
    inside = max(map(len, re.findall(r"`{3,}", source)), default=2)
    fence = "`" * (inside + 1)
    return f"{fence}{language}\n{source.strip()}\n{fence}"


def _number(value: float) -> str:
    return f"{round(value, DIGITS):g}"
