"""How strong a problem's tests are: what they catch of the wrong programs near the right one.

The wrong programs are mutants of the golden solution, without those that do as it does on every
generated input: they may be right. Strength is the chance that one of them is still caught when
each test is lost with chance one half. Tests that catch everything, but each thing by one test
only, have .5; the plain share of what is caught cannot tell them from a rich set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.data.strength.mutants import Mutant, mutants_of
from cascade_rl.data.strength.trials import Trial, trial_of
from cascade_rl.types import Problem

INPUTS = 200
MUTANTS = 60
THRESHOLD = 0.52
"""A little more than everything caught by one test each; half of the problems of
`benchmarks/strength.py` choose .51."""
BUDGET_S = 60.0
"""Seconds that a row's mutants may take if each takes as long as the golden solution."""
_SHOWN = 5
"""Survivors that a report names."""


LOSS = 0.5
"""The chance with which each test is thought away."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A mutant that is not equivalent.

    `caught` counts the tests' inputs that show it is wrong; where none does, `differs` is the
    share of the generated inputs on which it does other than the golden solution.
    """

    mutant: Mutant
    caught: int
    differs: float | None


@dataclass(frozen=True, slots=True)
class Strength:
    """What became of the mutants; `equivalent` says how many were left out."""

    tried: tuple[Tried, ...]
    equivalent: int
    inputs: int

    @property
    def killed(self) -> int:
        """Mutants that some test caught."""
        return sum(tried.caught > 0 for tried in self.tried)

    @property
    def strength(self) -> float:
        """The mean over the mutants of 1 - LOSS ** caught; 1 where there are no mutants."""
        if not self.tried:
            return 1.0
        return sum(1 - LOSS**tried.caught for tried in self.tried) / len(self.tried)

    @property
    def survivors(self) -> list[Tried]:
        """Those no test caught, the most wrong first."""
        alive = [tried for tried in self.tried if not tried.caught]
        return sorted(alive, key=lambda tried: -(tried.differs or 0.0))

    def as_dict(self) -> dict[str, Any]:
        """For a row and a report."""
        survivors = [
            {"line": t.mutant.line, "kind": t.mutant.kind, "now": t.mutant.change,
             "differs": round(t.differs or 0.0, 3)}
            for t in self.survivors[:_SHOWN]
        ]  # fmt: skip
        return {
            "strength": round(self.strength, 4),
            "killed": self.killed,
            "mutants": len(self.tried),
            "equivalent": self.equivalent,
            "inputs": self.inputs,
            "survivors": survivors,
        }


def strength_of(
    problem: Problem,
    golden: str,
    *,
    mutants: int = MUTANTS,
    inputs: int = INPUTS,
    seed: int = 0,
) -> Strength:
    """Measure a problem's tests with mutants of its golden solution.

    Raises Unfit where the golden solution fails, SyntaxError or ValueError where it or the tests
    cannot be read.
    """
    trial = trial_of(problem, golden, inputs, seed)
    return try_all(trial, mutants_of(golden, affordable(trial, mutants), seed))


def affordable(trial: Trial, mutants: int) -> int:
    """Fewer mutants where the golden solution itself is slow; ten at least."""
    return max(min(mutants, 10), min(mutants, int(BUDGET_S / max(trial.seconds, 1e-3))))


def try_all(trial: Trial, mutants: Sequence[Mutant]) -> Strength:
    """Run the mutants on the tests, and what passes on the generated inputs."""
    tried: list[Tried] = []
    for mutant in mutants:
        behaviour = trial.run(mutant.source)
        if behaviour.caught or behaviour.differs:
            tried.append(Tried(mutant, behaviour.caught, behaviour.differs))
    return Strength(tuple(tried), len(mutants) - len(tried), len(trial.inputs))


def is_weak(strength: float, threshold: float) -> bool:
    """Whether tests of this strength are dropped."""
    return strength < threshold
