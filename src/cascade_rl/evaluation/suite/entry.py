"""A benchmark of the suite: where its rows come from, how they are judged, how it is sampled.

Two rules. Every value of a protocol has its source; "ours" marks what no paper says. And a number
of rows that is not a published one is said, never taken in silence: `Entry.remarks` has
the words.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cascade_rl.config import BenchmarkConfig, VerifierConfig
from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.suite.reading import pairs, problems
from cascade_rl.evaluation.suite.rows import Published, Rows
from cascade_rl.types import Mode, Pair, Problem

K = 1024
CASCADE = "2512.13607, appendix B"
ACEREASON = "2505.16400, evaluation"
OURS = "ours"

ScoredBy = Literal["verifier", "arena", "pairs", "swe"]
DEFAULTS = VerifierConfig()
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How answers are drawn. `said` names the source of each value, by field.

    A budget of 64K tokens is an answer of 60K, the rest is left to the prompt (ours).
    """

    mode: Mode | None
    k: int
    max_new_tokens: int
    said: Mapping[str, str]
    yarn_factor: float = 1.0
    temperature: float = 0.6
    top_p: float = 0.95
    max_prompt_tokens: int | None = None
    counts: Mapping[int, str] = field(default_factory=dict)
    """In place of the rows', where this protocol takes other ones."""

    def __post_init__(self) -> None:
        assert set(self.said) == {
            *VALUES,
            *(["max_prompt_tokens"] if self.max_prompt_tokens else []),
        }


VALUES = ("mode", "k", "max_new_tokens", "yarn_factor", "temperature", "top_p")


def said(default: str, others: Mapping[str, str] | None = None) -> dict[str, str]:
    """The source of every value: `default`, but for those named."""
    return {**dict.fromkeys(VALUES, default), **(others or {})}


@dataclass(frozen=True, slots=True)
class Entry:
    """One benchmark. The first of `protocols` is the default.

    `scored_by` says what gives the score: a verifier, a judge that compares with a baseline, the
    order of pairs, or the SWE pipeline.
    """

    name: str
    title: str
    rows: Rows
    verifier: str
    protocols: Mapping[str, Protocol]
    verifier_options: VerifierConfig = DEFAULTS
    scored_by: ScoredBy = "verifier"
    note: str = ""

    @property
    def published(self) -> Published:
        """What is read of it."""
        return Published(self.title, self.rows, ours=self.scored_by != "pairs")

    def protocol(self, name: str | None = None) -> Protocol:
        """The protocol of that name, or the default. Raises ConfigError."""
        if not self.protocols:
            raise ConfigError(f"{self.name} samples no answers", hint=self.rows.get)
        chosen = next(iter(self.protocols)) if name is None else name
        if chosen not in self.protocols:
            raise ConfigError(
                f"{self.name} has no protocol {name!r}",
                hint=f"expected one of: {', '.join(self.protocols)}",
            )
        return self.protocols[chosen]

    def benchmark(self, file: str | None = None, protocol: str | None = None) -> BenchmarkConfig:
        """The protocol as a benchmark of a config; `file` is by default the hub's name."""
        found = self.protocol(protocol)
        default = next(iter(self.protocols))
        suffix = "" if protocol in (None, default) else f"@{protocol}"
        return BenchmarkConfig(
            name=f"{self.name}{suffix}",
            file=self._place(file),
            verifier=self.verifier,
            verifier_options=self.verifier_options,
            mode=found.mode,
            k=found.k,
            greedy=False,
            temperature=found.temperature,
            top_p=found.top_p,
            max_new_tokens=found.max_new_tokens,
            yarn_factor=found.yarn_factor,
        )

    def read(self, file: str | None = None, protocol: str | None = None) -> list[Problem]:
        """All problems, in order, each with an id of its own; what is worth saying is logged.

        `file` is a file or directory of the published format or of our own rows, or the hub's
        name, which is the default. Raises DataError for a file of another shape or a row that
        cannot be read, ConfigError where problems are not what this benchmark has.
        """
        if self.scored_by in ("pairs", "swe"):
            raise ConfigError(f"{self.name}: {self.note}", hint=self.rows.get)
        place, left_out = self._place(file), dict[str, int]()
        found = list(problems(self.published, place, left_out))
        for line in self.remarks(len(found), left_out, protocol):
            log.warning("%s: %s", place, line)
        return found

    def pairs(self, file: str | None = None) -> list[Pair]:
        """All pairs of a benchmark of pairs. Raises as `read` does."""
        if self.scored_by != "pairs":
            raise ConfigError(f"{self.name} holds problems, not pairs", hint="read them as such")
        place = self._place(file)
        found = list(pairs(self.published, place))
        for line in self.remarks(len(found), {}):
            log.warning("%s: %s", place, line)
        return found

    def remarks(
        self, count: int, left_out: Mapping[str, int], protocol: str | None = None
    ) -> list[str]:
        """What must be said of so many rows: which they are, where they are not the paper's.

        `count` are those that were read, `left_out` by reason those that were not.
        """
        lines = [f"{n} rows are left out: {reason}" for reason, n in left_out.items()]
        counts = self.rows.counts
        if self.protocols:
            counts = self.protocol(protocol).counts or counts
        total = count + sum(left_out.values())
        if total == next(iter(counts)):
            return lines
        if total in counts:
            return [*lines, f"{total} rows, {counts[total]}; expected are {_listed(counts)}"]
        return [*lines, f"{total} rows; expected are {_listed(counts)}\n  {self.rows.get}"]

    def _place(self, file: str | None) -> str:
        if file is not None:
            return file
        if self.rows.hub is None:
            raise ConfigError(
                f"{self.name} cannot be read from the hub; it needs a file", hint=self.rows.get
            )
        return self.rows.hub


def _listed(counts: Mapping[int, str]) -> str:
    return ", or ".join(f"{count:,} ({what})" for count, what in counts.items())
