"""How strong a problem's tests are: the share of wrong programs that they catch.

The wrong programs are mutants of the golden solution. Left out are those that do as it does on
every generated input (they may be right) and all but one of those that do the same as each
other.
"""

from __future__ import annotations

from dataclasses import dataclass

from cascade_rl.data.strength.mutants import Mutant
from cascade_rl.data.strength.trials import Behaviour, Trial, same


@dataclass(frozen=True, slots=True)
class Tried:
    """A mutant that is not equivalent: whether the tests caught it, and how wrong it is.

    `differs` is the share of the generated inputs on which it does other than the golden
    solution.
    """

    mutant: Mutant
    killed: bool
    differs: float


@dataclass(frozen=True, slots=True)
class Strength:
    """What became of the mutants."""

    tried: tuple[Tried, ...]
    equivalent: int
    alike: int
    inputs: int

    @property
    def score(self) -> float:
        """Killed of those that are not equivalent; 1 where there are none."""
        return sum(t.killed for t in self.tried) / len(self.tried) if self.tried else 1.0


def differing(trial: Trial, behaviour: Behaviour) -> tuple[bool, ...]:
    """On which generated inputs a program does other than the golden solution."""
    pairs = zip(behaviour.outcomes, trial.golden, strict=False)
    return tuple(not same(found, expected) for found, expected in pairs)
