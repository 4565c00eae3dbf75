"""Verifiers: one answer in, one verdict out, decided outside the process that is judged.

`verify(problem, text)` looks the verifier up by the problem's domain and never raises for any
text. Chat has no verifier: a reward model's preference decides there.
"""

from __future__ import annotations

from collections.abc import Iterable

from cascade_rl.types import Problem, Verdict, Verifier, unjudged
from cascade_rl.verifiers import code, instructions, language, math, swe
from cascade_rl.verifiers.code import verify_code
from cascade_rl.verifiers.instructions import verify_instructions
from cascade_rl.verifiers.language import mixed_language
from cascade_rl.verifiers.math import verify_math
from cascade_rl.verifiers.swe import verify_swe, verify_swe_resolved

__all__ = [
    "VERIFIERS",
    "VERIFIER_VERSIONS",
    "mixed_language",
    "verify",
    "verify_code",
    "verify_instructions",
    "verify_many",
    "verify_math",
    "verify_swe",
    "verify_swe_resolved",
]

VERIFIERS: dict[str, Verifier] = {
    "math": verify_math,
    "code": verify_code,
    "instruction_following": verify_instructions,
    "swe": verify_swe,
    "swe_resolved": verify_swe_resolved,
}
"""By domain; `swe_resolved` is the evaluation of swe by hidden tests."""

VERIFIER_VERSIONS: dict[str, str] = {
    "math": math.VERSION,
    "code": code.VERSION,
    "instruction_following": instructions.VERSION,
    "swe": swe.VERSION,
    "swe_resolved": swe.VERSION,
    "language": language.VERSION,
}
"""Raised with every change of a verdict; part of a stage's key and of the verdict journal's."""


def verify(problem: Problem, text: str, verifier: str | None = None) -> Verdict:
    """The verdict on one completion, thought included, by the problem's domain or by name."""
    name = verifier or problem.domain
    if name not in VERIFIERS:
        return unjudged("invalid", f"no verifier for {name!r}")
    return VERIFIERS[name](problem, text)


def verify_many(pairs: Iterable[tuple[Problem, str]], verifier: str | None = None) -> list[Verdict]:
    """`verify` for each pair, in order, in this process."""
    return [verify(problem, text, verifier) for problem, text in pairs]
