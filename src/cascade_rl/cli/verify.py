"""`cascade verify`: rows with responses in, one verdict a row out, in their order.

One rule: a row that cannot be read or judged still has its line, with status `invalid` or
`infra`, score null and the reason; then the exit status is 1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cascade_rl.types import Problem, Verdict


def verify(
    rows: Annotated[Path, typer.Argument(help="JSON lines: rows plus `response`")],
    out: Annotated[Path, typer.Option(help="where the verdicts go, JSON lines")],
    workers: Annotated[int, typer.Option(min=1, help="worker processes")] = 1,
    verifier: Annotated[str, typer.Option(help="auto follows each row's ability")] = "auto",
) -> int:
    """Judge every response and write index, score, status, reason, answer, seconds and tier."""
    from cascade_rl.errors import DataError
    from cascade_rl.sandbox.client import default_sandbox

    try:
        lines = rows.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{rows} is not a file; expected JSON lines of rows") from None
    tier = default_sandbox().tier
    unjudged = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    with temporary.open("w", encoding="ascii") as file:
        for index, (verdict, seconds) in enumerate(_judged(lines, workers, verifier)):
            unjudged += verdict.score is None
            line = {
                "index": index, "score": verdict.score, "status": verdict.status,
                "reason": verdict.reason, "answer": verdict.answer,
                "seconds": round(seconds, 6), "tier": tier,
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    temporary.replace(out)
    print(f"{out}  {len(lines)} verdicts, {unjudged} not judged")
    return 1 if unjudged else 0


def _judged(lines: list[str], workers: int, name: str) -> Iterator[tuple[Verdict, float]]:
    """Each line's verdict and seconds, in order; every thread owns one worker process."""
    from cascade_rl.config import BenchmarkConfig
    from cascade_rl.evaluation.benchmarks import verifier_of
    from cascade_rl.rewards.pool import VerifierPool

    judge = verifier_of(BenchmarkConfig(name="verify", file=".", verifier=name))
    own = local()
    pools: list[VerifierPool] = []

    def start() -> None:
        own.pool = VerifierPool(workers=1)
        pools.append(own.pool)

    def one(line: str) -> tuple[Verdict, float]:
        begin = time.perf_counter()
        return _verdict(
            line, lambda problem, text: own.pool.submit(judge, problem, text).result()
        ), time.perf_counter() - begin

    try:
        with ThreadPoolExecutor(workers, initializer=start) as threads:
            yield from threads.map(one, lines)
    finally:
        for pool in pools:
            pool.close()


def _verdict(line: str, judge: Callable[[Problem, str], Verdict]) -> Verdict:
    from cascade_rl.data.schema import parse_problem
    from cascade_rl.errors import DataError
    from cascade_rl.types import unjudged

    try:
        row: Any = json.loads(line)
    except ValueError as error:
        return unjudged("invalid", f"not JSON: {error}")
    if not isinstance(row, dict) or not isinstance(row.get("response"), str):
        return unjudged("invalid", "no `response`; expected a row with the answer as text")
    response = row.pop("response")
    try:
        problem = parse_problem(row)
    except DataError as error:
        return unjudged("invalid", error.message)
    return judge(problem, response)
