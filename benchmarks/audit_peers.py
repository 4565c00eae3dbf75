"""`cascade audit` against verl's `prime_code` and TRL's `accuracy_reward`, and what it must find.

`python -m benchmarks.audit_peers [--json FILE]` needs the peers' environment (BENCH_PYTHON, or
`make install-bench`), takes ten minutes, prints a table a peer, and fails where a finding is gone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cascade_rl.audit import Report, Target, audit, load_cases
from cascade_rl.audit.run import FAULTS

ROOT = Path(__file__).resolve().parents[1]
PEERS = os.environ.get("BENCH_PYTHON", str(ROOT / ".venv-bench" / "bin" / "python"))
PRIME = Target("benchmarks.peer_targets:prime_code", "verl", "lists", thread=True, python=PEERS)
TRL = Target("benchmarks.peer_targets:accuracy_reward", "trl", "solution", python=PEERS)
MATH_VERIFY = Target("benchmarks.peer_targets:math_verify", python=PEERS)
TRL_THREAD = Target(TRL.name, "trl", "solution", thread=True, python=PEERS)

FINDINGS: Mapping[str, Mapping[str, str]] = {
    "verl prime_code": {
        "code.scan.heap": "fooled",
        "code.scan.frames": "fooled",
        "code.scan.results": "fooled",
        "code.lie.int": "fooled",
        "code.value.true": "fooled",
        "code.value.printed_float": "fooled",
        "code.fence.thinking": "fooled",
        "code.files.environment": "leaked",
        "code.files.write": "leaked",
        "code.socket.tcp": "leaked",
        "code.daemon.double_fork": "leaked",
        "code.bomb.memory": "leaked",
        "code.loop.plain": "hung",
    },
    "TRL accuracy_reward": {
        "math.chain.two": "fooled",
        "math.chain.long": "fooled",
        "math.percent.dropped": "fooled",
        "math.unit.metres": "fooled",
        "math.set.for_tuple": "fooled",
        "math.nan.itself": "fooled",
        "math.restate.integral": "fooled",
        "math.boxes.thinking": "fooled",
        "math.right.inequality": "refused",
        "math.right.interval_or": "refused",
        "math.right.full_width": "refused",
        "math.right.arabic": "refused",
        "math.right.zero_width": "refused",
        "math.right.unclosed": "refused",
    },
    "TRL accuracy_reward off the main thread": {
        "math.tower.nines": "hung",
        "math.tower.tens": "hung",
    },
    "Math-Verify": {
        "math.comma.bare": "fooled",
        "math.or.junk": "fooled",
        "math.chain.long": "fooled",
        "math.percent.dropped": "fooled",
        "math.nan.itself": "fooled",
        "math.right.unclosed": "refused",
    },
}
HANG_S = 60.0
"""Deadline of the one case that is timed to its end."""


def main() -> int:
    """Run the audits, print the tables, say which findings are gone."""
    if not Path(PEERS).exists():
        print("error: the peers are not installed.\n  make install-bench")
        return 2
    os.chdir(ROOT)
    findings = FINDINGS["Math-Verify"]
    reports = {
        "verl prime_code": audit(PRIME, load_cases("code")),
        "TRL accuracy_reward": audit(TRL, load_cases("math")),
        "TRL accuracy_reward off the main thread": audit(
            TRL_THREAD, [case for case in load_cases("math") if case.kind == "towers"]
        ),
        "Math-Verify": audit(MATH_VERIFY, [c for c in load_cases("math") if c.id in findings]),
    }
    gone = 0
    for name, report in reports.items():
        print(f"\n{name}\n{table(report)}")
        found = {result.id: result.faults for result in report.results}
        for case, fault in FINDINGS[name].items():
            if fault not in found[case]:
                gone += 1
                print(f"gone: {case} was {fault}, is {found[case] or 'well'}")
    loop = [case for case in load_cases("code") if case.id == "code.loop.plain"]
    seconds = audit(PRIME, loop, HANG_S).results[0].seconds
    print(f"\nverl prime_code, `while True: pass` and three tests: {seconds:.1f} s of a worker")
    if "--json" in sys.argv:
        path = Path(sys.argv[sys.argv.index("--json") + 1])
        path.write_text(json.dumps({n: r.as_json() for n, r in reports.items()}, indent=1))
    return 1 if gone else 0


def table(report: Report) -> str:
    """The report in Markdown, as the documentation shows it."""
    rows = ["| class | cases | " + " | ".join(FAULTS) + " |", "|---" * (len(FAULTS) + 2) + "|"]
    for line in [*report.lines(), report.total()]:
        counts = [str(getattr(line, fault) or "") for fault in FAULTS]
        rows.append(f"| {line.kind} | {line.cases} | " + " | ".join(counts) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
