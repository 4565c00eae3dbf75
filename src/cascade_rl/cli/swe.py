"""`cascade swe`: a model or a server repairs issues of repositories, and one repair is picked.

One rule: what was answered and what was judged is kept under --out; the same command goes on where
it was stopped and ends with the files it would have written without the stop.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_rl.cli import answering
from cascade_rl.cli.common import console, duration, progress
from cascade_rl.cli.data.asking import AskMode
from cascade_rl.cli.data.tokens import ESTIMATE, HELP, counter

if TYPE_CHECKING:
    from cascade_rl.evaluation.swe.execute import Runner
    from cascade_rl.evaluation.swe.instances import Instance
    from cascade_rl.evaluation.swe.retrieval import Retriever


class ShownFiles(StrEnum):
    """Which files a repair prompt is about."""

    LOCALIZED = "localized"
    GROUND_TRUTH = "ground_truth"
    MIXED = "mixed"


class Retrieval(StrEnum):
    """How files are retrieved, beside what the model lists."""

    BM25 = "bm25"
    EMBEDDINGS = "embeddings"
    NONE = "none"


class ThinkMode(StrEnum):
    """The mode of every prompt."""

    THINK = "think"
    NO_THINK = "no_think"


Issues = Annotated[Path, typer.Argument(help="rows in SWE-bench's shape")]
Repos = Annotated[Path, typer.Option(help="the folder that holds the git repositories")]
Out = Annotated[Path, typer.Option(help="where answers, results and predictions go")]
Repairs = Annotated[int, typer.Option("-k", min=1, help="repairs an issue; the papers' 4, 32")]
Shown = Annotated[ShownFiles, typer.Option(help="what the repair prompt shows")]
TopK = Annotated[int, typer.Option(min=1, help="localized files in a prompt")]
Noise = Annotated[bool, typer.Option("--noise", help="other files, up to the budget")]
Budget = Annotated[int, typer.Option(min=1, help="tokens of a prompt")]
Lists = Annotated[int, typer.Option(min=0, help="lists of files that are asked for")]
Retrieved = Annotated[Retrieval, typer.Option(help="how files are found beside those lists")]
EmbeddingUrl = Annotated[str, typer.Option(help="URL up to /v1, with --retrieval embeddings")]
EmbeddingModel = Annotated[str, typer.Option(help="that server's name for the model")]
EmbeddingKey = Annotated[str, typer.Option(help="environment variable that holds its key")]
EmbeddingType = Annotated[
    bool, typer.Option("--embedding-input-type", help="tell it what is query, what passage")
]
Scripts = Annotated[int, typer.Option(min=0, help="tests that are generated; the papers' 10, 40")]
VoteOnly = Annotated[
    bool, typer.Option("--vote-only", help="run nothing, judge nothing; pick by votes")
]
LeaveUnfit = Annotated[
    bool, typer.Option("--leave-unfit", help="leave out issues that cannot be judged here")
]
Libraries = Annotated[
    list[Path] | None, typer.Option(help="folder of packages that tests import, pytest among them")
]
Seconds = Annotated[float, typer.Option(min=0.1, help="processor time of one file of tests")]
Memory = Annotated[int, typer.Option(min=64, help="of one file of tests")]
Workers = Annotated[int, typer.Option(min=1, help="sandboxes that run tests")]
Suffixes = Annotated[
    list[str] | None, typer.Option(help="ending of files the fault may be in  [default: .py]")
]
Temperature = Annotated[float, typer.Option(min=0.0)]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0)]
Yarn = Annotated[
    float | None,
    typer.Option(min=1.0, help="a longer context  [default: what prompt and answer need]"),
]
Limit = Annotated[int | None, typer.Option(min=1, help="first issues only")]


def swe(
    model: answering.Model,
    issues: Issues,
    repos: Repos,
    out: Out,
    k: Repairs = 4,
    files: Shown = ShownFiles.LOCALIZED,
    top_k: TopK = 4,
    noise: Noise = False,
    prompt_tokens: Budget = 32_768,
    rollouts: Lists = 16,
    retrieval: Retrieved = Retrieval.BM25,
    embedding_endpoint: EmbeddingUrl = "",
    embedding_model: EmbeddingModel = "",
    embedding_key_env: EmbeddingKey = "",
    embedding_input_type: EmbeddingType = False,
    reproductions: Scripts = 10,
    vote_only: VoteOnly = False,
    leave_unfit: LeaveUnfit = False,
    library: Libraries = None,
    seconds: Seconds = 60.0,
    memory_mb: Memory = 2048,
    workers: Workers = 1,
    suffix: Suffixes = None,
    tokenizer: Annotated[str, typer.Option(help=HELP)] = ESTIMATE,
    mode: Annotated[ThinkMode | None, typer.Option()] = None,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 32_768,
    yarn_factor: Yarn = None,
    seed: Annotated[int, typer.Option(help="fresh samples and orders")] = 0,
    limit: Limit = None,
    endpoint: answering.Endpoint = "",
    api_key_env: answering.KeyVariable = "",
    ask_mode: answering.Asking = AskMode.TEMPLATE,
    concurrency: answering.Concurrency = 16,
    tries: answering.Tries = 6,
    timeout_s: answering.TimeoutS = 900.0,
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
) -> int:
    """Repair the issues of a SWE benchmark: localize, repair, validate by tests, pick one.

    Stop it and run the same command again: it goes on where it stopped.
    """
    served = Embedding(embedding_endpoint, embedding_model, embedding_key_env, embedding_input_type)
    settings = {
        "shows": files.value, "noise": noise, "rollouts": rollouts, "top_k": top_k,
        "retrieval": _retrieval_name(retrieval, served),
        "prompt_tokens": prompt_tokens, "candidates": k, "tests": reproductions,
        "suffixes": tuple(suffix or (".py",)), "mode": mode and mode.value, "seed": seed,
        "counted_by": _counted_by(tokenizer),
    }  # fmt: skip
    sampling = (temperature, top_p, 0, max_new_tokens, seed)
    found = _instances(issues, repos, limit)
    runners = () if vote_only else _runners(workers, seconds, memory_mb, library or [])
    wanted = Wanted(found, out, settings, runners, sampling, yarn_factor, tokenizer, leave_unfit)
    server = answering.Asked(endpoint, api_key_env, ask_mode, concurrency, tries, timeout_s)
    return _run(model, server, wanted, served, as_json=as_json)


def _instances(issues: Path, repos: Path, limit: int | None) -> list[Instance]:
    from cascade_rl.evaluation.swe.instances import read_instances

    return read_instances(issues, repos)[:limit]


TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


@dataclass(frozen=True, slots=True)
class Embedding:
    """The server of embeddings, as options name it; no URL where there is none."""

    url: str
    model: str
    key_variable: str
    typed: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done, made of the options; `settings` and `sampling` are fields of those."""

    instances: list[Instance]
    out: Path
    settings: Mapping[str, Any]
    runners: tuple[Runner, ...]
    sampling: tuple[float, float, int, int, int]
    yarn_factor: float | None
    tokenizer: str
    leave_unfit: bool


