"""How strong a problem's tests are: what they catch of the wrong programs near the right one.

The wrong programs are mutants of the golden solution. Left out are those that do as it does on
every generated input (they may be right), and all but one of those that do the same as each
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.data.strength.mutants import Mutant, mutants_of
from cascade_rl.data.strength.trials import Behaviour, Trial, same, trial_of
from cascade_rl.types import Problem

INPUTS = 200
MUTANTS = 60
THRESHOLD = 0.8
_SHOWN = 5
"""Survivors that a report names."""


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
    """What became of the mutants; `equivalent` and `alike` say how many were left out."""

    tried: tuple[Tried, ...]
    equivalent: int
    alike: int
    inputs: int

    @property
    def killed(self) -> int:
        """Mutants that some test caught."""
        return sum(tried.killed for tried in self.tried)

    @property
    def strength(self) -> float:
        """Killed of those that are not equivalent; 1 where there are none."""
        return self.killed / len(self.tried) if self.tried else 1.0

    @property
    def survivors(self) -> list[Tried]:
        """Those no test caught, the most wrong first."""
        alive = [tried for tried in self.tried if not tried.killed]
        return sorted(alive, key=lambda tried: -tried.differs)

    def as_dict(self) -> dict[str, Any]:
        """For a row and a report."""
        survivors = [
            {"line": t.mutant.line, "kind": t.mutant.kind, "now": t.mutant.change,
             "differs": round(t.differs, 3)}
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
    return try_all(trial, mutants_of(golden, mutants, seed))


def try_all(trial: Trial, mutants: Sequence[Mutant]) -> Strength:
    """Run the mutants; each behaviour counts once."""
    seen: set[str] = set()
    tried: list[Tried] = []
    equivalent = alike = 0
    for mutant in mutants:
        behaviour = trial.run(mutant.source)
        wrong = differing(trial, behaviour)
        if not behaviour.fails and not any(wrong):
            equivalent += 1
            continue
        name = behaviour_name(behaviour, wrong)
        if name and name in seen:
            alike += 1
            continue
        seen.add(name)
        share = sum(wrong) / len(wrong) if wrong else 1.0
        tried.append(Tried(mutant, behaviour.fails, share))
    return Strength(tuple(tried), equivalent, alike, len(trial.inputs))


def differing(trial: Trial, behaviour: Behaviour) -> tuple[bool, ...]:
    """On which generated inputs a program does other than the golden solution."""
    pairs = zip(behaviour.outcomes, trial.golden, strict=False)
    return tuple(not same(found, expected) for found, expected in pairs)


def behaviour_name(behaviour: Behaviour, wrong: Sequence[bool]) -> str:
    """Equal for programs that fail alike everywhere; empty where that was not asked."""
    if not behaviour.outcomes:
        return ""
    pairs = zip(behaviour.outcomes, wrong, strict=True)
    return repr((behaviour.failed, [outcome if off else None for outcome, off in pairs]))


def is_weak(strength: float, threshold: float) -> bool:
    """Whether tests of this strength are dropped."""
    return strength < threshold
