"""How a model answers, beside whether it is right: tokens, truncation, obedience to the mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.chat import THINK_CLOSE, THINK_OPEN
from cascade_rl.evaluation.ledger import score_of
from cascade_rl.types import Mode, Sample


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Of the samples of an evaluation, greedy answers left out where there are others.

    `tokens_per_right` is all tokens over all right answers, what one right answer costs; None
    where none is right. `mode_obeyed` is the share of answers, of those that ended, with a thought
    in think mode or without one in no_think mode; None where no mode was asked for.
    """

    tokens: float
    tokens_per_right: float | None
    truncated: float
    mode_obeyed: float | None


def behaviour(samples: Sequence[Sample], mode: Mode | None = None) -> Behaviour:
    """Needs at least one sample, each with its score."""
    counted = [sample for sample in samples if not sample.greedy] or samples
    tokens = sum(sample.tokens for sample in counted)
    rights = sum(score_of(sample) for sample in counted)
    ended = [sample for sample in counted if sample.finish == "stop"]
    return Behaviour(
        tokens=tokens / len(counted),
        tokens_per_right=tokens / rights if rights > 0 else None,
        truncated=1.0 - len(ended) / len(counted),
        mode_obeyed=_obeyed(ended, mode) if mode and ended else None,
    )


def _obeyed(ended: Sequence[Sample], mode: Mode) -> float:
    return sum(has_thought(s.text) == (mode == "think") for s in ended) / len(ended)


def has_thought(text: str) -> bool:
    """Whether something but blanks stands before `</think>`."""
    before, close, _ = text.partition(THINK_CLOSE)
    return bool(close and before.replace(THINK_OPEN, "").strip())