def _retrieval_name(retrieval: Retrieval, server: Embedding) -> str:
    """What a row's key covers of the retriever. Raises ConfigError for options that do not go
    together."""
    from cascade_rl.errors import ConfigError

    wanted = retrieval == Retrieval.EMBEDDINGS
    if bool(server.url) != wanted or bool(server.model) != wanted:
        raise ConfigError(
            f"--retrieval is {retrieval.value}, --embedding-endpoint {server.url!r} and "
            f"--embedding-model {server.model!r}",
            hint="name both, or neither:  --retrieval embeddings --embedding-endpoint URL "
            "--embedding-model NAME",
        )
    if retrieval == Retrieval.NONE:
        return ""
    if retrieval != Retrieval.EMBEDDINGS:
        return retrieval.value
    return server.model + (" with input_type" if server.typed else "")


def _runners(
    workers: int, seconds: float, memory_mb: int, libraries: list[Path]
) -> tuple[Runner, ...]:
    """As many sandboxes as workers. Raises ConfigError where none runs anything here."""
    from dataclasses import replace

    from cascade_rl.errors import ConfigError
    from cascade_rl.evaluation.swe.execute import LIMITS, Runner, library_files
    from cascade_rl.sandbox.client import default_sandbox, new_sandbox

    files = library_files(libraries)
    limits = replace(LIMITS, cpu_s=seconds, memory_mb=memory_mb)
    first = default_sandbox()
    if first.refusal:
        raise ConfigError(
            f"no program is run here: {first.refusal}",
            hint="see  cascade doctor  or pick by votes alone:  --vote-only",
        )
    others = [new_sandbox() for _ in range(workers - 1)]
    return tuple(Runner(sandbox, limits, files) for sandbox in (first, *others))


def _run(
    model: str, server: answering.Asked, wanted: Wanted, embedding: Embedding, *, as_json: bool
) -> int:
    from cascade_rl.data.sft.journal import Journal
    from cascade_rl.engines.generate import Sampling
    from cascade_rl.evaluation.swe.answers import Answers
    from cascade_rl.evaluation.swe.run import run_swe
    from cascade_rl.evaluation.swe.settings import Means, Settings

    begun = time.monotonic()
    out, settings = wanted.out, Settings(**wanted.settings)
    stretch = _stretch(model, server, wanted)
    try:
        with (
            answering.answering(
                model, server, out / "responses.jsonl",
                yarn_factor=stretch, what="issues",
            ) as generator,
            Journal(out / "answers.jsonl") as journal,
            _retriever(wanted, embedding) as retrieve,
            _bars() as report,
        ):  # fmt: skip
            answers = Answers(generator, Sampling(*wanted.sampling), journal, stretch)
            means = Means(answers, wanted.runners, retrieve, _count(wanted.tokenizer))
            summary = run_swe(
                wanted.instances, means, settings, out,
                leave_unfit=wanted.leave_unfit,
                progress=partial(report, "repaired"), checking=partial(report, "looked at"),
            )  # fmt: skip
    except KeyboardInterrupt:
        print(f"stopped; what is done is kept in {out}. Run the same command to go on.",
              file=sys.stderr)  # fmt: skip
        return 130
    if as_json:
        print(json.dumps(summary))
    else:
        _show(summary, out, duration(time.monotonic() - begun))
    return 0


