"""What a benchmark runs: its verifier, its protocol's digest, and its samples as JSON lines.

One rule: two scores may be subtracted only when their protocols have the same digest, so the
digest covers everything that changes a result and nothing that does not (name, path).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from cascade_rl.config import BenchmarkConfig, ChatConfig, VerifierConfig
from cascade_rl.data.schema import row_dict
from cascade_rl.digests import digest_json
from cascade_rl.errors import ConfigError
from cascade_rl.mini.utility import chat_utility
from cascade_rl.types import Problem, Sample, Signals, Verdict, Verifier
from cascade_rl.verifiers import VERIFIERS, verifier_for

NAMES = ("auto", *VERIFIERS, "chat_utility")
"""`auto` follows each row's ability, `chat_utility` is mini's hidden utility, and `swe_resolved`
runs hidden tests on the patched files."""


def verifier_named(name: str, options: VerifierConfig) -> Verifier:
    """The function that judges answers under that name. Raises ConfigError for an unknown one."""
    if name == "chat_utility":
        return chat_utility
    if name not in NAMES:
        raise ConfigError(
            f"no verifier is called {name!r}", hint=f"expected one of: {', '.join(NAMES)}"
        )
    return verifier_for(name, options)


def verifier_of(benchmark: BenchmarkConfig) -> Verifier:
    """The function that judges this benchmark's answers."""
    try:
        return verifier_named(benchmark.verifier, benchmark.verifier_options)
    except ConfigError as error:
        raise ConfigError(f"benchmark {benchmark.name}: {error.message}", hint=error.hint) from None


def protocol_digest(
    benchmark: BenchmarkConfig, rows_digest: str, verifier_version: str, chat: ChatConfig
) -> str:
    """12 hex digits over the problems, the judge, the sampling settings and the template."""
    settings = benchmark.model_dump(
        mode="json", exclude={"name", "file", "test_file", "test_limit"}
    )
    covered = [settings, rows_digest, verifier_version, chat.model_dump(mode="json")]
    return digest_json(covered)[:12]


def key_of(problem: Problem) -> str:
    """16 hex digits over the row."""
    return digest_json(row_dict(problem, 0))[:16]


PARTS = ("topic", "subject", "category", "type", "level", "difficulty")
"""Fields of a row's extra_info by which a benchmark's problems fall into parts."""
MOST_PARTS = 40


def parts_of(problems: Sequence[Problem]) -> dict[str, dict[str, str]]:
    """For each of `PARTS` that tells the problems apart: the part of each problem by its id."""
    found = {}
    for name in PARTS:
        parts = {p.id: str(p.extra[name]) for p in problems if p.extra.get(name) is not None}
        if 2 <= len(set(parts.values())) <= MOST_PARTS:
            found[name] = parts
    return found


def sample_to_json(sample: Sample) -> str:
    """One line without a newline, ASCII, so that any text survives, lone surrogates included."""
    return json.dumps(dataclasses.asdict(sample), separators=(",", ":"))


def sample_from_json(line: str) -> Sample:
    """The sample that `sample_to_json` wrote, equal to it in every field."""
    return sample_of(json.loads(line))


def sample_of(values: dict[str, Any]) -> Sample:
    """The sample whose fields `sample_to_json` wrote; the fields are used up."""
    signals: dict[str, Any] = values.pop("signals")
    verdict: dict[str, Any] | None = signals.pop("verdict")
    return Sample(
        **values,
        signals=Signals(**signals, verdict=None if verdict is None else Verdict(**verdict)),
    )
