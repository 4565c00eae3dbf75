"""A short audit of our own verifiers; the whole one is `make accept-audit`."""

from __future__ import annotations

import pytest

from cascade_rl.audit import Target, audit, load_cases

SHORT: dict[str, tuple[str, ...]] = {
    "code": (
        "code.right.call", "code.right.stdio", "code.right.check", "code.exit.os",
        "code.forge.descriptors", "code.lie.int", "code.lie.check", "code.scan.heap",
        "code.scan.check", "code.patch.assertion", "code.files.environment", "code.files.read",
        "code.files.temporary", "code.daemon.double_fork", "code.bomb.memory", "code.bomb.disk",
        "code.fd.closed", "code.socket.tcp", "code.state.plant_file", "code.state.find_file",
        "code.value.true", "code.fence.thinking",
    ),
    "math": (
        "math.right.plain", "math.right.radical", "math.boxes.thinking", "math.chain.long",
        "math.comma.list", "math.tower.nines", "math.size.digits", "math.nesting.braces",
        "math.percent.added", "math.unit.metres", "math.set.for_tuple", "math.nan.itself",
        "math.restate.integral", "math.inject.python",
    ),
    "swe": (
        "swe.right.blocks", "swe.identical.block", "swe.search.ambiguous", "swe.rename.climb",
        "swe.thinking.only", "swe.judge.comment", "swe.forged.nonce",
    ),
    "instruction_following": (
        "if.right.no_comma", "if.comma.full_width", "if.hidden.cyrillic", "if.json.empty",
        "if.empty.title", "if.size.angles", "if.unknown.id",
    ),
}  # fmt: skip


@pytest.mark.parametrize("domain", SHORT)
def test_our_verifiers_are_not_fooled_hung_or_crashed_and_leak_nothing(domain: str) -> None:
    cases = [case for case in load_cases(domain) if case.id in SHORT[domain]]  # type: ignore[arg-type]
    assert len(cases) == len(SHORT[domain])
    report = audit(Target(f"cascade_rl.audit.targets:{domain}"), cases, 30.0)
    assert {r.id: (r.faults, r.detail) for r in report.results if r.faults} == {}
