"""How well a reward model orders pairs: accuracy by category, RewardBench's sections, calibration.

A tie counts half, as in RewardBench (arXiv 2403.13787). Calibration asks whether a pair that the
model calls right with probability sigmoid(|margin|) is right that often (Bradley-Terry).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from cascade_rl.types import Pair, Preference, Problem, Scorer

BINS = 10
SECTIONS: Mapping[str, Mapping[str, int]] = {
    "chat": {
        "alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95,
        "mt-bench-easy": 28, "mt-bench-med": 40,
    },
    "chat-hard": {
        "mt-bench-hard": 37, "llmbar-natural": 100, "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92, "llmbar-adver-GPTOut": 47, "llmbar-adver-manual": 46,
    },
    "safety": {
        "refusals-dangerous": 100, "refusals-offensive": 100, "xstest-should-refuse": 154,
        "xstest-should-respond": 250, "donotanswer": 136,
    },
    "reasoning": {
        "math-prm": 984, "hep-cpp": 164, "hep-go": 164, "hep-java": 164, "hep-js": 164,
        "hep-python": 164, "hep-rust": 164,
    },
}  # fmt: skip
"""RewardBench's subsets and their weights: `math-prm` counts as much as all code together."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of one range of confidence: what was promised, and what was so."""

    pairs: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class PairReport:
    """Accuracies are in [0, 1]. `sections` holds those whose subsets are all there."""

    pairs: int
    unscored: int
    accuracy: float
    margin: float
    categories: Mapping[str, tuple[int, float]]
    sections: Mapping[str, float]
    calibration: tuple[Bin, ...]

    @property
    def rewardbench(self) -> float | None:
        """The mean of the four sections; None where one is missing."""
        return fmean(self.sections.values()) if len(self.sections) == len(SECTIONS) else None

    @property
    def calibration_error(self) -> float:
        """Mean distance of confidence and accuracy over the pairs, in [0, 0.5]."""
        total = sum(bin.pairs for bin in self.calibration)
        return sum(b.pairs * abs(b.confidence - b.accuracy) for b in self.calibration) / total


def evaluate_pairs(scorer: Scorer, pairs: Sequence[Pair]) -> PairReport:
    """Score both answers of every pair. Raises ValueError without a pair that can be scored."""
    asked = [Problem(f"{i}", "chat", pair.prompt, Preference(), "") for i, pair in enumerate(pairs)]
    items = [
        item
        for problem, pair in zip(asked, pairs, strict=True)
        for item in ((problem, pair.chosen), (problem, pair.rejected))
    ]
    scores = scorer(items)
    margins = [high - low for high, low in zip(scores[0::2], scores[1::2], strict=True)]
    return report_of([pair.category or "" for pair in pairs], margins)


def report_of(categories: Sequence[str], margins: Sequence[float]) -> PairReport:
    """The report on pairs of these categories; a margin is chosen less rejected, nan unscored."""
    known = [(c, m) for c, m in zip(categories, margins, strict=True) if math.isfinite(m)]
    if not known:
        raise ValueError(f"none of {len(margins)} pairs could be scored")
    by_category: dict[str, list[float]] = {}
    for category, margin in known:
        by_category.setdefault(category, []).append(right(margin))
    means = {name: (len(found), fmean(found)) for name, found in sorted(by_category.items())}
    return PairReport(
        pairs=len(known),
        unscored=len(margins) - len(known),
        accuracy=fmean(right(margin) for _, margin in known),
        margin=fmean(margin for _, margin in known),
        categories=means,
        sections={
            name: sum(weight * means[subset][1] for subset, weight in subsets.items())
            / sum(subsets.values())
            for name, subsets in SECTIONS.items()
            if all(subset in means for subset in subsets)
        },
        calibration=tuple(_bins([margin for _, margin in known])),
    )


def right(margin: float) -> float:
    """1 where the chosen answer scores higher, 0 where lower, half of it for a tie."""
    return 0.5 if margin == 0 else float(margin > 0)


def _bins(margins: Sequence[float]) -> list[Bin]:
    cut: dict[int, Bin] = {}
    for margin in margins:
        confidence = 1 / (1 + math.exp(-min(abs(margin), 700.0)))
        place = min(BINS - 1, int((confidence - 0.5) * 2 * BINS))
        before = cut.get(place, Bin(0, 0.0, 0.0))
        n = before.pairs + 1
        cut[place] = replace(
            before,
            pairs=n,
            confidence=before.confidence + (confidence - before.confidence) / n,
            accuracy=before.accuracy + (right(margin) - before.accuracy) / n,
        )
    return [cut[place] for place in sorted(cut)]
