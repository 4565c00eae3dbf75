"""Which sets of a cascade must not overlap, and whether they do.

Refused: training rows that show an evaluation item, SFT prompts that are RL prompts too, math or
competitive-programming prompts in RLHF (arXiv 2512.13607, sections 4, 4.1.1 and 4.3). Reported
only, because the recipe does it: the reward model's prompts in RLHF, a judge's in SWE RL, SFT 1
with SFT 2, stages of one family. `allow_overlap` in a config lets a refused edge through by name,
`STAGE:OTHER`; it is then not looked at.

One surprise: two generated sets (`mini:`) are compared only where `generated` asks for it; a plan
does without. They are disjoint by construction (`mini/draw.py`, `mini/sft.py`), which a test holds
by comparing them, and comparing 40,000 rows would delay every start by a quarter of a minute.
"""

from __future__ import annotations

import difflib
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Literal

from cascade_rl import mini
from cascade_rl.config import BUILTIN, AnyStage, CascadeRLConfig, SFTStageConfig, StageConfig
from cascade_rl.data.decontaminate import NGRAM, Guard, RowSet, Tally, examine, problem_text
from cascade_rl.data.decontaminate.boilerplate import asks_for
from cascade_rl.data.files import write_json
from cascade_rl.data.rows import Reject, content_digest, iter_rows
from cascade_rl.digests import digest_json
from cascade_rl.errors import ConfigError, OutputError
from cascade_rl.types import Problem, Row

VERSION = 1
"""Part of what a remembered result is found by: raise it when comparisons change."""
VAL_FILES = "val_files"
MATH_AND_CODE = "math_and_code"
REMEMBERED_S = 1.0
"""A comparison that took longer is written to the user's cache directory."""
SHOWN = 5
"""Overlaps that one error lists."""

Rule = Literal["evaluation", "sft", "rlhf", "expected"]
WHAT = {
    "evaluation": "show an item of",
    "sft": "are also prompts of",
    "rlhf": "are math or competitive-programming prompts:",
    "expected": "are also prompts of",
}


@dataclass(frozen=True, slots=True)
class Edge:
    """Two groups of files that a rule speaks of; `name` is what `allow_overlap` takes."""

    rule: Rule
    stage: AnyStage
    other: str
    files: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.stage.name}:{self.other}"

    @property
    def names(self) -> set[str]:
        """The name, and that of the whole family on either side."""
        left = (self.stage.name, self.stage.family)
        right = (self.other, self.other.split("/")[0])
        return {f"{a}:{b}" for a, b in product(left, right)}


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one file that share something with another: how many, and the first of them."""

    rows: int
    of: int
    example: str = ""


@dataclass(frozen=True, slots=True)
class Overlap:
    """An edge with rows in common: in one line what they are."""

    edge: Edge
    line: str


# --- the edges --------------------------------------------------------------------------------


def train_files(config: CascadeRLConfig) -> list[str]:
    """Every train file or generated set of the stages, each once, in order."""
    return list(dict.fromkeys(file for stage in config.stages for file in stage.train_files))


def evaluation_files(config: CascadeRLConfig) -> list[str]:
    """Every file of the benchmarks, test files too, and of the stages' val_files."""
    names = [file for b in config.benchmarks for file in (b.file, b.test_file) if file]
    return list(dict.fromkeys([*names, *_val_files(config)]))


def _val_files(config: CascadeRLConfig) -> list[str]:
    return [file for stage in config.stages for file in stage.val_files]


def edges(config: CascadeRLConfig) -> list[Edge]:
    """Everything that the rules speak of, in the order of the stages."""
    return [edge for place in range(len(config.stages)) for edge in _edges_of(config, place)]


def _edges_of(config: CascadeRLConfig, place: int) -> Iterator[Edge]:
    stage = config.stages[place]
    mine = stage.train_files
    for benchmark in config.benchmarks:
        files = tuple(file for file in (benchmark.file, benchmark.test_file) if file)
        yield Edge("evaluation", stage, benchmark.name, mine, files)
    known = {file for b in config.benchmarks for file in (b.file, b.test_file)}
    rest = tuple(dict.fromkeys(file for file in _val_files(config) if file not in known))
    if rest:
        yield Edge("evaluation", stage, VAL_FILES, mine, rest)
    if _is_rlhf(stage):
        yield Edge("rlhf", stage, MATH_AND_CODE, mine, ())
    for index, other in enumerate(config.stages):
        rule = _rule(stage, other, later=index > place)
        if rule is not None:
            yield Edge(rule, stage, other.name, mine, other.train_files)


