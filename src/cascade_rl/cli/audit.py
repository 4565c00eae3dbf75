"""`cascade audit`: attack a reward function and print what fooled, hung, crashed or leaked.

Exit status 0 when nothing got through, 1 when something did, 2 when it cannot be called.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cascade_rl.cli.common import console

if TYPE_CHECKING:
    from cascade_rl.audit import CaseResult, Report, Target
    from cascade_rl.types import Domain

Signature = Literal["verl", "trl", "plain"]
Form = Literal["auto", "rows", "lists", "solution"]
Tier = Literal["auto", "T1", "T1b", "T2", "T3"]


def audit(
    function: Annotated[str, typer.Argument(help="MODULE:FUNCTION, importable from here")] = "",
    domain: Annotated[str, typer.Option(help="math, code, instruction_following, ...")] = "",
    signature: Annotated[Signature, typer.Option(help="how the function is called")] = "plain",
    own: Annotated[bool, typer.Option("--self", help="our own verifiers, all domains")] = False,
    truth: Annotated[Form, typer.Option(help="how ground truths are given; auto: by use")] = "auto",
    python: Annotated[str, typer.Option(help="the interpreter it runs under")] = sys.executable,
    case: Annotated[str, typer.Option(help="only cases whose id begins so")] = "",
    deadline: Annotated[float, typer.Option(min=0.1, help="seconds of wall clock a case")] = 15.0,
    thread: Annotated[bool, typer.Option(help="call it off the main thread, as verl does")] = False,
    tier: Annotated[Tier, typer.Option(help="our sandbox's tier, with --self")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="everything, each case")] = False,
) -> int:
    """Run the attack and equivalence corpus against a reward function, in a process apart."""
    from cascade_rl.audit import Report, Target, load_cases
    from cascade_rl.audit import audit as attack
    from cascade_rl.audit.corpus import DOMAINS
    from cascade_rl.errors import InputError

    if own == bool(function):
        raise InputError("expected a function or --self", hint="see  cascade audit --help")
    if own and not domain:
        domains = list(DOMAINS)
    else:
        domains = [_domain(domain)]
    targets = _own(domains, tier) if own else {}
    if not own:
        if ":" not in function:
            raise InputError(f"{function!r} names no function", hint=f"type  {function}:NAME")
        form = _form(truth, domains[0], signature)
        apart = thread or signature == "verl"
        targets = {domains[0]: Target(function, signature, form, apart, python=python)}
    reports = []
    for name, target in targets.items():
        cases = [found for found in load_cases(name) if found.id.startswith(case)]
        reports.append(attack(target, cases, deadline, _progress()))
    if not any(report.results for report in reports):
        raise InputError(f"no case begins with {case!r}", hint="ids are like  code.loop.plain")
    report = Report(
        "cascade_rl" if own else function,
        tuple(result for report in reports for result in report.results),
        tuple(skipped for report in reports for skipped in report.skipped),
    )
    if as_json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        _show(report)
    return 0 if report.clean else 1


def _domain(name: str) -> Domain:
    from cascade_rl.audit.corpus import DOMAINS
    from cascade_rl.errors import InputError

    for known in DOMAINS:
        if known == name:
            return known
    hint = f"name one:  --domain {' | '.join(DOMAINS)}"
    raise InputError(f"the domain is {name!r}" if name else "no domain is given", hint=hint)


def _own(domains: list[Domain], tier: Tier) -> dict[Domain, Target]:
    """Our verifiers, told the sandbox's tier by environment; T3 runs because it is asked for."""
    from cascade_rl.audit import Target

    environment: dict[str, str] = {"CASCADE_SANDBOX": tier}
    if tier == "T3":
        environment["CASCADE_SANDBOX_ALLOW_UNSAFE"] = "1"
    modules = {"chat": "chat_target"}
    return {
        name: Target(
            f"cascade_rl.audit.{modules.get(name, 'targets')}:{name}", environment=environment
        )
        for name in domains
    }


def _form(
    given: Form, domain: Domain, signature: Signature
) -> Literal["rows", "lists", "solution"]:
    """What the framework's own data sets hold, where nothing is said."""
    if given != "auto":
        return given
    if signature == "trl":
        return "solution"
    return "lists" if signature == "verl" and domain == "code" else "rows"


def _progress() -> Callable[[CaseResult], None]:
    """Say on a terminal's stderr which case is done."""
    if not sys.stderr.isatty():
        return lambda result: None
    return lambda result: print(
        f"\r\x1b[K{result.id} {' '.join(result.faults)}", end="", file=sys.stderr, flush=True
    )


def _show(report: Report) -> None:
    from rich.table import Table

    from cascade_rl.audit.run import FAULTS

    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in ("cases", *FAULTS, "answers/s"):
        table.add_column(name, justify="right")
    for line in [*report.lines(), report.total()]:
        counts = [str(getattr(line, fault) or ".") for fault in FAULTS]
        name = f"{line.domain} {line.kind}".strip()
        table.add_row(name, str(line.cases), *counts, f"{line.rate:.1f}")
    screen = console()
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    screen.print(table)
    for result in report.results:
        if result.faults:
            score = "" if result.score is None else f" score {result.score:g}"
            text = f"{', '.join(result.faults):8} {result.id}{score}  {result.detail}"
            screen.print(text, markup=False)
    screen.print(
        f"{report.attacks} attacks, {len(report.results) - report.attacks} right answers, "
        f"{len(report.skipped)} not sayable in this form of ground truth"
    )
