"""`cascade verify`: rows with responses in, one verdict a row out, in their order.

Two rules. A row that cannot be read or judged still has its line, with status `invalid` or
`infra`, score null and the reason; then the exit status is 1. And what is judged is kept: the
same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from cascade_rl.cli.common import AnswerPattern, Policy, Report, duration, progress
from cascade_rl.cli.verdicts import VerdictFile, digest_of, verdict_file

if TYPE_CHECKING:
    from cascade_rl.rewards.pool import Ticket, VerifierPool
    from cascade_rl.types import Problem, Verdict, Verifier

MAX_ROW = 256 << 20
"""Bytes of a row; a longer one is not read."""
AHEAD_ROWS, AHEAD_BYTES = 1024, 64 << 20
"""So many rows, or bytes of rows, are read at most before the first of them is judged."""
_BOM = b"\xef\xbb\xbf"

Line = tuple[bytes, int]
"""A row as it stands in the file, and where it ends there."""


def verify(
    rows: Annotated[Path, typer.Argument(help="JSON lines: rows plus `response`")],
    out: Annotated[Path, typer.Option(help="where the verdicts go, JSON lines")],
    workers: Annotated[int, typer.Option(min=1, help="worker processes")] = 1,
    verifier: Annotated[str, typer.Option(help="auto follows each row's ability")] = "auto",
    answer_pattern: Annotated[
        AnswerPattern, typer.Option(help="math: where the answer stands")
    ] = AnswerPattern.BOXED,
    partial_credit: Annotated[
        bool, typer.Option("--partial-credit", help="math: credit for a close answer")
    ] = False,
    policy: Annotated[
        Policy, typer.Option(help="instructions: for rewards, or as published")
    ] = Policy.STRICT_REWARD,
    loose: Annotated[bool, typer.Option("--loose", help="instructions: IFEval's loose")] = False,
    all_tests: Annotated[
        bool, typer.Option("--all-tests", help="code: do not stop at the first failing test")
    ] = False,
) -> int:
    """Judge every response and write index, score, status, reason, answer, seconds and tier.

    Stop it and run the same command again: it goes on where it stopped.
    """
    from cascade_rl.config import VerifierConfig
    from cascade_rl.evaluation.benchmarks import verifier_named

    options = VerifierConfig(
        answer_pattern=answer_pattern.value,
        partial_credit=partial_credit,
        instruction_policy=policy.value,
        loose=loose,
        stop_at_first_failure=not all_tests,
    )
    judge = verifier_named(verifier, options)
    _check(rows, out)
    begun = time.monotonic()
    try:
        with (
            rows.open("rb") as source,
            verdict_file(out, digest_of(rows, verifier, options)) as verdicts,
            progress(rows.stat().st_size) as report,
        ):
            _say_what_is_missing(source)
            _judge_all(_lines(source), verdicts, judge, workers, report)
    except KeyboardInterrupt:
        print("stopped; what is judged is kept. Run the same command to go on.", file=sys.stderr)
        return 130
    took = duration(time.monotonic() - begun)
    print(f"{out}  {verdicts.done} verdicts, {verdicts.unjudged} not judged, in {took}")
    return 1 if verdicts.unjudged else 0


def _say_what_is_missing(source: IO[bytes]) -> None:
    """On stderr, before the first row: what will not be judged, and why."""
    from cascade_rl.sandbox.client import default_sandbox

    sandbox = default_sandbox()
    if why := sandbox.refusal:
        print(f"note: programs are not judged: {why}. See  cascade doctor", file=sys.stderr)
    why = sandbox.missing("cpp")
    if why and any(b"cpp" in part for part in iter(lambda: source.read(1 << 24), b"")):
        print(f"note: programs in C++ are not judged: {why}", file=sys.stderr)
    source.seek(0)


def _check(rows: Path, out: Path) -> None:
    from cascade_rl.errors import DataError, OutputError

    if not rows.exists() or rows.is_dir():
        raise DataError(f"{rows} is not a file; expected JSON lines of rows plus `response`")
    if rows.suffix == ".parquet":
        raise DataError(f"{rows} is Parquet; expected JSON lines of rows plus `response`")
    try:
        rows.open("rb").close()
    except OSError as error:
        raise DataError(f"cannot read {rows}: {error.strerror}") from None
    if out.is_dir():
        raise OutputError(f"{out} is a directory", hint=f"name a file:  --out {out}/verdicts.jsonl")
    if out.exists() and out.samefile(rows):
        raise OutputError(f"--out {out} is the file of rows itself", hint="name another file")


# --- reading ----------------------------------------------------------------------------------


def _lines(source: IO[bytes]) -> Iterator[Line]:
    """Every row that is not blank. A row over MAX_ROW is cut there, so it is no JSON."""
    end = 0
    while line := source.readline(MAX_ROW):
        end += len(line)
        rest = line
        while not rest.endswith(b"\n") and (rest := source.readline(1 << 20)):
            end += len(rest)
        if line.strip():
            yield line, end


def _read(line: bytes) -> tuple[Problem, str] | Verdict:
    """The problem and the answer, or why the row is invalid."""
    from cascade_rl.data.schema import parse_problem
    from cascade_rl.errors import DataError
    from cascade_rl.types import unjudged

    if len(line) >= MAX_ROW:
        return unjudged("invalid", f"the row is longer than {MAX_ROW >> 20} MB")
    try:
        row: Any = json.loads(line.removeprefix(_BOM).decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        return unjudged("invalid", f"not JSON: {error}")
    if not isinstance(row, dict) or not isinstance(row.get("response"), str):
        return unjudged("invalid", "no `response`; expected a row with the answer as text")
    response = row.pop("response")
    try:
        return parse_problem(row), response
    except DataError as error:
        return unjudged("invalid", error.message)


# --- judging ----------------------------------------------------------------------------------


def _judge_all(
    lines: Iterator[Line], verdicts: VerdictFile, judge: Verifier, workers: int, report: Report
) -> None:
    """Write the verdicts of all rows that have none yet, reading only a little ahead."""
    from cascade_rl.rewards.pool import VerifierPool

    written = 0
    for _ in range(verdicts.done):
        _, written = next(lines, (b"", written))
    ahead: deque[tuple[Verdict | Ticket, int]] = deque()
    with VerifierPool(workers) as pool:
        for line, end in lines:
            ahead.append((_submitted(pool, judge, line), end))
            while ahead and (
                _ready(ahead[0][0])
                or len(ahead) >= AHEAD_ROWS
                or ahead[-1][1] - written >= AHEAD_BYTES
            ):
                written = _write(*ahead.popleft(), verdicts, report)
        for item in ahead:
            _write(*item, verdicts, report)


def _submitted(pool: VerifierPool, judge: Verifier, line: bytes) -> Verdict | Ticket:
    from cascade_rl.types import Verdict

    found = _read(line)
    return found if isinstance(found, Verdict) else pool.submit(judge, *found)


def _ready(item: Verdict | Ticket) -> bool:
    from cascade_rl.types import Verdict

    return isinstance(item, Verdict) or item.done()


def _write(item: Verdict | Ticket, end: int, verdicts: VerdictFile, report: Report) -> int:
    from cascade_rl.types import Verdict

    if isinstance(item, Verdict):
        verdicts.write(item, 0.0)
    else:
        verdicts.write(item.result(), item.seconds)
    report(verdicts.done, end)
    return end