def _rule(stage: AnyStage, other: AnyStage, *, later: bool) -> Rule | None:
    """What two stages' prompts may have in common, said once for a pair."""
    if isinstance(other, StageConfig):
        if isinstance(stage, SFTStageConfig) and stage.role == "policy":
            return "sft"
        if _is_rlhf(stage) and other.domain in ("math", "code"):
            return "rlhf"
        if stage.role in ("reward_model", "judge"):
            return "expected" if stage.name in other.inputs.values() else None
    same = stage.family == other.family or (stage.kind == other.kind == "sft")
    return "expected" if later and same and stage.role == other.role else None


def _is_rlhf(stage: AnyStage) -> bool:
    return isinstance(stage, StageConfig) and stage.reward_kind == "preference"


# --- what is found ----------------------------------------------------------------------------


def check_overlap(config: CascadeRLConfig) -> None:
    """Raise ConfigError where sets overlap that must not, naming each edge and the way on."""
    refused = [found for found in overlaps(config) if found.edge.rule != "expected"]
    if not refused:
        return
    lines = [found.line for found in refused[:SHOWN]]
    if len(refused) > SHOWN:
        lines.append(f"and {len(refused) - SHOWN} more")
    names = ", ".join(dict.fromkeys(found.edge.name for found in refused))
    raise ConfigError(
        "\n  ".join(lines),
        hint="drop these rows:  cascade data decontaminate --config CONFIG --out DIR  "
        "(evaluation), cascade data dedup  (SFT and RL), "
        "cascade data curate --preset rlhf_prompts  (RLHF)\n"
        f"or allow it by name:  --set 'allow_overlap=[{names}]'",
    )


def overlaps(config: CascadeRLConfig, *, generated: bool = False) -> list[Overlap]:
    """Every edge that is not allowed and has rows in common, the expected ones too.

    Args:
        config: whose sets to compare.
        generated: compare two generated sets as well, row by row.
    """
    known = edges(config)
    _check_names(config.allow_overlap, known)
    looked_at = [edge for edge in known if not edge.names & set(config.allow_overlap)]
    shared = _shared(looked_at, config.data_seed, generated)
    found: list[Overlap] = []
    for edge in looked_at:
        for file in filter(_there, edge.files):
            if edge.rule == "rlhf" and not edge.others:
                line = _line(edge, file, "", _math_and_code(file, config.data_seed))
                found += [Overlap(edge, line)] if line else []
            for other in filter(_there, edge.others):
                line = _line(edge, file, other, shared[file, other, _ngram(edge)])
                found += [Overlap(edge, line)] if line else []
    return found


def _shared(
    looked_at: Sequence[Edge], seed: int, generated: bool
) -> dict[tuple[str, str, int], Found]:
    """What each pair of files has in common; a train file is read once for all the others."""
    found: dict[tuple[str, str, int], Found] = {}
    wanted: dict[tuple[str, int], dict[str, None]] = {}  # in order, each once
    for edge in looked_at:
        for file, other in product(filter(_there, edge.files), filter(_there, edge.others)):
            n = _ngram(edge)
            if not generated and file.startswith(BUILTIN) and other.startswith(BUILTIN):
                found[file, other, n] = _generated(edge, file, other, seed)
            else:
                wanted.setdefault((file, n), {})[other] = None
    for (file, n), others in wanted.items():
        for other, one in _compared(file, list(others), n, seed).items():
            found[file, other, n] = one
    return found


def _ngram(edge: Edge) -> int:
    """What is expected is counted by whole prompts, which costs little."""
    return 0 if edge.rule == "expected" else NGRAM


def _check_names(allowed: Sequence[str], known: Sequence[Edge]) -> None:
    names = {name: None for edge in known for name in (edge.name, *sorted(edge.names))}
    for name in allowed:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "expected STAGE:BENCHMARK, or "
            hint += "" if near else f"SFT_STAGE:RL_STAGE, or RLHF_STAGE:{MATH_AND_CODE}"
            raise ConfigError(f"allow_overlap names {name!r}, which is no edge here", hint=hint)


def _there(file: str) -> bool:
    return file.startswith(BUILTIN) or Path(file).exists()


def _line(edge: Edge, file: str, other: str, found: Found) -> str:
    if not found.rows:
        return ""
    what = f"{edge.other} ({_short(other)})" if other else "RLHF is to leave them out"
    example = f"; {found.example}" if found.example else ""
    return (
        f"stage {edge.stage.name}: {found.rows} of {found.of} rows of {_short(file)} "
        f"{WHAT[edge.rule]} {what}{example}"
    )


