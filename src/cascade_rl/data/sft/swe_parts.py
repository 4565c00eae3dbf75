"""The other two SWE tasks: localization and test generation, filtered by the paper's rules.

Localization keeps a response that lists all files of the golden patch (recall 1); test
generation one whose Python parses and runs in the sandbox without a syntax error
(Nemotron-Cascade, section 3.3.2). A test that fails has run: on the code before the fix it is
supposed to.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from cascade_rl.chat import THINK_OPEN, answer_part, has_open_thought
from cascade_rl.data.sft.swe import Selection, as_conversation, responses_of, swe_problems
from cascade_rl.data.step import Step
from cascade_rl.sandbox.base import Limits, Program, Sandbox
from cascade_rl.types import Patch
from cascade_rl.verifiers.code.extract import extract_program
from cascade_rl.verifiers.diffs import Unparsable, parse_diff, safe_path

CUT_OFF = "cut off"
NO_LIST = "no list of files"
EMPTY_LIST = "an empty list"
BAD_PATH = "not a path"
TOO_MANY = "too many files"
RECALL = "recall below 1"
NOTHING_TO_FIND = "the golden patch changes no existing file"

NO_PROGRAM = "no program"
SYNTAX = "syntax error"
STOPPED = "did not end well"
NOT_JUDGED = "not judged"

MAX_PROGRAM = 100_000
"""Characters of a program that is parsed and run."""
LIMITS = Limits()

Refusal = tuple[str, str]

_FENCED = re.compile(r"^```[^`\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s+")


# --- localization -------------------------------------------------------------------------------


def golden_files(patch: str) -> frozenset[str]:
    """The existing files that a golden patch changes, moves or deletes. Raises Unparsable.

    A file that it creates is nowhere to be found, so none is asked for.
    """
    return frozenset(diff.old for diff in parse_diff(patch) if diff.old is not None)


def listed_files(answer: str) -> list[str] | Refusal:
    """The paths in the last fenced block, each once, in order; (reason, detail) otherwise."""
    blocks: list[str] = _FENCED.findall(answer.replace("\r\n", "\n"))
    if not blocks:
        return NO_LIST, answer[-200:]
    lines = [_BULLET.sub("", line).strip() for line in blocks[-1].splitlines() if line.strip()]
    if not lines:
        return EMPTY_LIST, ""
    try:
        return list(dict.fromkeys(safe_path(line) for line in lines))
    except Unparsable as error:
        return BAD_PATH, str(error)


def localizes(patch: str, text: str | None, most: int) -> Refusal | None:
    """Why a response is not kept; None where it lists all files, and at most `most`."""
    if text is None or has_open_thought(text):
        return CUT_OFF, ""
    listed = listed_files(answer_part(text))
    if not isinstance(listed, list):
        return listed
    if len(listed) > most:
        return TOO_MANY, f"{len(listed)}; at most {most}"
    missing = sorted(golden_files(patch) - set(listed))
    return (RECALL, f"{missing[0]} is not listed") if missing else None


def localization(step: Step, paths: Sequence[Path], selection: Selection, most: int) -> None:
    """Write one conversation a response with recall 1."""
    for row, reference in swe_problems(step, paths, selection):
        try:
            golden = golden_files(reference.patch)
        except Unparsable as error:
            step.drop(row, NOTHING_TO_FIND, str(error))
            continue
        if not golden:
            step.drop(row, NOTHING_TO_FIND, "it only creates files")
            continue
        for number, text in enumerate(responses_of(row)):
            conversation = as_conversation(row, number, text or "")
            if refusal := localizes(reference.patch, text, most):
                step.drop(conversation, *refusal)
            else:
                step.keep(conversation)


# --- test generation ------------------------------------------------------------------------------


def runs(reference: Patch, text: str | None, sandbox: Sandbox) -> Refusal | None:
    """Why a response is not kept; None where its program parses and runs, failing or not.

    It runs beside the problem's files as they were before the fix.
    """
    if text is None or has_open_thought(text) or answer_part(text).startswith(THINK_OPEN):
        return CUT_OFF, ""
    source = extract_program(answer_part(text))
    if source is None or not source.strip():
        return NO_PROGRAM, ""
    if why := _unparsable(source):
        return SYNTAX, why
    files = tuple((path, body) for path, body in reference.files.items() if path.endswith(".py"))
    outcome = sandbox.run(Program(source, "stdio", ("",), files=files), LIMITS)
    if outcome.status == "infra":
        return NOT_JUDGED, outcome.reason
    if outcome.status == "runtime":
        name = outcome.reason.partition(":")[0]
        wrong = name in ("SyntaxError", "IndentationError", "TabError")
        return (SYNTAX, outcome.reason) if wrong else None
    return None if outcome.status == "ok" else (STOPPED, f"{outcome.status}: {outcome.reason}")


def _unparsable(source: str) -> str:
    """Why the source is no Python, in this interpreter; empty where it is."""
    if len(source) > MAX_PROGRAM:
        return f"{len(source)} characters; at most {MAX_PROGRAM} are read"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return "" if tree.body else "there is no statement in it"


def tests(step: Step, paths: Sequence[Path], selection: Selection, sandbox: Sandbox) -> None:
    """Write one conversation a response whose program parses and runs."""
    for row, reference in swe_problems(step, paths, selection):
        for number, text in enumerate(responses_of(row)):
            conversation = as_conversation(row, number, text or "")
            if refusal := runs(reference, text, sandbox):
                step.drop(conversation, *refusal)
            else:
                step.keep(conversation)
    step.details["tier"] = sandbox.tier
