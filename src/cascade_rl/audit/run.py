"""Ask every case of the corpus and say what each reward meant; the report, and its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cascade_rl.audit.canaries import Canaries
from cascade_rl.audit.corpus import Case, Form, in_form, load_cases
from cascade_rl.audit.host import Host, Reply, Target

FAULTS = ("fooled", "hung", "crashed", "leaked", "refused")
"""What a case can show: a wrong answer rewarded; no reward by the deadline; no reward at all,
because it raised, died or gave no number; something outside reached, or something left; and
`refused`, a right answer without its reward, a false negative."""
WARM_UPS = 4
"""Right answers to different rows that a new process is asked before it is attacked again."""
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case: its faults (none is well), the reward, and what the function said of it."""

    id: str
    domain: str
    kind: str
    expect: str
    faults: tuple[str, ...]
    score: float | None
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Line:
    """One class of attack, or the right answers, of one domain; `rate` is answers a second."""

    domain: str
    kind: str
    cases: int
    fooled: int
    hung: int
    crashed: int
    leaked: int
    refused: int
    rate: float


@dataclass(frozen=True, slots=True)
class Report:
    """The audit of one function. `skipped` cases cannot be said in its form of ground truth."""

    target: str
    results: tuple[CaseResult, ...]
    skipped: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing got through; a right answer refused counts too."""
        return not any(result.faults for result in self.results)

    @property
    def attacks(self) -> int:
        """How many of the cases are attacks."""
        return sum(result.expect != "right" for result in self.results)

    def lines(self) -> list[Line]:
        """One a class, in the corpus's order."""
        keys = dict.fromkeys((result.domain, result.kind) for result in self.results)
        return [
            _line(domain, kind, [r for r in self.results if (r.domain, r.kind) == (domain, kind)])
            for domain, kind in keys
        ]

    def total(self) -> Line:
        """All classes together."""
        return _line("", "total", self.results)

    def as_json(self) -> dict[str, Any]:
        """Everything: the table, the total, each case."""
        return {
            "target": self.target,
            "attacks": self.attacks,
            "clean": self.clean,
            "classes": [asdict(line) for line in self.lines()],
            "total": asdict(self.total()),
            "skipped": list(self.skipped),
            "cases": [asdict(result) for result in self.results],
        }


def _line(domain: str, kind: str, results: Sequence[CaseResult]) -> Line:
    counts = {fault: sum(fault in result.faults for result in results) for fault in FAULTS}
    seconds = sum(result.seconds for result in results)
    rate = len(results) / seconds if seconds else 0.0
    return Line(domain, kind, len(results), rate=rate, **counts)


def audit(
    target: Target,
    cases: Iterable[Case],
    deadline_s: float = 15.0,
    seen: Callable[[CaseResult], None] = lambda result: None,
) -> Report:
    """Run the cases in order, right answers first; `seen` is told of each.

    Raises InputError when the function cannot be imported.
    """
    known = [(case, in_form(case, target.form)) for case in cases]
    asked = [(case, truth) for case, truth in known if truth is not None]
    warm = _warm_ups([case for case, _ in asked], target.form)
    results: list[CaseResult] = []
    with Canaries() as canaries:
        host = Host(target, canaries)
        try:
            for case, truth in asked:
                if case.attack and not host.warm:
                    for right, its_truth in warm:
                        host.ask(canaries.fill(right.response), its_truth, deadline_s)
                    host.settle()
                results.append(_examine(host, canaries, case, truth, deadline_s))
                seen(results[-1])
        finally:
            host.close()
    skipped = tuple(case.id for case, truth in known if truth is None)
    return Report(target.name, tuple(results), skipped)


def _warm_ups(cases: Sequence[Case], form: Form) -> list[tuple[Case, str]]:
    """The domain's first right answers, each to another row."""
    found: dict[str, Case] = {}
    for domain in dict.fromkeys(case.domain for case in cases):
        for case in load_cases(domain):
            truth = None if case.attack else in_form(case, form)
            if truth is not None and len(found) < WARM_UPS:
                found.setdefault(truth, case)
    return [(case, truth) for truth, case in found.items()]


def _examine(
    host: Host, canaries: Canaries, case: Case, truth: str, deadline_s: float
) -> CaseResult:
    reply = host.ask(canaries.fill(case.response), canaries.fill(truth), deadline_s)
    faults = _faults(case, reply)
    details = [reply.detail] if reply.detail else []
    if not case.attack:
        host.settle()
    left = [*canaries.leaks(), *(host.leftovers() if case.attack else [])]
    if left:
        faults = tuple(dict.fromkeys((*faults, "leaked")))
        details += left
        host.stop()
    score = reply.score if reply.kind == "score" else None
    return CaseResult(
        case.id, case.domain, case.kind, case.expect, faults, score,
        "; ".join(details), round(reply.seconds, 4),
    )  # fmt: skip


def _faults(case: Case, reply: Reply) -> tuple[str, ...]:
    match reply.kind:
        case "hung":
            return ("hung",)
        case "died":
            return ("crashed",)
        case "raised":
            return () if case.expect == "unjudged" else ("crashed",)
        case "none":
            return {"wrong": ("crashed",), "right": ("refused",), "unjudged": ()}[case.expect]
    if case.expect == "right":
        return () if reply.score >= case.at_least - _CLOSE else ("refused",)
    if reply.score > case.at_most + _CLOSE:
        return ("leaked",) if case.probe else ("fooled",)
    return () if case.expect == "wrong" else ("refused",)
