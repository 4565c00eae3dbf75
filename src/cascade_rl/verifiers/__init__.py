"""Verifiers: one answer in, one verdict out, decided outside the process that is judged.

`verify(problem, text)` looks the verifier up by the problem's domain and never raises for any
text. Chat has no verifier: a reward model's preference decides there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cascade_rl.errors import ConfigError
from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import Problem, Tests, Verdict, Verifier, unjudged
from cascade_rl.verifiers import choice, code, instructions, language, math, swe, tool_calls
from cascade_rl.verifiers.choice import verify_choice
from cascade_rl.verifiers.code import verify_code
from cascade_rl.verifiers.instructions import verify_instructions
from cascade_rl.verifiers.language import mixed_language
from cascade_rl.verifiers.math import verify_math
from cascade_rl.verifiers.swe import verify_swe, verify_swe_resolved
from cascade_rl.verifiers.tool_calls import verify_tool_calls

if TYPE_CHECKING:  # a verifier's process starts faster without pydantic
    from cascade_rl.config import VerifierConfig

__all__ = [
    "VERIFIERS",
    "VERIFIER_VERSIONS",
    "mixed_language",
    "refuse_what_is_missing",
    "verifier_for",
    "verify",
    "verify_choice",
    "verify_code",
    "verify_instructions",
    "verify_many",
    "verify_math",
    "verify_swe",
    "verify_swe_resolved",
    "verify_tool_calls",
]

VERIFIERS: dict[str, Verifier] = {
    "math": verify_math,
    "code": verify_code,
    "instruction_following": verify_instructions,
    "swe": verify_swe,
    "swe_resolved": verify_swe_resolved,
    "tool_calls": verify_tool_calls,
    "choice": verify_choice,
}
"""By domain; `swe_resolved` is the evaluation of swe by hidden tests, `choice` that of questions
whose answer is the letter of an option (their domain is math)."""

VERIFIER_VERSIONS: dict[str, str] = {
    "math": math.VERSION,
    "code": code.VERSION,
    "instruction_following": instructions.VERSION,
    "swe": swe.VERSION,
    "swe_resolved": swe.VERSION,
    "tool_calls": tool_calls.VERSION,
    "choice": choice.VERSION,
    "language": language.VERSION,
}
"""Raised with every change of a verdict; part of a stage's key and of the verdict journal's."""


OPTIONS: dict[str, dict[str, str]] = {
    "math": {"answer_pattern": "answer_pattern", "partial_credit": "partial_credit"},
    "code": {"stop_at_first_failure": "stop_at_first_failure"},
    "instruction_following": {"policy": "instruction_policy", "loose": "loose"},
}
"""By verifier: its keyword arguments, and the fields of `VerifierConfig` they come from."""


def verify(problem: Problem, text: str, verifier: str | None = None) -> Verdict:
    """The verdict on one completion, thought included, by the problem's domain or by name."""
    name = verifier or problem.domain
    if name not in VERIFIERS:
        return unjudged("invalid", f"no verifier for {name!r}")
    return VERIFIERS[name](problem, text)


def verifier_for(name: str, options: VerifierConfig | None = None) -> Verifier:
    """The verifier of that name, or by each problem's domain for `auto`, with its options.

    It can be pickled. Raises ConfigError for an unknown name.
    """
    if name == "auto":
        given = {domain: _arguments(domain, options) for domain in VERIFIERS}
        return functools.partial(_by_domain, given)
    if name not in VERIFIERS:
        raise ConfigError(
            f"no verifier is called {name!r}",
            hint=f"expected one of: {', '.join(('auto', *VERIFIERS))}",
        )
    arguments = _arguments(name, options)
    return functools.partial(VERIFIERS[name], **arguments) if arguments else VERIFIERS[name]


def _arguments(name: str, options: VerifierConfig | None) -> Mapping[str, Any]:
    if options is None:
        return {}
    return {key: getattr(options, field) for key, field in OPTIONS.get(name, {}).items()}


def _by_domain(arguments: Mapping[str, Mapping[str, Any]], problem: Problem, text: str) -> Verdict:
    """`verify` with options by domain."""
    if problem.domain not in VERIFIERS:
        return unjudged("invalid", f"no verifier for {problem.domain!r}")
    return functools.partial(VERIFIERS[problem.domain], **arguments[problem.domain])(problem, text)


def refuse_what_is_missing(problems: Iterable[Problem]) -> None:
    """Raise ConfigError where this machine cannot judge some of these, before any is tried."""
    tests = [p.reference for p in problems if isinstance(p.reference, Tests)]
    if not tests:
        return
    sandbox = default_sandbox()
    if why := sandbox.refusal:
        raise ConfigError(
            f"code is to be judged, and no program is run here: {why}",
            hint="see what would raise the tier:  cascade doctor\n  or accept the risk:  "
            "--set allow_unsafe_sandbox=true  (or CASCADE_SANDBOX_ALLOW_UNSAFE=1)",
        )
    for spoken in sorted({found.language for found in tests}):
        if why := sandbox.missing(spoken):
            raise ConfigError(f"problems in {spoken}, and {why}", hint="apt install g++")


class Pool(Protocol):
    """Many processes, as `rewards.VerifierPool` has them."""

    def map(self, verifier: Verifier, pairs: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        """Verdicts in the order of the pairs."""


def verify_many(
    pairs: Iterable[tuple[Problem, str]],
    verifier: str | None = None,
    *,
    options: VerifierConfig | None = None,
    pool: Pool | None = None,
) -> list[Verdict]:
    """The verdict on each pair, in order: in this process, or by a pool's worker processes.

    with VerifierPool(workers=8) as pool:
        verdicts = verify_many(pairs, pool=pool)
    """
    judge = verifier_for(verifier or "auto", options)
    if pool is not None:
        return list(pool.map(judge, pairs))
    return [judge(problem, text) for problem, text in pairs]
