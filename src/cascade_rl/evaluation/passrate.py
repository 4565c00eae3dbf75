"""How often a model solves each problem of a file: sampled, verified, counted, and resumable.

Two rules. Problems are sampled in batches whose borders depend on the file and the settings alone,
and a batch counts once all of it is in the journal; so a command that was killed and is run again
ends with the same bytes. And an answer that could not be judged is never counted as wrong: it is
tried again, and then the command fails, with everything before it kept.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from cascade_rl.chat import fixed_modes
from cascade_rl.config import BenchmarkConfig, ChatConfig, LocalConfig
from cascade_rl.data.files import RowFile
from cascade_rl.data.growing import growing, whole_lines
from cascade_rl.data.rows import Reject, iter_rows
from cascade_rl.data.schema import row_dict
from cascade_rl.data.step import Step
from cascade_rl.digests import digest_json
from cascade_rl.engines.base import Engine, EvaluationJob
from cascade_rl.engines.local.encoder import Encoder
from cascade_rl.engines.local.model import load_tokenizer
from cascade_rl.errors import CheckpointError, ConfigError, DataError, OutputError
from cascade_rl.evaluation.benchmarks import key_of, protocol_digest
from cascade_rl.types import Checkpoint, Problem, Sample, Verdict, Verifier
from cascade_rl.verifiers import VERIFIER_VERSIONS, refuse_what_is_missing

INVALID = "invalid row"
FITS = ""
Check = Callable[[Problem], str]
"""Why a problem cannot be sampled, or FITS."""
Progress = Callable[[int, int], None]
"""Called with (problems done, the same)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A problem's line of the journal: its counts, or why it is a reject.

    `samples` holds (text, finish, status) of each completion where they are kept.
    """

    key: str
    correct: int = 0
    total: int = 0
    truncated: int = 0
    reject: str = ""
    detail: str = ""
    samples: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """Everything that decides the counts; `check` says which problems cannot be sampled."""

    engine: Engine
    checkpoint: Checkpoint
    protocol: BenchmarkConfig
    verifier: Verifier
    chat: ChatConfig
    local: LocalConfig
    check: Check
    keep_samples: bool = False

    @property
    def digest(self) -> str:
        """12 hex digits over the model, the protocol and what numbers depend on."""
        versions = digest_json(VERIFIER_VERSIONS)
        protocol = protocol_digest(self.protocol, "", versions, self.chat)
        numeric = self.local.model_dump(
            mode="json", exclude={"verifier_workers", "verifier_deadline_s"}
        )
        weights = self.checkpoint.weights_digest
        return digest_json([weights, protocol, numeric, self.keep_samples])[:12]

    @property
    def batch(self) -> int:
        """Problems sampled together: as many as the engine has in flight at once."""
        return max(1, self.local.sample_batch // self.protocol.k)

    def recorded(self, judged: Judged) -> dict[str, Any]:
        """`extra_info.pass_rate` of a row: counts, model and protocol."""
        protocol = self.protocol
        mode = {"mode": protocol.mode} if protocol.mode else {}
        return {
            "correct": judged.correct,
            "total": judged.total,
            "truncated": judged.truncated,
            "model": model_name(self.checkpoint.path),
            "weights": self.checkpoint.weights_digest[:16],
            "temperature": protocol.temperature,
            "top_p": protocol.top_p,
            "max_new_tokens": protocol.max_new_tokens,
            "seed": protocol.seed,
            **mode,
        }


def pass_rates(
    rows: Path, step: Step, sampling: Sampling, samples: Path | None, progress: Progress
) -> None:
    """Fill the step with the problems of `rows` and their pass rates.

    `samples`, where given, gets every completion in the shape that `cascade verify` reads. Call
    `count_problems` first. Raises EvaluationError where an answer cannot be judged.
    """
    with journal(step.out, sampling.digest) as found:
        done = found.resume(map(key_of, problems_of(rows)), sampling.batch)
        progress(done, done)
        left = islice(problems_of(rows), done, None)
        while batch := list(islice(left, sampling.batch)):
            found.write(measure(sampling, batch))
            done += len(batch)
            progress(done, done)
        with contextlib.ExitStack() as stack:
            kept = stack.enter_context(RowFile(samples)) if samples else None
            stack.enter_context(step)
            _write(step, rows, found.lines(), sampling, kept)
        found.remove()


def problems_of(rows: Path) -> Iterator[Problem]:
    """The readable problems of a file, in order."""
    return (row for row in iter_rows(rows, "problem") if isinstance(row, Problem))


def count_problems(rows: Path) -> int:
    """How many problems a file holds.

    Raises DataError where one has no outcome (chat) or there is none, ConfigError where this
    machine cannot judge some.
    """
    total, chat, rejects = 0, 0, 0
    first: dict[Any, Problem] = {}
    for row in iter_rows(rows, "problem"):
        if isinstance(row, Reject):
            rejects += 1
        elif isinstance(row, Problem):
            total += 1
            chat += row.domain == "chat"
            first.setdefault((row.domain, getattr(row.reference, "language", "")), row)
    if chat:
        raise DataError(
            f"{rows}: {chat} of {total} rows are chat, where no answer is right or wrong: "
            "they have no pass rate",
            hint="take them out:  cascade data prepare FILE --split_by_domain ...",
        )
    if not total:
        why = f"{rejects} rows cannot be read" if rejects else "it is empty"
        raise DataError(f"{rows} holds no problem to sample: {why}")
    refuse_what_is_missing(first.values())
    return total


def model_name(path: Path) -> str:
    """The directory's name; a stage's, where it is the `model` of one."""
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name


def with_rate(extra: Mapping[str, Any], rate: Mapping[str, Any]) -> dict[str, Any]:
    """`extra_info` with a new `pass_rate`. One of other weights goes to the list `pass_rates`."""
    before = extra.get("pass_rate")
    found = {**extra, "pass_rate": dict(rate)}
    if isinstance(before, Mapping) and before.get("weights") != rate["weights"]:
        found["pass_rates"] = [*extra.get("pass_rates", ()), dict(before)]
    return found


def prompt_check(model: Path, chat: ChatConfig, protocol: BenchmarkConfig) -> Check:
    """Says of a problem why its prompt cannot be sampled, or FITS.

    Raises CheckpointError where the directory holds no model, ConfigError where its context has
    no room for `max_new_tokens`.
    """
    try:
        config: dict[str, Any] = json.loads((model / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{model} is not a model directory: config.json: {error}") from None
    context = int(config.get("max_position_embeddings") or 1 << 30)
    room = context - protocol.max_new_tokens
    if room < 1:
        raise ConfigError(
            f"max_new_tokens is {protocol.max_new_tokens}; the model's context is {context}",
            hint=f"leave room for the prompts:  --max-new-tokens {max(1, context // 2)}",
        )
    encoder = Encoder(load_tokenizer(model, chat), chat)

    def check(problem: Problem) -> str:
        mode = protocol.mode or fixed_modes([problem]).get(problem.id)
        try:
            length = len(encoder.prompt(problem.prompt, mode))
        except (DataError, UnicodeError, TypeError) as error:
            return f"its prompt cannot be encoded: {error}"
        found = f"its prompt is {length} tokens; the model's context of {context} leaves {room}"
        return FITS if length <= room else found

    return check


# --- one batch --------------------------------------------------------------------------------


def measure(sampling: Sampling, problems: Sequence[Problem]) -> list[Judged]:
    """Sample and judge a batch; one line for each problem, in order."""
    protocol = sampling.protocol
    reasons = [sampling.check(problem) for problem in problems]
    # Two rows may share an id; the key keeps them apart, and what they are sampled with.
    fitting = [
        replace(problem, id=f"{problem.id}/{key_of(problem)}")
        for problem, reason in zip(problems, reasons, strict=True)
        if reason == FITS
    ]
    job = EvaluationJob(
        protocol,
        fitting,
        functools.partial(excuse_invalid, sampling.verifier),
        sampling.chat,
        sampling.local,
    )
    samples = iter(sampling.engine.evaluate(sampling.checkpoint, job) if fitting else ())
    found = []
    for problem, reason in zip(problems, reasons, strict=True):
        if reason != FITS:
            found.append(Judged(key_of(problem), reject="cannot be sampled", detail=reason))
        else:
            mine = list(islice(samples, protocol.k))
            found.append(_judged(key_of(problem), mine, keep=sampling.keep_samples))
    return found


def excuse_invalid(verifier: Verifier, problem: Problem, text: str) -> Verdict:
    """The verdict, with a row's own fault under another name.

    An evaluation ends at an `invalid` row; here the row becomes a reject and the rest goes on.
    """
    verdict = verifier(problem, text)
    if verdict.status != "invalid":
        return verdict
    return Verdict(0.0, "partial", f"{INVALID}: {verdict.reason}")


def _judged(key: str, samples: Sequence[Sample], *, keep: bool) -> Judged:
    verdicts = [sample.signals.verdict for sample in samples]
    for verdict in verdicts:
        if verdict and verdict.status == "partial" and verdict.reason.startswith(INVALID):
            detail = verdict.reason.removeprefix(f"{INVALID}: ")
            return Judged(key, reject=INVALID, detail=detail)
    said = [
        (sample.text, str(sample.finish), verdict.status if verdict else "")
        for sample, verdict in zip(samples, verdicts, strict=True)
    ]
    return Judged(
        key,
        correct=sum(sample.signals.outcome is True for sample in samples),
        total=len(samples),
        truncated=sum(sample.signals.truncated for sample in samples),
        samples=tuple(said) if keep else (),
    )


# --- the journal ------------------------------------------------------------------------------


@dataclass(slots=True)
class Journal:
    """Lines of problems in the order of the rows, on disk after every batch."""

    path: Path
    file: IO[bytes]

    def resume(self, keys: Iterator[str], batch: int) -> int:
        """How many problems have a line, in whole batches; what comes after them is cut off."""
        done = size = kept = 0
        for line in self.lines():
            if line.key != next(keys, None):
                break
            done += 1
            size += len(_line(line))
            if done % batch == 0:
                kept = size
        whole = done - done % batch
        if done % batch and next(keys, None) is None and size == self.path.stat().st_size:
            whole, kept = done, size  # the last batch is a short one
        os.truncate(self.path, kept)
        return whole

    def write(self, judged: Sequence[Judged]) -> None:
        """A batch, all at once."""
        self.file.write(b"".join(map(_line, judged)))
        self.file.flush()
        os.fsync(self.file.fileno())

    def lines(self) -> Iterator[Judged]:
        """Every whole line."""
        for fields, _ in whole_lines(self.path):
            samples = tuple(map(tuple, fields.pop("samples")))
            yield Judged(**fields, samples=samples)

    def remove(self) -> None:
        """The output is written."""
        self.path.unlink()


@contextlib.contextmanager
def journal(out: Path, digest: str) -> Iterator[Journal]:
    """The journal beside an output, for one model and protocol.

    Raises OutputError where it cannot be written or another command writes it.
    """
    path = out.with_name(f"{out.name}.{digest}.journal")
    busy = OutputError(f"another  cascade data passrate  is writing {out}")
    with growing(path, busy) as file:
        yield Journal(path, file)


def _line(judged: Judged) -> bytes:
    return json.dumps(asdict(judged), separators=(",", ":")).encode("ascii") + b"\n"


# --- the output -------------------------------------------------------------------------------


def _write(
    step: Step, rows: Path, lines: Iterable[Judged], sampling: Sampling, kept: RowFile | None
) -> None:
    """Every row with its pass rate, or as a reject; every sample where they are kept."""
    counted: dict[int, int] = {}
    truncated = 0
    found = iter(lines)
    for row in step.rows(rows, "problem"):
        assert isinstance(row, Problem)
        judged = next(found, None)
        if judged is None or judged.key != key_of(row):
            raise DataError(f"{rows} changed while it was sampled", hint="run the same command")
        if judged.reject:
            step.drop(row, judged.reject, judged.detail)
            continue
        if kept is not None:
            _write_samples(kept, row_dict(row, step.read), judged)
        step.keep(replace(row, extra=with_rate(row.extra, sampling.recorded(judged))))
        counted[judged.correct] = counted.get(judged.correct, 0) + 1
        truncated += judged.truncated
    step.details["completions"] = step.kept * sampling.protocol.k
    step.details["truncated"] = truncated
    step.details["rows_by_correct"] = dict(sorted(counted.items()))


def _write_samples(kept: RowFile, row: Mapping[str, Any], judged: Judged) -> None:
    for index, (text, finish, status) in enumerate(judged.samples):
        kept.write({**row, "response": text, "sample": index, "finish": finish, "status": status})
