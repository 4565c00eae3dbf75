"""The published benchmarks by name: rows, verifier and the paper's protocol, one entry each.

`entry_named("aime25").read("aime25.jsonl")` gives problems, `.benchmark("aime25.jsonl")` the
protocol. One rule: a default is what appendix B of 2512.13607 says; where it says nothing, the
protocol is named after who does, and each value has its source (`docs/suite.md`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.suite.assistance import ARENAHARD, BFCL, IFBENCH, IFEVAL, REWARDBENCH
from cascade_rl.evaluation.suite.entry import Entry
from cascade_rl.evaluation.suite.knowledge import GPQA, MMLU, MMLU_PRO
from cascade_rl.evaluation.suite.mathematics import AIME24, AIME25, GSM8K, MATH500
from cascade_rl.evaluation.suite.programs import (
    CODE_CONTESTS,
    HUMANEVAL,
    LIVECODEBENCH_PRO_25Q1,
    LIVECODEBENCH_PRO_25Q2,
    LIVECODEBENCH_V5,
    LIVECODEBENCH_V6,
    MBPP,
    SWEBENCH_VERIFIED,
)

__all__ = ["SUITE", "Entry", "entry_named", "table"]

SUITE: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        AIME24, AIME25, MATH500, GSM8K, LIVECODEBENCH_V5, LIVECODEBENCH_V6,
        LIVECODEBENCH_PRO_25Q1, LIVECODEBENCH_PRO_25Q2, HUMANEVAL, MBPP, CODE_CONTESTS,
        MMLU, MMLU_PRO, GPQA, IFEVAL, IFBENCH, ARENAHARD, BFCL, REWARDBENCH, SWEBENCH_VERIFIED,
    )
}  # fmt: skip


def entry_named(name: str) -> Entry:
    """The benchmark of that name. Raises ConfigError with the nearest one, or all."""
    if name in SUITE:
        return SUITE[name]
    near = difflib.get_close_matches(name, SUITE, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"benchmarks: {', '.join(SUITE)}"
    raise ConfigError(f"no benchmark is called {name!r}", hint=hint)


def table() -> str:
    """All entries and protocols as a Markdown table: what `docs/suite.md` shows."""
    lines = [
        "| name | rows | count | scored by | protocol | mode | k | tokens | YaRN | T, top-p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in SUITE.values():
        rows = entry.rows
        by = entry.verifier if entry.scored_by == "verifier" else entry.scored_by
        place = f"`{rows.hub}`" if rows.hub else "files"
        start = f"| `{entry.name}` | {place} | {next(iter(rows.counts)):,} | {by} |"
        for name, p in entry.protocols.items():
            prompt = f" after {p.max_prompt_tokens:,}" if p.max_prompt_tokens else ""
            lines.append(
                f"{start} {name} | {p.mode or 'own'} | {p.k} | {p.max_new_tokens:,}{prompt} | "
                f"{p.yarn_factor:g} | {p.temperature:g}, {p.top_p:g} |"
            )
        if not entry.protocols:
            lines.append(f"{start} | | | | | |")
    return "\n".join(lines) + "\n"