def _stretch(model: str, server: answering.Asked, wanted: Wanted) -> float:
    """By how much YaRN stretches the context: as told, else as far as prompt and answer need.

    A server has its own ways. What is wrong with a model directory is said where it is loaded.
    """
    from cascade_rl.evaluation.swe.repair import yarn_factor

    if wanted.yarn_factor is not None or server.endpoint:
        return wanted.yarn_factor or 1.0
    try:
        config = json.loads((Path(model) / "config.json").read_bytes())
        native = int(config.get("max_position_embeddings") or 0)
    except (OSError, ValueError):
        native = 0
    longest = wanted.sampling[3]
    return yarn_factor(wanted.settings["prompt_tokens"], longest, native) if native else 1.0


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Takes (step, issues done, of so many); every step has a bar of its own, one at a time."""
    with ExitStack() as shown:
        bars: dict[str, Callable[[int, int], None]] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in bars:
                shown.close()
                print(f"{total - done} of {total} issues to be {step}", file=sys.stderr)
                bars[step] = shown.enter_context(progress(total))
            bars[step](done, done)

        yield report


@contextmanager
def _retriever(wanted: Wanted, embedding: Embedding) -> Iterator[Retriever | None]:
    from cascade_rl.data.sft.endpoint import api_key
    from cascade_rl.data.sft.journal import Journal
    from cascade_rl.evaluation.swe.embeddings import EmbeddingRetriever, EmbeddingServer
    from cascade_rl.evaluation.swe.retrieval import bm25

    if not embedding.url:
        yield bm25 if wanted.settings["retrieval"] else None
        return
    server = EmbeddingServer(
        embedding.url, embedding.model, api_key(embedding.key_variable), typed=embedding.typed
    )
    with Journal(wanted.out / "embeddings.jsonl") as journal:
        yield EmbeddingRetriever(server, journal)


def _counted_by(tokenizer: str) -> str:
    """What a row's key covers of who counts tokens; a missing tokenizer is said by `_count`."""
    from cascade_rl.digests import digest_file, digest_json

    if tokenizer == ESTIMATE:
        return "estimate"
    paths = [Path(tokenizer) / name for name in TOKENIZER_FILES]
    return digest_json([path.is_file() and digest_file(path) for path in paths])[:16]


def _count(tokenizer: str) -> Callable[[str], int]:
    """Tokens of a text: estimated, or by a tokenizer as one user turn."""
    from cascade_rl.data.lengths import estimated_tokens
    from cascade_rl.types import Message, Preference, Problem

    if tokenizer == ESTIMATE:
        return estimated_tokens
    count = counter(tokenizer, system=False)
    return lambda text: count(Problem("", "chat", (Message("user", text),), Preference(), ""))


# --- what is shown --------------------------------------------------------------------------------


def _show(summary: Mapping[str, Any], out: Path, took: str) -> None:
    """The table of curves, recall, what was not used, and where the predictions are."""
    screen = console()
    answers, tests = summary["answers"], summary["tests"]
    if "curves" in summary:
        screen.print(_curves(summary["curves"]))
        screen.print(f"resolved {100 * summary['resolved']:.1f} % of {summary['issues']} issues")
    for name, values in summary["recall"].items():
        shown = "  ".join(f"{100 * value:.1f}" for value in values)
        screen.print(f"recall of {name} among 1 to {len(values)} files: {shown} %")
    screen.print(
        f"{answers['candidates']} repairs, {answers['no_patch']} of them no patch; "
        f"{answers['lists_unread']} lists of files not read; "
        f"{tests['reproduce']} of {tests['generated']} generated tests reproduce their issue"
    )
    for name, why in summary["not_judged"].items():
        screen.print(f"not judged: {name}: {why}", markup=False)
    screen.print(f"{out / 'predictions.jsonl'}  predictions, in {took}")


def _curves(curves: Mapping[str, Any]) -> Any:
    """A table of avg, best, majority and pass at 1, 2, 4 ... and all."""
    from rich.table import Table

    count = len(curves["pass_at"])
    sizes = sorted({2**n for n in range(count.bit_length()) if 2**n <= count} | {count})
    table = Table("k", "avg", "majority@k", "best@k", "pass@k")
    for size in sizes:
        row = [curves["avg"], *(curves[n][size - 1] for n in ("majority_at", "best_at", "pass_at"))]
        table.add_row(str(size), *(f"{100 * value:.1f}" for value in row))
    return table