def _short(file: str) -> str:
    return file if file.startswith(BUILTIN) else Path(file).name


def _generated(edge: Edge, file: str, other: str, seed: int) -> Found:
    """Two generated sets: only a set that is trained on and evaluated on is an overlap."""
    if edge.rule != "evaluation" or _split(file) != _split(other):
        return Found(0, 0)
    count = len(mini.rows(file.removeprefix(BUILTIN), seed))
    return Found(count, count, "both are of one split")


def _split(name: str) -> str:
    """`val` or `test` where a generated set's name ends so, else `train`."""
    return next((split for split in ("val", "test") if name.endswith(split)), "train")


def _digest(file: str, seed: int) -> str:
    return (
        f"{file} {mini.VERSION} {seed}" if file.startswith(BUILTIN) else content_digest(Path(file))
    )


def _rows(file: str, seed: int) -> Iterable[Row | Reject]:
    if file.startswith(BUILTIN):
        return mini.rows(file.removeprefix(BUILTIN), seed)
    return iter_rows(Path(file))


def _readable(file: str, seed: int) -> Iterator[Row]:
    return (row for row in _rows(file, seed) if not isinstance(row, Reject))


@lru_cache(maxsize=4)
def _guard(others: tuple[tuple[str, str], ...], n: int, seed: int) -> Guard:
    """An index of sets, each by name and digest: the evaluation sets are the same for all files."""
    return Guard([RowSet(name, partial(_rows, name, seed)) for name, _ in others], n)


def _compared(file: str, others: Sequence[str], n: int, seed: int) -> dict[str, Found]:
    """Rows of a file that share something with each of the others, unless it is known already."""
    digest = _digest(file, seed)
    digests = {other: _digest(other, seed) for other in others}
    memories = {o: _Memory([VERSION, digest, digests[o], n]) for o in others}
    found = {other: memory.found for other, memory in memories.items() if memory.found}
    left = [other for other in others if other not in found]
    if not left:
        return found
    tally, examples = Tally(), dict[str, str]()
    same = {other for other in left if digests[other] == digest}
    others_too = tuple((other, digests[other]) for other in left if other not in same)
    guard = _guard(others_too, n, seed)
    for row, hits in examine(_readable(file, seed), guard, tally):
        for hit in hits:
            if hit.benchmark not in examples:
                words = " ".join(hit.words.split()[:12])
                examples[hit.benchmark] = f"row {row.id} and item {hit.item}: {words}"
    for other in left:
        one = Found(tally.by_benchmark[other], tally.rows, examples.get(other, ""))
        if other in same:
            one = Found(tally.rows, tally.rows, "the files hold the same rows")
        found[other] = memories[other].keep(one)
    return found


def _math_and_code(file: str, seed: int) -> Found:
    """Math and competitive-programming prompts of a file: by ability, or by what they ask for."""
    if file.startswith(BUILTIN) and file.removeprefix(BUILTIN).startswith(("chat/", "conflict/")):
        return Found(0, 0)
    memory = _Memory([VERSION, _digest(file, seed), MATH_AND_CODE])
    if memory.found is not None:
        return memory.found
    rows = of = 0
    example = ""
    for row in _readable(file, seed):
        of += 1
        domain = row.domain if isinstance(row, Problem) else ""
        if domain in ("math", "code") or asks_for(problem_text(row)) & {"math", "code"}:
            rows += 1
            example = example or f"the first is row {row.id}"
    return memory.keep(Found(rows, of, example))


_known: dict[Path, Found] = {}
"""What this process has found already."""


class _Memory:
    """One result, under the digest of what it is a result of: here, and in the user's cache."""

    def __init__(self, key: Collection[object]) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self._path = Path(home) / "cascade-rl" / "overlap" / f"{digest_json(list(key))}.json"
        self._begun = time.monotonic()
        self.found = _known.get(self._path)
        if self.found is None:
            with suppress(OSError, ValueError, TypeError):
                self.found = Found(**json.loads(self._path.read_text(encoding="utf-8")))

    def keep(self, found: Found) -> Found:
        """The result; kept for the next process where it took long to find."""
        _known[self._path] = found
        if time.monotonic() - self._begun > REMEMBERED_S:
            with suppress(OSError, OutputError):  # a home that cannot be written to only costs time
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_json(self._path, asdict(found))
        return found
